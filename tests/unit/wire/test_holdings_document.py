import dataclasses
import json
import tracemalloc
from collections.abc import Iterable
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptd.errors import ProtocolViolation
from ckptd.limits import (
    BLOCK_BYTES_MAX,
    CHECKPOINT_NAME_BYTES_MAX,
    HOLDING_RUNS_MAX,
    HOLDINGS_BYTES_MAX,
    HOLDINGS_MAX,
    HOLDINGS_VALUES_MAX,
    KEEPS_CHARACTERS_MAX,
    KEEPS_MAX,
    MANIFEST_BLOCKS_MAX,
    MIB,
    PLACED_JOBS_MAX,
    RECOVERING_MAX,
)
from ckptd.model.blocks import BlockSet
from ckptd.model.holdings import Holding, Holdings, HoldingsDelta
from ckptd.model.ids import CheckpointName, Digest, Epoch, NodeId, Version
from ckptd.wire.holdings_document import (
    OPTIONAL_RUNS_MAX,
    decode_holdings,
    encode_delta,
    encode_holdings,
)

Json = dict[str, object]


def holding(number: int = 0, *, block_count: int = 10, blocks: BlockSet | None = None) -> Holding:
    return Holding(
        checkpoint=CheckpointName("llama/rank-3"),
        version=Version(1200),
        digest=Digest(f"{number:064x}"),
        size_bytes=block_count * 1000,
        block_count=block_count,
        blocks=BlockSet.full(block_count) if blocks is None else blocks,
    )


def holdings_of(*listed: Holding) -> Holdings:
    return Holdings(NodeId("node-a"), Epoch(5), 3, listed)


def document(**changes: object) -> Json:
    return {"node": "node-a", "epoch": 5, "revision": 3, "holdings": []} | changes


def entry(**changes: object) -> Json:
    return {
        "checkpoint": "llama/rank-3",
        "version": 1200,
        "digest": "0" * 64,
        "size_bytes": 10_000,
        "block_count": 10,
        "blocks": "all",
    } | changes


def delta(**changes: object) -> Json:
    return document(since=1) | changes


def delta_of(
    *, changed: Iterable[Holding] = (), grown: Iterable[Holding] = (), gone: Iterable[Digest] = ()
) -> HoldingsDelta:
    return HoldingsDelta(
        NodeId("node-a"), Epoch(5), 1, 3, tuple(changed), tuple(grown), tuple(gone)
    )


def without_blocks(**changes: object) -> Json:
    found = entry(**changes)
    del found["blocks"]
    return found


def decode(value: object) -> Holdings | HoldingsDelta:
    return decode_holdings(json.dumps(value).encode())


def decode_whole(value: object) -> Holdings:
    found = decode(value)
    assert isinstance(found, Holdings)
    return found


@pytest.mark.parametrize(
    "listed",
    [
        [],
        [holding()],
        [holding(blocks=BlockSet([(0, 3), (5, 6), (9, 10)])), holding(1)],
        [holding(blocks=BlockSet())],
        [holding(block_count=0)],
        [holding(block_count=MANIFEST_BLOCKS_MAX)],
    ],
    ids=str,
)
def test_a_document_is_read_as_it_was_written(listed: list[Holding]) -> None:
    holdings = holdings_of(*listed)
    assert decode_holdings(encode_holdings(holdings)) == holdings


def test_a_document_looks_as_described() -> None:
    listed = holdings_of(holding(), holding(1, blocks=BlockSet([(0, 3), (5, 6)])))
    assert json.loads(encode_holdings(listed)) == document(
        holdings=[entry(), entry(digest=f"{1:064x}", blocks=[[0, 3], [5, 6]])]
    )


def test_fields_of_newer_peers_are_ignored() -> None:
    newer = document(holdings=[entry(rank={"x": [1]})], region="eu")
    assert decode(newer) == holdings_of(holding())


def test_runs_that_touch_are_one() -> None:
    found = decode_whole(document(holdings=[entry(blocks=[[0, 2], [2, 5]])]))
    assert found.holdings[0].blocks == BlockSet([(0, 5)])


@pytest.mark.parametrize(
    "change",
    [
        delta_of(),
        delta_of(changed=[holding(), holding(1, blocks=BlockSet())]),
        delta_of(grown=[holding(blocks=BlockSet([(0, 3), (5, 6)]))]),
        delta_of(gone=[Digest("1" * 64), Digest("2" * 64)]),
        delta_of(changed=[holding(1)], grown=[holding(2)], gone=[Digest("3" * 64)]),
        delta_of(gone=[Digest(f"{number:064x}") for number in range(HOLDINGS_MAX)]),
    ],
)
def test_a_delta_is_read_as_it_was_written(change: HoldingsDelta) -> None:
    assert decode_holdings(encode_delta(change)) == change


def test_a_delta_looks_as_described() -> None:
    change = delta_of(
        changed=[holding()],
        grown=[holding(1, blocks=BlockSet([(0, 3), (5, 6)]))],
        gone=[Digest("2" * 64)],
    )
    assert json.loads(encode_delta(change)) == delta(
        holdings=[entry(), without_blocks(digest=f"{1:064x}", added=[[0, 3], [5, 6]])],
        gone=["2" * 64],
    )


def test_a_delta_without_losses_need_not_say_so() -> None:
    assert decode(delta()) == decode(delta(gone=[])) == delta_of()


@pytest.mark.parametrize(
    "value",
    [
        document(gone=["1" * 64]),
        document(holdings=[without_blocks(added=[[0, 1]])]),
        delta(since=3),
        delta(since=4),
        delta(since=-1),
        delta(since="1"),
        delta(gone="1" * 64),
        delta(gone=[1]),
        delta(gone=["../x"]),
        delta(gone=["1" * 64, "1" * 64]),
        delta(gone=["0" * 64], holdings=[entry()]),
        delta(holdings=[entry(), without_blocks(added=[[0, 1]])]),
        delta(holdings=[without_blocks()]),
        delta(holdings=[entry(added=[[0, 1]])]),
        delta(holdings=[without_blocks(added=None)]),
        delta(holdings=[without_blocks(added=[[0, 11]])]),
        delta(holdings=[without_blocks(added=[[5, 6], [0, 1]])]),
        delta(holdings=[without_blocks(added=[[0, 1]] * (HOLDING_RUNS_MAX + 1))]),
        delta(gone=[f"{number:064x}" for number in range(HOLDINGS_MAX + 1)]),
    ],
)
def test_a_delta_that_cannot_be_true_is_a_violation(value: object) -> None:
    with pytest.raises(ProtocolViolation) as refused:
        decode(value)
    assert len(str(refused.value)) < 400


@pytest.mark.parametrize(
    "value",
    [
        [],
        {},
        document(node="../x"),
        document(node=None),
        document(epoch=-1),
        document(epoch=2**63),
        document(revision="3"),
        document(holdings={}),
        document(holdings=[entry(checkpoint="../../etc")]),
        document(holdings=[entry(version=-1)]),
        document(holdings=[entry(version=1.5)]),
        document(holdings=[entry(digest="A" * 64)]),
        document(holdings=[entry(digest="0" * 63)]),
        document(holdings=[entry(), entry()]),
        document(holdings=[entry(size_bytes=9)]),
        document(holdings=[entry(size_bytes=2**63 - 1)]),
        document(holdings=[entry(block_count=MANIFEST_BLOCKS_MAX + 1, size_bytes=2**40)]),
        document(holdings=[entry(blocks="some")]),
        document(holdings=[entry(blocks=None)]),
        document(holdings=[entry(blocks=[[0, 11]])]),
        document(holdings=[entry(blocks=[[3, 3]])]),
        document(holdings=[entry(blocks=[[3, 2]])]),
        document(holdings=[entry(blocks=[[-1, 2]])]),
        document(holdings=[entry(blocks=[[5, 6], [0, 1]])]),
        document(holdings=[entry(blocks=[[0, 3], [2, 4]])]),
        document(holdings=[entry(blocks=[[0, 1, 2]])]),
        document(holdings=[entry(blocks=[0, 1])]),
        document(holdings=[entry(blocks=[[0, 2**70]])]),
        document(holdings=[{**entry(), "blocks": [[0, 1]] * (HOLDING_RUNS_MAX + 1)}]),
        document(holdings=[entry(digest=f"{index:064x}") for index in range(HOLDINGS_MAX + 1)]),
    ],
)
def test_a_document_that_cannot_be_true_is_a_violation(value: object) -> None:
    with pytest.raises(ProtocolViolation) as refused:
        decode(value)
    assert len(str(refused.value)) < 400


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b'{"node":"\xff"}',
        b"[" * 100_000,
        b'{"x":' * 100_000,
        b'{"node":"a","epoch":' + b"9" * 1_000_000 + b"}",
        b" " * (HOLDINGS_BYTES_MAX + 1),
    ],
    ids=["empty", "not UTF-8", "not UTF-8 inside", "arrays", "objects", "long number", "too long"],
)
def test_bytes_that_are_no_document_are_a_violation(data: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        decode_holdings(data)


def test_more_runs_than_a_document_can_carry_are_left_out() -> None:
    many = BlockSet((2 * index, 2 * index + 1) for index in range(HOLDING_RUNS_MAX + 1))
    scattered = holding(block_count=4 * HOLDING_RUNS_MAX, blocks=many)
    listed = holdings_of(scattered, dataclasses.replace(scattered, digest=Digest("1" * 64)))
    found = decode_whole(json.loads(encode_holdings(listed))).holdings
    assert [one.blocks.run_count for one in found] == [HOLDING_RUNS_MAX, 0]
    assert found[0].blocks.issubset(many)


@given(
    st.lists(
        st.tuples(
            st.integers(0, 2**63 - 1),
            st.lists(st.tuples(st.integers(0, 90), st.integers(1, 10)), max_size=5),
        ),
        max_size=4,
    )
)
def test_any_holdings_survive_the_way(listed: list[tuple[int, list[tuple[int, int]]]]) -> None:
    holdings = holdings_of(
        *(
            dataclasses.replace(
                holding(index, block_count=100),
                version=Version(version),
                blocks=BlockSet((start, start + length) for start, length in runs),
            )
            for index, (version, runs) in enumerate(listed)
        )
    )
    assert decode_holdings(encode_holdings(holdings)) == holdings


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=8,
)


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_a_document_or_a_violation(data: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        decode_holdings(data)


@given(
    st.sampled_from(["checkpoint", "version", "digest", "size_bytes", "block_count", "blocks"]),
    JSON,
)
def test_an_arbitrary_value_in_a_holding_is_read_or_a_violation(name: str, value: object) -> None:
    try:
        found = decode_whole(document(holdings=[entry(**{name: value})]))
    except ProtocolViolation:
        return
    assert found.holdings[0].blocks.issubset(BlockSet.full(found.holdings[0].block_count))


@given(st.sampled_from(["since", "gone", "holdings"]), JSON)
def test_an_arbitrary_value_in_a_delta_is_read_or_a_violation(name: str, value: object) -> None:
    try:
        found = decode(delta(**{name: value}))
    except ProtocolViolation:
        return
    assert found.revision == 3


def test_a_document_may_have_as_many_runs_as_the_limit_and_no_more() -> None:
    runs = [[2 * index, 2 * index + 1] for index in range(HOLDING_RUNS_MAX)]
    count = 2 * HOLDING_RUNS_MAX
    one = entry(blocks=runs[:-1], block_count=count, size_bytes=count)
    last = entry(blocks=runs[:1], digest="1" * 64)
    complete = entry(digest="2" * 64)
    found = decode_whole(document(holdings=[one, last, complete]))
    assert [each.blocks.run_count for each in found.holdings] == [HOLDING_RUNS_MAX - 1, 1, 1]
    more = entry(blocks=runs[:2], digest="1" * 64)
    with pytest.raises(ProtocolViolation, match="more than 65536 runs"):
        decode(document(holdings=[one, more]))
    with pytest.raises(ProtocolViolation, match="more than 65536 runs"):
        decode(document(holdings=[complete, one, more]))


def test_a_document_may_be_as_long_as_the_limit_and_no_longer() -> None:
    longest = json.dumps(document(holdings=[entry()])).encode().ljust(HOLDINGS_BYTES_MAX)
    assert decode_holdings(longest) == holdings_of(holding())
    with pytest.raises(ProtocolViolation, match=f"more than {HOLDINGS_BYTES_MAX}"):
        decode_holdings(longest + b" ")


@pytest.mark.parametrize(
    ("size_bytes", "can_be"),
    [(9, False), (10, True), (10 * BLOCK_BYTES_MAX, True), (10 * BLOCK_BYTES_MAX + 1, False)],
)
def test_a_block_has_at_least_a_byte_and_at_most_as_many_as_the_limit(
    size_bytes: int, *, can_be: bool
) -> None:
    value = document(holdings=[entry(size_bytes=size_bytes)])
    if can_be:
        assert decode_whole(value).holdings[0].size_bytes == size_bytes
    else:
        with pytest.raises(ProtocolViolation, match=f"says that 10 blocks have {size_bytes} bytes"):
            decode(value)


def test_as_many_versions_as_the_limit_are_listed_whole() -> None:
    listed = [entry(digest=f"{index:064x}") for index in range(HOLDINGS_MAX)]
    assert len(decode_whole(document(holdings=listed)).holdings) == HOLDINGS_MAX


def test_a_run_without_a_block_is_named() -> None:
    with pytest.raises(ProtocolViolation, match=r"has the run \[3, 3\) where it cannot be"):
        decode(document(holdings=[entry(blocks=[[3, 3]])]))


def test_optional_blocks_are_named_unless_everything_is_there() -> None:
    optional = BlockSet([(3, 5), (9, 10)])
    partial = dataclasses.replace(holding(blocks=BlockSet([(0, 3)])), optional=optional)
    assert decode_holdings(encode_holdings(holdings_of(partial))) == holdings_of(partial)
    complete = dataclasses.replace(holding(), optional=optional)
    assert decode_holdings(encode_holdings(holdings_of(complete))) == holdings_of(holding())
    assert b"optional" not in encode_holdings(holdings_of(complete))


def test_what_grows_has_the_same_optional_blocks() -> None:
    known = dataclasses.replace(holding(blocks=BlockSet([(0, 1)])), optional=BlockSet([(9, 10)]))
    grown = dataclasses.replace(known, blocks=BlockSet([(1, 2)]))
    change = delta_of(grown=[grown])
    assert decode_holdings(encode_delta(change)) == change


def test_very_many_optional_runs_are_cut_short() -> None:
    optional = BlockSet((2 * number, 2 * number + 1) for number in range(1000))
    said = dataclasses.replace(
        holding(block_count=2000, blocks=BlockSet([(1, 2)])), optional=optional
    )
    decoded = decode_holdings(encode_holdings(holdings_of(said)))
    assert isinstance(decoded, Holdings)
    assert decoded.holdings[0].optional.run_count == 256
    assert decoded.holdings[0].optional.issubset(optional)


@pytest.mark.parametrize("optional", [[[0, 11]], [[3, 3]], [[4, 5], [0, 1]], 7, {"a": 1}])
def test_optional_blocks_that_cannot_be_are_refused(optional: object) -> None:
    said = document(holdings=[entry(blocks=[[0, 1]], optional=optional)])
    with pytest.raises(ProtocolViolation):
        decode_holdings(json.dumps(said).encode())


def test_runs_of_optional_blocks_count_like_others() -> None:
    runs = [[2 * number, 2 * number + 1] for number in range(HOLDING_RUNS_MAX + 1)]
    count = 2 * len(runs)
    large = entry(blocks=[[0, 1]], optional=runs, block_count=count, size_bytes=count)
    with pytest.raises(ProtocolViolation, match="more than 65536 runs"):
        decode_holdings(json.dumps(document(holdings=[large])).encode())


def test_the_fullest_document_has_fewer_values_than_may_be_in_one() -> None:
    optional = [[2 * index, 2 * index + 1] for index in range(OPTIONAL_RUNS_MAX)]
    runs = [[2 * index, 2 * index + 1] for index in range(HOLDING_RUNS_MAX // 2)]
    size = {"block_count": 2 * HOLDING_RUNS_MAX, "size_bytes": 2 * HOLDING_RUNS_MAX}
    name = "x" * CHECKPOINT_NAME_BYTES_MAX
    listed = [
        entry(digest=f"{index:064x}", checkpoint=name, blocks=[], **size)
        for index in range(HOLDINGS_MAX)
    ]
    listed[0]["blocks"] = runs
    for each in listed[1:127]:
        each["optional"] = optional
    gone = [f"{index:064x}" for index in range(HOLDINGS_MAX, 2 * HOLDINGS_MAX)]
    data = json.dumps(delta(holdings=listed, gone=gone)).encode()
    assert data.count(b",") < HOLDINGS_VALUES_MAX // 2
    assert peak_bytes(data) < 64 * MIB
    assert isinstance(decode_holdings(data), HoldingsDelta)


BOMBS = {
    "gone": b'{"gone":[' + b'"ab",' * 3_000_000,
    "holdings": b'{"holdings":[' + b"{}," * 5_000_000,
    "blocks": b'{"holdings":[{"blocks":[' + b"[0,1]," * 2_700_000,
    "an unknown field": b'{"x":[' + b"0," * 8_000_000,
    "a name": b'{"node":"' + b"x" * 16_000_000 + b'"}',
    "spaces": b" " * 16_000_000,
}


@pytest.mark.parametrize("data", BOMBS.values(), ids=BOMBS.keys())
def test_memory_for_any_document_is_bounded(data: bytes) -> None:
    assert len(data) <= HOLDINGS_BYTES_MAX
    assert peak_bytes(data) < 64 * MIB


def peak_bytes(data: bytes) -> int:
    tracemalloc.start()
    try:
        with suppress(ProtocolViolation):
            decode_holdings(data)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("count", [HOLDINGS_VALUES_MAX, HOLDINGS_VALUES_MAX + 1])
def test_a_document_may_have_as_many_values_as_the_limit_and_no_more(count: int) -> None:
    plain = json.dumps(document(holdings=[entry()])).encode()
    more = b"0," * (count - plain.count(b",") - 1) + b"0"
    data = plain[:-1] + b',"x":[' + more + b"]}"
    assert data.count(b",") == count
    if count == HOLDINGS_VALUES_MAX:
        assert decode_holdings(data) == holdings_of(holding())
    else:
        with pytest.raises(ProtocolViolation, match="more than 500000 values"):
            decode_holdings(data)


def test_what_a_node_recovers_is_said_in_every_document() -> None:
    whole = document(recovering=[["llama", 7], ["eval/x", 0]])
    assert decode_whole(whole).recovering == (("llama", 7), ("eval/x", 0))
    change = decode(delta(recovering=[["llama", 7]]))
    assert change.recovering == (("llama", 7),)
    assert decode_whole(document()).recovering == ()
    assert decode_whole(document(placed=[["llama", 7]])).placed == (("llama", 7),)
    assert decode(delta(placed=[["llama", 7]])).placed == (("llama", 7),)
    assert decode_whole(document()).placed == ()


@pytest.mark.parametrize(
    "versions",
    [[["llama", -1]], [["../x", 1]], [["llama"]], "llama", [["llama", 1]] * (RECOVERING_MAX + 1)],
)
def test_what_cannot_be_recovered_or_placed_is_a_violation(versions: object) -> None:
    assert RECOVERING_MAX == PLACED_JOBS_MAX
    for field in ("recovering", "placed"):
        with pytest.raises(ProtocolViolation):
            decode(document(**{field: versions}))


def test_what_a_node_keeps_copies_of_is_said_in_every_document() -> None:
    whole = decode_whole(document(keeps=["llama*", "evals/*"], is_full=True))
    assert (whole.keeps, whole.is_full) == (("llama*", "evals/*"), True)
    change = decode(delta(keeps=["llama*"], is_full=True))
    assert (change.keeps, change.is_full) == (("llama*",), True)
    silent = decode_whole(document())  # of a node that knows nothing of copies
    assert (silent.keeps, silent.is_full) == ((), False)
    assert decode_holdings(encode_holdings(whole)) == whole
    assert b"keeps" not in encode_holdings(silent)


def test_what_is_kept_is_as_long_as_said_and_no_longer() -> None:
    longest = ["x" * KEEPS_CHARACTERS_MAX] * KEEPS_MAX
    assert decode_whole(document(keeps=longest)).keeps == tuple(longest)


@pytest.mark.parametrize(
    "patterns",
    ["llama", [1], [""], ["x" * (KEEPS_CHARACTERS_MAX + 1)], ["x"] * (KEEPS_MAX + 1)],
    ids=["no list", "no text", "empty", "too long", "too many"],
)
def test_what_cannot_be_kept_is_a_violation(patterns: object) -> None:
    with pytest.raises(ProtocolViolation):
        decode(document(keeps=patterns))
    with pytest.raises(ProtocolViolation):
        decode(document(is_full=1))
