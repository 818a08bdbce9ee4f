"""What a plan says in numbers: made of sets of blocks, which can be in very many pieces.

All of it is computed from values that do not change, for a thread: the event loop goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from ckptd.control.messages.plans import ClassBytes
from ckptd.core.explain.prediction import (
    Prediction,
    Supply,
    need_of_unknown,
    needs_of,
    predict,
)
from ckptd.core.explain.snapshot import unit_names
from ckptd.model.blocks import BlockSet, union
from ckptd.model.holdings import Holding
from ckptd.model.minimal_set import MinimalSet, first_phase_blocks, minimal_set_of
from ckptd.model.space import AddressSpace
from ckptd.model.words import Criticality
from ckptd.model.zeros import zero_blocks
from ckptd.store.files.hashing import digest_of_zeros
from ckptd.store.published.places import Place
from ckptd.store.trees.equal_blocks import EqualBlocks, SimilarPlace


@dataclass(frozen=True, slots=True)
class PlannedContent:
    """The content that a recovery would bring, and who has what of it.

    Attributes:
        facts: What a holder says of it, or this node.
        space: What it is; ``None``: its manifest could not be had.
        mine: What stands here of it; ``None``: nothing.
        place: It stands at the target; ``None``: not as far as is known.
        held: What is on offer here; ``None``: nothing.
        offered: What each holder has.
        supplies: What a prediction is based on.
        similar: Where other versions stand on this node.
        unchosen: Blocks that are not wanted.
        stands: Of a joined version, which has no place of its own: what stands at the target.
        settle_ns: How long nothing of it would be placed.
    """

    facts: Holding
    space: AddressSpace | None
    mine: Holding | None
    place: Place | None
    held: Holding | None
    offered: Sequence[Holding]
    supplies: Sequence[Supply]
    similar: tuple[SimilarPlace, ...] = ()
    unchosen: BlockSet = field(default_factory=BlockSet)
    stands: BlockSet = field(default_factory=BlockSet)
    settle_ns: int = 0


@dataclass(frozen=True, slots=True)
class PlanFigures:
    """The numbers of a plan: of what is wanted, where not all is.

    Attributes:
        size_bytes: How much is wanted.
        units: How many units; ``None`` without a manifest, as what follows.
        by_class: Bytes by criticality.
        missing_blocks: Blocks that nobody has.
        missing_required: How many of those are required.
        missing_critical: How many of those are critical.
        missing_units: The first units that have some of those.
        local_bytes: What is here, or consists of zeros.
        copied_bytes: What is copied from other places of this node, other versions included.
        similar_bytes: How much of that lies at each place of another version, in their order.
        needed_bytes: What has to come.
        held_bytes: What is on offer here.
        offered_bytes: What each holder has, in their order.
        prediction: How long it takes.
        minimal: What of that has to be here first; ``None`` without a manifest, or if nothing of
            the first phase is wanted.
        minimal_ns: When that will be here; ``None``: cannot be said.
    """

    size_bytes: int
    units: int | None
    by_class: ClassBytes | None
    missing_blocks: int
    missing_required: int | None
    missing_critical: int | None
    missing_units: tuple[str, ...]
    local_bytes: int
    copied_bytes: int
    similar_bytes: tuple[int, ...]
    needed_bytes: int
    held_bytes: int
    offered_bytes: tuple[int, ...]
    prediction: Prediction
    minimal: MinimalSet | None = None
    minimal_ns: int | None = None


def figures_of(content: PlannedContent) -> PlanFigures:
    """Return the numbers of a plan. Takes a while."""
    facts, space, mine = content.facts, content.space, content.mine
    stands = content.place.standing(space) if content.place and space else content.stands
    # They would be neither fetched nor written.
    unchosen = content.unchosen
    zeros = (zero_blocks(space, digest_of_zeros) if space else BlockSet()) - unchosen
    local = (mine.blocks - unchosen if mine and space else BlockSet()) | zeros
    similar_bytes: tuple[int, ...] = ()
    if space is not None:
        missing_here = BlockSet.full(space.block_count) - local - unchosen
        equal = EqualBlocks(space, missing_here, content.similar)
        similar_bytes = equal.found_bytes
        local |= equal.blocks
    # A holder may say anything of a version; its manifest is right.
    block_count = space.block_count if space else facts.block_count
    needed = BlockSet.full(block_count) - local - unchosen
    missing = needed - union(holding.blocks for holding in content.offered)
    if space is None:
        needs = [need_of_unknown(facts, needed)]
    else:
        needs = needs_of(space, space.class_ends(), needed)
    minimal = _minimal_set(space, unchosen) if space else None
    critical = space.of_criticality(Criticality.CRITICAL) if space else BlockSet()
    return PlanFigures(
        size_bytes=space.size_bytes - space.set_bytes(unchosen) if space else facts.size_bytes,
        units=len(space.manifest.units) - space.whole_units(unchosen) if space else None,
        by_class=_by_class(space, unchosen) if space else None,
        missing_blocks=len(missing),
        missing_required=len(missing - space.optional_blocks()) if space else None,
        missing_critical=len(missing & critical) if space else None,
        missing_units=unit_names(space, missing) if space else (),
        local_bytes=space.set_bytes(local) if space else 0,
        copied_bytes=space.set_bytes(local - stands - zeros) if space else 0,
        similar_bytes=similar_bytes,
        needed_bytes=sum(need.size_bytes for need in needs),
        held_bytes=_size_bytes(content.held, space) if content.held else 0,
        offered_bytes=tuple(_size_bytes(holding, space) for holding in content.offered),
        prediction=_settled(predict(needs, content.supplies), content.settle_ns),
        minimal=minimal,
        minimal_ns=_first_ns(space, needed, content.supplies) if space and minimal else None,
    )


def _settled(prediction: Prediction, settle_ns: int) -> Prediction:
    """Return a prediction for what is not placed so soon."""
    if prediction.complete_ns is None:
        return prediction
    return replace(prediction, complete_ns=max(prediction.complete_ns, settle_ns))


def _minimal_set(space: AddressSpace, unchosen: BlockSet) -> MinimalSet | None:
    """Return what is wanted of the first phase; ``None``: nothing."""
    found, first = minimal_set_of(space), first_phase_blocks(space)
    unwanted = first & unchosen
    if found is None or not unwanted:
        return found
    units = found.units - space.whole_units(unwanted)
    size_bytes = space.set_bytes(first - unwanted)
    return found._replace(units=units, size_bytes=size_bytes) if first - unwanted else None


def _first_ns(space: AddressSpace, needed: BlockSet, supplies: Sequence[Supply]) -> int | None:
    """Return when all of the first phase that is needed will be here."""
    first = needed & first_phase_blocks(space)
    return predict(needs_of(space, space.class_ends(), first), supplies).complete_ns


def _size_bytes(holding: Holding, space: AddressSpace | None) -> int:
    """Return how much is held; an estimate if nobody knows how long each block is."""
    if space is not None:
        return space.set_bytes(holding.blocks & BlockSet.full(space.block_count))
    return need_of_unknown(holding, holding.blocks).size_bytes


def _by_class(space: AddressSpace, unchosen: BlockSet) -> ClassBytes:
    def size_bytes(criticality: Criticality) -> int:
        return space.set_bytes(space.of_criticality(criticality) - unchosen)

    return ClassBytes(
        critical=size_bytes(Criticality.CRITICAL),
        normal=size_bytes(Criticality.NORMAL),
        deferred=size_bytes(Criticality.DEFERRED),
    )
