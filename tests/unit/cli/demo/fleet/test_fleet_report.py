"""What ``ckptctl demo --fleet`` says in the end."""

from dataclasses import replace

import pytest

from ckptd.cli.demo.fleet.fleet_report import FleetFindings, Row, fleet_report_lines
from ckptd.errors import ExitCode
from ckptd.limits import MIB

FOUND = FleetFindings(
    rows=[
        Row(0.0, "the job begins", "copies of llama@1 whole", 4.0),
        Row(24.9, "zone-3 is lost", "job goes on", 3.96),
    ],
    on_offer_s=[0.9, 1.1, 1.3],
    compared_saves=94,
    compared_bytes=376 * MIB,
)


def test_the_table_says_when_what_happened_and_how_long_it_took() -> None:
    assert FOUND.exit_code == ExitCode.DONE
    assert fleet_report_lines(FOUND, "/home/me/fleet.svg") == [
        "",
        "AT     WHAT HAPPENED      UNTIL                    TOOK",
        "       3 saves, complete  each is on offer         1.1s, at most 1.3s",
        "0.0s   the job begins     copies of llama@1 whole  4.0s",
        "24.9s  zone-3 is lost     job goes on              4.0s",
        "",
        "compared: 94 shards where they stand, 376 MiB, with what the ranks saved",
        "picture: /home/me/fleet.svg",
        "A node and a zone were lost; no command was typed to copy, nor to bring the node back.",
    ]


@pytest.mark.parametrize(
    ("findings", "code", "verdict"),
    [
        (replace(FOUND, problem="x: came\nnever"), ExitCode.FAILED, "FAILED: x: came\\nnever."),
        (replace(FOUND, compared_saves=0), ExitCode.FAILED, "FAILED: nothing was compared."),
        (replace(FOUND, on_offer_s=()), ExitCode.FAILED, "FAILED: nothing was seen on offer."),
        (
            replace(FOUND, differences=["/a: b is missing"], problem="shard 0: is another"),
            ExitCode.VERIFICATION,
            "FAILED: not everything is what the ranks saved.",
        ),
    ],
)
def test_it_ends_badly_unless_all_came_and_is_the_same(
    findings: FleetFindings, code: ExitCode, verdict: str
) -> None:
    lines = fleet_report_lines(findings, "x")
    assert (findings.exit_code, lines[-1]) == (code, verdict)
    assert all(f"  {each}" in lines for each in findings.differences)
