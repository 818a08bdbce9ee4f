from __future__ import annotations

import msgspec

from ckptd.cli.render.materialise_text import materialised_lines, materialising_picture
from ckptd.control.messages.materialising import MaterialiseProgress
from ckptd.model.words import MaterialiseStage
from tests.support.control_samples import MATERIALISE_PROGRESS, MATERIALISED

replace = msgspec.structs.replace
MADE_OF = "of llama/rank-0@98 and 2 deltas on it in /data/llama-100: 9 files, 2 GiB"


def test_what_was_made_is_said_with_what_it_was_made_of() -> None:
    assert materialised_lines(MATERIALISED) == [
        f"made llama/rank-0@100 {MADE_OF}, in 3.2s",
        "fetched 30 MiB for it: llama/rank-0@99",
        "left out, for no delta is about it: pytorch_model.bin",
        "published it as llama/rank-0.full@100",
    ]


def test_of_a_dry_run_it_is_said_that_nothing_was_done() -> None:
    result = replace(MATERIALISED, is_dry_run=True, left_out=())
    assert materialised_lines(result) == [
        f"would make llama/rank-0@100 {MADE_OF}",
        "would fetch 30 MiB for it: llama/rank-0@99",
        "would publish it as llama/rank-0.full@100",
        "way: from 98 that is here and 2 deltas on it: 2 GiB to write, about 7.0s",
        "nothing was done: this is what would be, by the first way",
    ]


def test_a_copy_of_a_peer_is_made_of_itself() -> None:
    copy = replace(MATERIALISED.chain[0], checkpoint="llama/rank-0.full", version=100)
    result = replace(MATERIALISED, chain=(copy,), files=0, left_out=(), published="")
    assert materialised_lines(result) == [
        "made llama/rank-0@100 of llama/rank-0.full@100 in /data/llama-100: 2 GiB, in 3.2s"
    ]


def test_what_stands_there_already_was_not_made() -> None:
    result = replace(
        MATERIALISED, is_standing=True, published="", left_out=(), chain=MATERIALISED.chain[::2]
    )
    assert materialised_lines(result) == [
        "llama/rank-0@100 stands in /data/llama-100 already, as it was made: 9 files, 2 GiB"
    ]


def test_progress_has_a_bar_once_it_is_known_how_much_there_is() -> None:
    picture = materialising_picture(MATERIALISE_PROGRESS)
    assert picture.stage == "applying"
    assert picture.line == "applying: 512 MiB of 2 GiB"
    assert len(picture.lines) == 2
    waiting = MaterialiseProgress(stage=MaterialiseStage.WAITING, bytes_done=0, bytes_total=0)
    assert materialising_picture(waiting).lines == ("waiting",)
