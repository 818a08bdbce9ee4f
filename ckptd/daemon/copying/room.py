"""How much room copies take, and may take, on the disk of their root."""

from __future__ import annotations

from dataclasses import replace

from ckptd.copies.fleet import Room
from ckptd.store.files.roots import Root
from ckptd.store.published.places import HeldVersion, Place


def copy_bytes(held: HeldVersion, place: Place) -> int:
    """Return how many bytes a copy has."""
    holding = held.holding
    if not holding.block_count or not place.absent:
        return holding.size_bytes
    return -(-holding.size_bytes * len(place.blocks) // holding.block_count)


def room_bytes(held: HeldVersion, place: Place) -> int:
    """Return how many bytes a copy takes of the quota: fewer if units are kept compressed."""
    return max(copy_bytes(held, place) - place.saved_bytes, 0)


def with_less(room: Room, bytes_taken: int) -> Room:
    """Return the room that is left when something takes some of it."""
    return replace(
        room,
        used_bytes=room.used_bytes + bytes_taken,
        free_bytes=max(room.free_bytes - bytes_taken, 0),
    )


def room_of(root: Root, *, quota_bytes: int, used_bytes: int, promised_bytes: int) -> Room:
    """Return the room there is. Blocks.

    Args:
        root: The root for copies.
        quota_bytes: How much copies may take.
        used_bytes: What they take, with what is coming.
        promised_bytes: What recoveries under way will still need on that disk.

    Raises:
        CkptdError: The disk does not answer.
    """
    return Room(
        quota_bytes,
        used_bytes,
        disk_bytes=root.size_bytes(),
        free_bytes=max(root.free_bytes() - promised_bytes, 0),
    )
