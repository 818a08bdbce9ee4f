"""Versions of checkpoints that are held, and publishing them."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from ckptd.control.messages.chains import ChainView
from ckptd.control.messages.manifests import SaidOfUnits, UnitRow
from ckptd.control.messages.minimal_sets import MinimalSetView
from ckptd.control.messages.rivals import RivalRow
from ckptd.model.words import Location, PlaceState


class PlaceRow(msgspec.Struct, frozen=True, kw_only=True):
    """A directory of this node in which a version stands.

    Attributes:
        root: Name of the root it is in.
        directory: Absolute path.
        state: How it stands there.
        reason: The first thing that is wrong; empty if nothing is known to be.
        units: Units that were recorded there.
        suspect_units: Units that are hashed again before they are served.
        changed_units: Units that are known to have changed, or to be gone.
        wrong_names: How many links and empty directories are not as they should be.
        is_published: It was published here; otherwise a recovery brought it.
        added_at_s: When it was recorded first, in Unix time; 0: not known.
        checked_at_s: When all of it was found right last, in Unix time; 0: not known.
        age_s: How long ago it was recorded first; ``None``: not known.
        checked_age_s: How long ago all of it was found right last; ``None``: not known.
        active_link: The link that leads to it, because it is active; empty if none does.
        is_copy: It is a copy for others, by ``[copies]``.
    """

    root: str
    directory: str
    state: PlaceState
    reason: str
    units: int
    suspect_units: int
    changed_units: int
    is_published: bool
    added_at_s: float
    checked_at_s: float
    age_s: float | None = None
    checked_age_s: float | None = None
    wrong_names: int = 0
    active_link: str = ""
    is_copy: bool = False


class CheckpointRow(msgspec.Struct, frozen=True, kw_only=True):
    """One version that this node or a peer holds.

    Attributes:
        checkpoint: Name of the checkpoint.
        version: Which version.
        digest: Digest of its manifest.
        size_bytes: Length of the whole version.
        held: ``here`` if this node holds all of it that is required.
        is_complete: Every block of a required unit is here or at reachable peers.
        is_stale: It stands here, but its files changed, at all places.
        nodes: Nodes that hold all of it that is required, this one included, sorted.
        directory: Its directory on this node; ``None`` if it is not here. Of several the best.
        units: How many units; ``None`` if the manifest is not here.
        critical_bytes: Bytes of its critical units; ``None`` if the manifest is not here.
        places: Where it stands on this node.
        links: How many symbolic links it has; ``None`` if the manifest is not here.
        empty_directories: How many empty directories; ``None`` if the manifest is not here.
        minimal_set: What has to be there first; ``None`` if the manifest is not here.
        placed_by: Of a shard: nodes whose last recovery of its job placed this version, sorted.
        proven_at_s: By node, for each of ``nodes`` that showed a block of it within a day, which
            was drawn at random: when that was, in Unix time.
        chain: What it stands on; ``None``: it is no delta, or its manifest is not here.
    """

    checkpoint: str
    version: int
    digest: str
    size_bytes: int
    held: Location
    is_complete: bool
    is_stale: bool
    nodes: tuple[str, ...]
    directory: str | None = None
    units: int | None = None
    critical_bytes: int | None = None
    places: tuple[PlaceRow, ...] = ()
    links: int | None = None
    empty_directories: int | None = None
    minimal_set: MinimalSetView | None = None
    placed_by: tuple[str, ...] = ()
    proven_at_s: dict[str, float] = {}
    chain: ChainView | None = None


class PublishRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Hash a directory, or a single file, and serve it in place.

    Attributes:
        directory: Absolute path, below a root; also that of a single file.
        checkpoint: Name to publish it under.
        version: Which version it is.
        critical: Patterns of the paths that are critical.
        deferred: Patterns of the paths that can wait.
        optional: Patterns of the paths without which the version is complete; no critical ones.
        replace: Replace the version if it is held with other content.
        exclude: Patterns of the paths that are left out.
        keeps_logs: Logs and TensorBoard's events are published too; else only those that a pattern
            of another field names.
        require: Patterns each of which must have a match, else the directory is not complete yet.
        settled_s: Nothing may have changed for so long; what the configuration says is the least.
        allow_incomplete: It may lack what its own format (PyTorch DCP, Orbax, an index of shards,
            DeepSpeed) says that it has to have.
        is_dry_run: Hash nothing; only say what would be published.
        keeps_links: Symbolic links that lead to names of the version stay links, and empty
            directories are part of it; else links are followed, and directories need files.
        passes_files: The caller passes descriptors of files that the daemon may not open, when it
            is asked for them; see :class:`PublishWanted`.
        phases: Names of phases, each with a pattern of paths; in the order of their names here,
            unless a policy lists them.
        after: Patterns of paths, each with one of units that have to be visible before.
        recognises: What ckptd recognises of the format counts where nothing else is said; else as
            the configuration says.
        lists_units: If nothing is hashed: say what would be said of each unit.
        dtypes: Patterns of paths, each with the type of the elements of those files, or ``auto``:
            as their headers say; the first that matches counts, then the configuration.
    """

    directory: str
    checkpoint: str
    version: int
    critical: tuple[str, ...] = ()
    deferred: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    replace: bool = False
    exclude: tuple[str, ...] = ()
    keeps_logs: bool = False
    require: tuple[str, ...] = ()
    settled_s: float = 0.0
    allow_incomplete: bool = False
    is_dry_run: bool = False
    keeps_links: bool = False
    passes_files: bool = False
    phases: tuple[tuple[str, str], ...] = ()
    after: tuple[tuple[str, str], ...] = ()
    recognises: bool = False
    lists_units: bool = False
    dtypes: tuple[tuple[str, str], ...] = ()


class PublishWanted(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="wanted"):
    """Files that the daemon may not open: the caller passes descriptors of them, and is waited for.

    It sends one message on the same connection: a byte for each path, ``1`` or ``0``, and with them
    (``SCM_RIGHTS``) a descriptor for each ``1``, open for reading only, in that order.

    Attributes:
        paths: Relative to the directory, at most 64; of a single file, its name.
    """

    paths: tuple[str, ...]


class PublishProgress(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="progress"):
    """How far a directory is hashed."""

    files_done: int
    files_total: int
    bytes_done: int
    bytes_total: int


class PublishUnits(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="units"):
    """What would be said of units that are not published yet, in urgency order.

    Attributes:
        units: At most 1000; the next ones are in the next of these messages.
    """

    units: tuple[UnitRow, ...]


class PublishResult(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="result"):
    """A version is published.

    Attributes:
        checkpoint: Name of the checkpoint.
        version: Which version.
        digest: Digest of its manifest; empty if nothing was hashed.
        size_bytes: Length of the whole version.
        units: How many units.
        is_new: It was not held with the same content before.
        is_back: It was withdrawn there, and is on offer again.
        directory: Its directory.
        duration_s: How long publishing took.
        rivals: Other content that goes by the same name and version, and who has it: a recovery
            will have to choose.
        skipped: Names in the directory that are ckptd's own and no part of the version, at most 20.
        excluded: Files that were left out, at most 20.
        excluded_files: How many were.
        is_dry_run: Nothing was published: so it would be.
        links: How many symbolic links are kept as links.
        empty_directories: How many empty directories are part of it.
        passed_files: How many files are read through descriptors that were passed.
        passed_note: For how long, and how they can be read for good; empty if there are none.
        minimal_set: What has to be there first; ``None`` if nothing was published.
        unresolved: Patterns of units that come before others, each with its rule, of which this
            part of a job has none: nothing waits for them.
        said: Of what would be published: what is said of its units, and by which rules.
    """

    checkpoint: str
    version: int
    digest: str
    size_bytes: int
    units: int
    is_new: bool
    directory: str
    duration_s: float
    rivals: tuple[RivalRow, ...] = ()
    skipped: tuple[str, ...] = ()
    is_back: bool = False
    excluded: tuple[str, ...] = ()
    excluded_files: int = 0
    is_dry_run: bool = False
    links: int = 0
    empty_directories: int = 0
    passed_files: int = 0
    passed_note: str = ""
    minimal_set: MinimalSetView | None = None
    unresolved: tuple[str, ...] = ()
    said: SaidOfUnits | None = None


PublishEvent: TypeAlias = PublishProgress | PublishWanted | PublishUnits | PublishResult
