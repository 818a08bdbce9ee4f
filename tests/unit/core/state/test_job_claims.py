"""The claims to shards, against a scan of all that peers said."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from ckptd.core.state.job_claims import JobClaims, Layout
from ckptd.model.blocks import BlockSet
from ckptd.model.holdings import Holding
from ckptd.model.ids import CheckpointName, Digest, PathId, Version
from ckptd.model.shards import Shard, shard_name, split_shard

LLAMA, OTHER = CheckpointName("llama"), CheckpointName("other/shard-x")
A, B = PathId("a"), PathId("b")


def claim(
    shard: Shard, version: int = 1, content: str = "", job: CheckpointName = LLAMA
) -> Holding:
    name = shard_name(job, shard)
    digest = Digest(f"{name}@{version}{content}".encode().hex()[-64:].rjust(64, "0"))
    return Holding(name, Version(version), digest, 10, 1, BlockSet.full(1))


def plain(name: str) -> Holding:
    return Holding(CheckpointName(name), Version(1), Digest("f" * 64), 10, 1, BlockSet.full(1))


holdings = st.builds(
    claim,
    st.builds(lambda index, more: Shard(index, index + more), st.integers(0, 2), st.integers(1, 2)),
    st.integers(1, 3),
    st.sampled_from(["", "x"]),
    st.sampled_from([LLAMA, OTHER]),
)
said = st.tuples(
    st.sampled_from([A, B]), st.lists(holdings | st.builds(plain, st.just("llama")), max_size=6)
)


def scanned(by_path: dict[PathId, list[Holding]], job: CheckpointName) -> dict[object, object]:
    """Return by layout, shard and content who claims it."""
    found: dict[Layout, dict[int, dict[Digest, set[PathId]]]] = {}
    for path, holdings in by_path.items():
        for holding in holdings:
            split = split_shard(holding.checkpoint)
            if split is not None and split[0] == job:
                layout = Layout(holding.version, split[1].count)
                contents = found.setdefault(layout, {}).setdefault(split[1].index, {})
                contents.setdefault(holding.digest, set()).add(path)
    return dict(found)


def known(claims: JobClaims, job: CheckpointName) -> dict[object, object]:
    return {
        layout: {
            index: {digest: set(paths) for digest, paths in contents.items()}
            for index, contents in claims.shards(job, layout).items()
        }
        for layout in claims.layouts(job)
    }


@given(st.lists(said, max_size=8))
def test_it_knows_what_a_scan_of_all_holdings_finds(
    reports: Iterable[tuple[PathId, list[Holding]]],
) -> None:
    claims = JobClaims()
    by_path: dict[PathId, list[Holding]] = {}
    for path, holdings in reports:
        claims.note(path, holdings)
        by_path[path] = holdings
        for job in (LLAMA, OTHER):
            assert known(claims, job) == scanned(by_path, job)
    for path in by_path:
        claims.forget(path)
    assert not claims.jobs()


def test_the_newest_version_comes_first_and_of_that_the_one_in_fewer_shards() -> None:
    claims = JobClaims()
    claims.note(A, [claim(Shard(0, 8), 1), claim(Shard(0, 16), 2), claim(Shard(0, 8), 2)])
    assert claims.layouts(LLAMA) == [(2, 8), (2, 16), (1, 8)]
    assert str(claims.layouts(LLAMA)[0]) == "2 in 8 shards"


def test_only_what_may_change_a_choice_counts_as_a_change() -> None:
    claims = JobClaims()
    whole = claim(Shard(0, 2))
    claims.note(A, [whole, plain("llama")])
    first = claims.revision
    claims.note(A, [whole])
    claims.note(A, [claim(Shard(0, 2))])  # equal
    claims.note(B, [plain("mistral")])
    assert claims.revision == first
    claims.note(B, [whole])
    claims.note_change()
    claims.note(B, [])
    assert claims.revision == first + 3


def test_names_that_are_no_shards_are_passed_by() -> None:
    claims = JobClaims()
    claims.note(A, [plain("llama/shard-3"), plain("llama/shard-3-of-3"), plain("x/shard-07-of-9")])
    assert not claims.jobs()
    claims.forget(A)
