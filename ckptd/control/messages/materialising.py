"""Full versions that are made of chains."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from ckptd.model.words import MaterialiseStage


class MaterialiseRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Make a full version of a delta version and all that it stands on, in new files.

    Attributes:
        checkpoint: Name of the checkpoint.
        version: Which version.
        to: Absolute path of the directory to be: nothing stands there, or this very copy does.
        digest: The beginning of the digest of the content that is meant, where there are several.
        publish: Publish what is made, as a version of its own: the same number of ``NAME.full``.
        is_dry_run: Only say what would be done.
    """

    checkpoint: str
    version: int
    to: str
    digest: str = ""
    publish: bool = False
    is_dry_run: bool = False


class MaterialiseProgress(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="progress"
):
    """How far it is in what it does now.

    Attributes:
        stage: What that is.
        bytes_done: How much of it is done.
        bytes_total: How much there is to do; 0: that is not known yet.
    """

    stage: MaterialiseStage
    bytes_done: int
    bytes_total: int


class ChainRow(msgspec.Struct, frozen=True, kw_only=True):
    """A version of the chain.

    Attributes:
        checkpoint: Name of its checkpoint: another one if it is a copy that was published.
        version: Which version.
        digest: Digest of its manifest.
        size_bytes: Its length.
        is_delta: It is a delta on the one before it; else it is the full one.
        is_fetched: It was not here, and was fetched, or would be.
    """

    checkpoint: str
    version: int
    digest: str
    size_bytes: int
    is_delta: bool
    is_fetched: bool


class WayRow(msgspec.Struct, frozen=True, kw_only=True):
    """A way to the full version.

    Attributes:
        text: A sentence for people, without a full stop.
        predicted_s: How long it takes, by what earlier ones took.
        fetch_bytes: What has to be fetched for it.
        apply_bytes: Bytes of tensors to which differences are applied, as far as is known.
    """

    text: str
    predicted_s: float
    fetch_bytes: int
    apply_bytes: int


class MaterialiseResult(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="result"):
    """A full version was made.

    Attributes:
        checkpoint: Name of the checkpoint.
        version: Which version.
        digest: Digest of the manifest of the delta version.
        directory: Where the copy stands, or would.
        chain: Of what it was made: the full version, then each delta in turn.
        ways: All ways to it that were known, the fastest first: that was taken.
        size_bytes: Its length; in a dry run that of the full version, if something is not here.
        files: How many files it has; then 0.
        left_out: Names of that full version that it does not have: weights in other forms, links,
            empty directories.
        is_standing: It stood there already, and its files were found to be what was made.
        is_dry_run: Nothing was done: so it would be.
        duration_s: How long it took.
        published: As what it was published, or would be; empty: nobody asked for that.
        published_digest: Digest of the manifest of that; empty in a dry run.
    """

    checkpoint: str
    version: int
    digest: str
    directory: str
    chain: tuple[ChainRow, ...]
    ways: tuple[WayRow, ...]
    size_bytes: int
    files: int
    left_out: tuple[str, ...]
    is_standing: bool
    is_dry_run: bool
    duration_s: float
    published: str = ""
    published_digest: str = ""


MaterialiseEvent: TypeAlias = MaterialiseProgress | MaterialiseResult
