import io

from ckptd.cli.render.live import LINE_INTERVAL_S, PlainLines
from ckptd.cli.render.text import Picture


def test_a_line_comes_at_each_change_of_stage_and_every_ten_seconds() -> None:
    now_s = 1000.0
    stream = io.StringIO()
    plain = PlainLines(stream, lambda: now_s)
    moments = [
        (0.0, "seeking"),
        (1.0, "seeking"),
        (2.0, "transferring"),
        (11.0, "transferring"),
        (12.0, "transferring"),
        (13.0, "transferring"),
        (13.5, "placing"),
    ]
    for second, stage in moments:
        now_s = 1000.0 + second
        plain.show(Picture(stage, f"{second} {stage}", ()))
    assert LINE_INTERVAL_S == 10.0
    assert stream.getvalue().splitlines() == [
        "0.0 seeking",
        "2.0 transferring",
        "12.0 transferring",
        "13.5 placing",
    ]
