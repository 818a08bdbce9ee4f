"""What ckptd accepts at most, and the sizes it works with.

Anything that arrives from elsewhere is measured against these before memory is set aside
for it. Relations between them are asserted at the end of the module.
"""

from __future__ import annotations

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB
GIB: Final = 1024 * MIB
TIB: Final = 1024 * GIB

MS: Final = 1_000_000
"""Nanoseconds in a millisecond."""
SECOND: Final = 1_000_000_000
DAY_S: Final = 86_400
"""Nanoseconds in a second."""

DIGEST_BYTES: Final = 32
"""Length of a BLAKE3 digest."""

# Manifests. 64 MiB of encoded manifest is 2²¹ block digests and nothing else.
MANIFEST_BYTES_MAX: Final = 64 * MIB
MANIFEST_UNITS_MAX: Final = 1_000_000
MANIFEST_BLOCKS_MAX: Final = 2**21
QUESTIONED_BLOCKS_MAX: Final = 16
"""So many blocks are named in one question about bad ones: the source reads and hashes each, at
most 16 MiB, before it answers."""
MANIFEST_WORDS_BYTES_MAX: Final = 256 * KIB
"""What a manifest says beside its units: as objects it takes fifty times the memory."""
BARE_NAMES_BYTES_MAX: Final = 2 * MIB
"""Of the links, and of the empty directories, of a manifest, as they are encoded."""
MANIFEST_LINKS_MAX: Final = 16_384
MANIFEST_DIRECTORIES_MAX: Final = 16_384
LINK_COMPONENTS_MAX: Final = 128
LINKS_FOLLOWED_MAX: Final = 40
"""For one name, as in the kernel: path_resolution(7)."""
LINKS_WALK_MAX: Final = 100_000
"""Directories of a version whose links are followed, each counted once for each way to it."""
UNIT_WORDS_BYTES_MAX: Final = 16 * KIB
"""What a unit says beside the digests of its blocks."""
MANIFEST_PHASES_MAX: Final = 256
PHASE_NAME_CHARACTERS_MAX: Final = 32
UNIT_PREREQUISITES_MAX: Final = 64
"""Units that a unit itself is put after."""
MANIFEST_PREREQUISITES_MAX: Final = 2**20
"""Of all units together: to follow them takes a second."""
MANIFEST_ANNOTATIONS_MAX: Final = 256
POLICIES_MAX: Final = 256
"""Policies in a configuration."""
POLICY_FILE_BYTES_MAX: Final = 64 * KIB
POLICY_RULES_MAX: Final = 256
POLICY_GLOBS_MAX: Final = 64
"""Patterns in one list of a rule."""
SIGNATURES_MAX: Final = 8
SIGNATURE_LINE_BYTES: Final = 16 + 1 + 2 * 64 + 1
"""Key id, space, the 64 bytes of an ed25519 signature in hexadecimal digits, newline."""
SIGNATURE_DOCUMENT_BYTES_MAX: Final = SIGNATURES_MAX * SIGNATURE_LINE_BYTES
ATTRIBUTES_BYTES_MAX: Final = 32 * MIB
"""Of the document with modes and times of a version; three million files and directories."""
ATTRIBUTES_ENTRY_BYTES: Final = 2 + 8
"""What a file or directory takes in it."""
COMPRESSED_UNIT_BYTES_MIN: Final = 1 * MIB
"""Shorter units of copies are kept as they are: together they are a thousandth of a version."""
UNIT_BYTES_MAX: Final = 16 * TIB
PATH_BYTES_MAX: Final = 4096
PATH_COMPONENT_BYTES_MAX: Final = 255
PATH_DEPTH_MAX: Final = 64
CHECKPOINT_NAME_BYTES_MAX: Final = 255
NODE_ID_BYTES_MAX: Final = 128
RECOVERING_MAX: Final = 64
"""Versions of jobs that a node says it recovers; it recovers a few at once."""
PLACED_JOBS_MAX: Final = 64
"""Versions of jobs that a node says it placed last."""
KEEPS_MAX: Final = 32
"""Patterns of names of which a node says that it keeps copies; each peer compares every name."""
KEEPS_CHARACTERS_MAX: Final = 200
"""In one of them."""
SHARDS_MAX: Final = 16_384
"""Of one version of a job. The largest published runs train on as many accelerators."""
VERSION_MAX: Final = 2**63 - 1
CHOICE_PATTERNS_MAX: Final = 64
"""By which units of a version are chosen; each is compared with each path."""
MATCHING_NAMES_MAX: Final = 64
"""Recoveries that one command begins: fewer than ended ones are remembered, so each is reported."""
EPOCH_BITS: Final = 53
"""Programs that read JSON numbers as floating point numbers know integers below 2⁵³ exactly."""

# Blocks. About 2048 per unit, as Syncthing aims for, so that a bad block is a small loss and
# the digests of a terabyte are 2 MiB.
BLOCK_BYTES_MIN: Final = 256 * KIB
BLOCK_BYTES_MAX: Final = 16 * MIB
BLOCKS_PER_UNIT_AIM: Final = 2048
VERSION_BYTES_MAX: Final = MANIFEST_BLOCKS_MAX * BLOCK_BYTES_MAX
"""32 TiB: what a manifest can claim. Blocks of zeros cost it the bytes of their digests."""

# The peer protocol.
HEAD_BYTES_MAX: Final = 8 * KIB
HEAD_FIELDS_MAX: Final = 32
HOLDINGS_BYTES_MAX: Final = 16 * MIB
HOLDINGS_MAX: Final = 10_000
HOLDING_RUNS_MAX: Final = 65_536
HOLDINGS_VALUES_MAX: Final = 500_000
"""Values in a document, counted before any is made: twice what versions and runs can take."""
RANGE_BYTES_MAX: Final = 64 * MIB
"""Most that a recovery asks for in one request; a source serves longer ones too."""
CONNECTIONS_MAX: Final = 512
CONNECTIONS_CEILING: Final = 16_384
"""What an operator can raise it to; each costs a descriptor and some 20 KiB."""
CONNECTIONS_PER_ADDRESS_MAX: Final = 16
"""A receiver has a lane or a few for each of its recoveries, and 8 questions at most. The same for
one node, where its certificate says which it is."""
SHOWN_ADDRESSES_MAX: Final = 32
"""Addresses that a node says it answers at: eight interfaces with four each."""
CONNECTIONS_UNPROVEN_MAX: Final = 64
"""On which no request was understood yet."""
CONNECTIONS_REFUSED_MAX: Final = 32
"""For which there is no room, and which are answered why; whoever comes on top is cut off."""
BODY_RATE_MIN_BYTES_PER_S: Final = 64 * KIB
BODY_RATE_WINDOW_NS: Final = 10 * SECOND
"""A receiver that takes less than the minimum for so long is cut off."""
HEAD_TIMEOUT_NS: Final = 5 * SECOND
IDLE_TIMEOUT_NS: Final = 60 * SECOND
CONNECT_TIMEOUT_NS: Final = 3 * SECOND
HOLDINGS_WAIT_MAX_NS: Final = 60 * SECOND

PEERS_MAX: Final = 4096
"""Peers that are configured, and peers that are remembered: those that are gone make room first."""

# Control.
CONTROL_MESSAGE_BYTES_MAX: Final = 1 * MIB
CONTROL_CLIENTS_MAX: Final = 32
METRICS_CONNECTIONS_MAX: Final = 32
PASSED_FILES_MAX: Final = 1024
"""Descriptors of files that one user has passed, and that are kept."""
PASSED_BYTES_MAX: Final = 16 * TIB
"""Length of these files together: what is removed meanwhile keeps its room for some seconds."""
PASSED_AT_ONCE_MAX: Final = 64
"""Descriptors in one message."""
"""Of Prometheus and health checks."""
PATIENCE_MAX_S: Final = 366 * 24 * 3600
"""A year. A recovery that is to wait longer waits for ever: its patience is not limited."""

CHECKPOINTS_WATCHED_MAX: Final = 256
"""Checkpoints held here whose newest version is watched; a node has one for each of its ranks."""

# A restart fetches at most this much a second time: the larger of the two.
REFETCH_BYTES_MAX: Final = 64 * MIB
REFETCH_SHARE_MAX: Final = 0.02


def refetch_bytes_max(size_bytes: int) -> int:
    """Return how many bytes of a version a restart may fetch a second time."""
    return max(REFETCH_BYTES_MAX, int(REFETCH_SHARE_MAX * size_bytes))


COPIED_PER_FETCHED: Final = 8
"""So many bytes that were copied on this node count as one that was fetched, where it is about what
a crash may cost: they are copied again, and nothing travels. With commits of 8 MiB a copy of 1 GiB
on ext4 waited 0.4 s for 53 of them, with 64 MiB hardly at all for 11."""


def uncommitted_bytes_max(size_bytes: int) -> int:
    """Return how many verified bytes of a version the journal may be behind.

    Three quarters of what a restart may fetch again. The rest is for what lanes hold unverified:
    a mebibyte or a block each, four where they are fast.
    """
    return refetch_bytes_max(size_bytes) * 3 // 4


assert PATH_BYTES_MAX < UNIT_WORDS_BYTES_MAX
assert MANIFEST_BLOCKS_MAX * DIGEST_BYTES <= MANIFEST_BYTES_MAX
assert MANIFEST_UNITS_MAX * ATTRIBUTES_ENTRY_BYTES < ATTRIBUTES_BYTES_MAX
assert BLOCK_BYTES_MIN & (BLOCK_BYTES_MIN - 1) == 0
assert BLOCK_BYTES_MAX & (BLOCK_BYTES_MAX - 1) == 0
assert CONNECTIONS_UNPROVEN_MAX < CONNECTIONS_MAX <= CONNECTIONS_CEILING
assert CONNECTIONS_PER_ADDRESS_MAX < CONNECTIONS_UNPROVEN_MAX  # no address has all of them
assert BLOCK_BYTES_MAX <= RANGE_BYTES_MAX <= REFETCH_BYTES_MAX
