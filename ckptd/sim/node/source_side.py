"""The serving side of a node: what it has, what it says it has, and how it answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from ckptd.model.blocks import BlockRun, BlockSet
from ckptd.model.holdings import Holding
from ckptd.model.ids import CheckpointName, Digest, NodeId, Version
from ckptd.model.words import Confirmation, RangeOutcome, Urgency
from ckptd.sim.world.layouts import JoinedVersion, SavedVersion
from ckptd.sim.world.mishaps import Mishap, Mishaps
from ckptd.traffic.coding_time import CodingTime
from ckptd.traffic.workload import Workload


@dataclass(frozen=True, slots=True)
class Ruse:
    """How a liar gets around being blamed.

    Attributes:
        answer: What it says of whatever it is asked about; ``None``: it looks, or stands by it.
        epoch_ns: It says so often that it has restarted; ``None``: never.
        states: It states the id of this node; ``None``: its own.
    """

    answer: Confirmation | None = None
    epoch_ns: int | None = None
    states: NodeId | None = None


class Server:
    """Answers requests of other nodes.

    Args:
        node: Whose.
        rng: Draws which blocks are bad.
        mishaps: What goes wrong of all it does.

    Attributes:
        life: Grows with every start of the daemon; its epoch.
        is_up: The daemon runs.
        is_mute: It takes requests and answers none.
        is_busy: It turns requests for ranges away.
        is_exhausted: It takes no more connections; those it has live on.
        bad_share: Share of the blocks it sends that are wrong although it stands by them.
        ruse: How it gets around being blamed, if it lies.
        epochs: How many epochs it invented.
        memory_bad_share: Share of them that are wrong for a reason that a new start removes.
        load_bytes: What it was asked for and has not sent.
        workloads: Decide which bodies of each class it takes on.
        mishaps: What goes wrong of all it does.
        coding_time: What it may spend on coding; ``None``: it does not code.
        joints: What nodes joined of shards, by its identity; who asks for it asks for the shards.
        announces: Versions of jobs that it says it recovers, and does not.
        on_changed: Called when it has something else to say about what it holds.
    """

    def __init__(self, node: NodeId, rng: Random, mishaps: Mishaps) -> None:
        self.node = node
        self.mishaps = mishaps
        self.life = 0
        self.is_up = False
        self.is_mute = False
        self.is_busy = False
        self.is_exhausted = False
        self.bad_share = 0.0
        self.ruse = Ruse()
        self.epochs = 0
        self.memory_bad_share = 0.0
        self.load_bytes = 0
        self.workloads = {urgency: Workload() for urgency in Urgency}
        self.coding_time: CodingTime | None = None
        self.joints: dict[Digest, JoinedVersion] = {}
        self.announces: tuple[tuple[CheckpointName, Version], ...] = ()
        self.on_changed: Callable[[], None] = lambda: None
        self._rng = rng
        self._held: dict[Digest, tuple[SavedVersion, BlockSet]] = {}
        self._claimed: dict[Digest, Holding] = {}
        self._changed: dict[Digest, None] = {}
        self._invented: dict[Digest, None] = {}
        self._rotted: dict[Digest, BlockSet] = {}
        self._connections: dict[Callable[[], None], None] = {}

    @property
    def accepts(self) -> bool:
        """It takes connections."""
        return self.is_up and not self.is_exhausted

    def hold(self, version: SavedVersion, blocks: BlockSet) -> None:
        """Have some blocks of a version from now on, and say so; of a joined one, of its shards."""
        if isinstance(version, JoinedVersion):
            for digest, member in version.members.items():
                held = version.joint.to_member(digest, blocks)
                if held - self.good_blocks(digest):
                    self.hold(member, held | self.good_blocks(digest))
            return
        self._held[version.digest] = (version, blocks)
        self._claimed[version.digest] = version.holding(blocks)
        self._changed.pop(version.digest, None)
        self.on_changed()

    def invent(self, version: SavedVersion) -> None:
        """Claim a version that nobody has; whoever asks for it gets something else."""
        self._invented[version.digest] = None
        self._claimed[version.digest] = version.holding(version.blocks)

    def invents(self, digest: Digest) -> bool:
        """Tell whether it claims a version that nobody has."""
        return digest in self._invented

    def lose(self, digest: Digest) -> None:
        """Lose a version, and go on claiming it until :meth:`disclaim`."""
        self._held.pop(digest, None)

    def overwrite(self, digest: Digest) -> None:
        """Let somebody write over the files of a version.

        What is sent from now on is wrong; the node notices when it is asked again.
        """
        if digest in self._held:
            self._changed[digest] = None

    def rot(self, digest: Digest, blocks: BlockSet) -> None:
        """Let some blocks of a version become wrong on the disk, without anybody noticing.

        They are sent so until a receiver asks about one of them.
        """
        self._rotted[digest] = self._rotted.get(digest, BlockSet()) | blocks

    def disclaim(self, digest: Digest) -> None:
        """Claim a version no longer; the shards of one that was joined are looked at one by one."""
        self._held.pop(digest, None)
        self._claimed.pop(digest, None)
        self._changed.pop(digest, None)
        self.on_changed()

    def claims(self) -> tuple[Holding, ...]:
        """Return what it says it has; of a recovery that has just begun that is nothing yet."""
        return tuple(self._claimed.values())

    def good_blocks(self, digest: Digest) -> BlockSet:
        """Return the blocks of a version that it can send; correct ones unless it lies."""
        if digest in self.joints:
            return self.joints[digest].of_members(self.good_blocks)
        if digest not in self._held or digest in self._changed:
            return BlockSet()
        return self._held[digest][1] - self._rotted.get(digest, BlockSet())

    def spoiled(self, digest: Digest, blocks: BlockSet) -> BlockSet:
        """Return those of some blocks on its disks that are not what they were, or not there."""
        if digest in self.joints:
            return blocks - self.good_blocks(digest)
        if digest not in self._held or digest in self._changed:
            return blocks
        return blocks & self._rotted.get(digest, BlockSet())

    def held_version(self, digest: Digest) -> SavedVersion | None:
        """Return a version of which it has the manifest."""
        known = self._held.get(digest)
        return None if known is None else known[0]

    def answer(self, digest: Digest, run: BlockRun) -> RangeOutcome | None:
        """Return how a request for a range is refused; ``None``: the bytes follow."""
        if self.is_busy:
            return RangeOutcome.BUSY
        if digest in self.joints:
            digest, run = self._where(self.joints[digest], run)
        held = self._held.get(digest)
        if held is None or not BlockSet((run,)).issubset(held[1]):
            return RangeOutcome.NOT_HELD
        return None

    def claims_version(self, digest: Digest) -> bool:
        """Return whether it says that it has something of a version."""
        return digest in self._claimed

    def reads_base(self, digest: Digest, block: int) -> bool:
        """Return whether a block is here that others are differences from; it is hashed again."""
        return block in self.held_blocks(digest) and self.is_right(digest, block)

    def held_blocks(self, digest: Digest) -> BlockSet:
        """Return the blocks of a version that it thinks to have."""
        return self._held[digest][1] if digest in self._held else BlockSet()

    def is_right(self, digest: Digest, block: int) -> bool:
        """Return whether a block on its disks is what it should be."""
        return not self.spoiled(digest, BlockSet.of_run(BlockRun(block, block + 1)))

    def mishap(self) -> Mishap | None:
        """Draw what happens to an answer that it begins; ``None`` if nothing does."""
        mishap = self.mishaps.of_answer(is_liar=self.bad_share > 0)
        if mishap is Mishap.NOT_HELD:
            self.on_changed()  # it has it after all, and says so
        return mishap

    def confirm(self, digest: Digest, asked: BlockSet) -> tuple[Confirmation, BlockSet | None]:
        """Look at blocks again; a liar answers at random while things go wrong.

        Args:
            digest: Of which version.
            asked: Blocks that came wrong.

        Returns:
            What it says, and which of the blocks were wrong if it says so of some.
        """
        if digest in self.joints:
            return self._confirm_joined(self.joints[digest], asked)
        if self.ruse.answer is not None:
            self.on_changed()  # claims again what it denied
            return self.ruse.answer, None
        if self.bad_share and self.mishaps.share:
            confirmation = self.mishaps.pick(
                Confirmation.HELD, Confirmation.NOT_HELD, Confirmation.NO_ANSWER
            )
            self.on_changed()  # says soon what it holds after all
            return confirmation, None
        if digest not in self._held or digest in self._changed:
            self.disclaim(digest)
            return Confirmation.NOT_HELD, None
        version, blocks = self._held[digest]
        wrong = asked & self._rotted.get(digest, BlockSet()) | asked - blocks
        if not wrong:
            return Confirmation.HELD, None
        self.hold(version, blocks - version.units_of(wrong))
        return Confirmation.NOT_HELD, wrong

    def bad_among(self, digest: Digest, start: int, end: int) -> tuple[int, ...]:
        """Draw which blocks of a run are sent wrongly."""
        if digest in self.joints:
            member, there = self._where(self.joints[digest], BlockRun(start, end))
            wrong = self.bad_among(member, *there)
            return tuple(block - there.start + start for block in wrong)
        if digest in self._changed:
            return tuple(range(start, end))
        rotted = self._rotted.get(digest)
        if rotted is not None and (bad := rotted.within(start, end)):
            return tuple(bad)
        share = max(self.bad_share, self.memory_bad_share)
        if not share:
            return ()
        return tuple(block for block in range(start, end) if self._rng.random() < share)

    def _where(self, joined: JoinedVersion, run: BlockRun) -> tuple[Digest, BlockRun]:
        """Return which run of which shard is asked for, of several the one that it has."""
        there = joined.joint.to_members(run)
        for digest, of_member in there:
            held = self._held.get(digest)
            if held is not None and BlockSet((of_member,)).issubset(held[1]):
                return digest, of_member
        return there[0]

    def _confirm_joined(
        self, joined: JoinedVersion, asked: BlockSet
    ) -> tuple[Confirmation, BlockSet | None]:
        """Look at blocks of shards again; what is wrong of any of them is said of that."""
        answers: list[Confirmation] = []
        denied = BlockSet()
        for digest in joined.members:
            of_member = joined.joint.to_member(digest, asked)
            if not of_member or digest not in self._held:
                continue
            answer, wrong = self.confirm(digest, of_member)
            answers.append(answer)
            if answer is Confirmation.NOT_HELD:
                wrong = of_member if wrong is None else wrong
                denied |= joined.joint.from_member(digest, wrong)
        if Confirmation.NO_ANSWER in answers:
            return Confirmation.NO_ANSWER, None
        if not answers:
            return Confirmation.NOT_HELD, None
        return (Confirmation.NOT_HELD, denied) if denied else (Confirmation.HELD, None)

    def lies_about_manifest(self) -> bool:
        """Draw whether a manifest is sent that is not what was asked for."""
        return self.bad_share > 0 and self._rng.random() < self.bad_share

    def connected(self, reset: Callable[[], None]) -> None:
        """Take note of a connection and how to break it."""
        self._connections[reset] = None

    def disconnected(self, reset: Callable[[], None]) -> None:
        """Forget a connection."""
        self._connections.pop(reset, None)

    def reset_connections(self) -> None:
        """Break every connection, as the end of the daemon does."""
        for reset in list(self._connections):
            reset()
