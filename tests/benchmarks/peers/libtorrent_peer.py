"""A seed or a leech of libtorrent; runs with the interpreter that has it, not with ours.

    python libtorrent_peer.py make SOURCE TORRENT
    python libtorrent_peer.py seed SOURCE TORRENT     prints its port
    python libtorrent_peer.py leech TORRENT PORT…     reads targets, prints seconds

Tuned as for a fast network: no rate limits, TCP alone, no encryption, nothing but the peers that
are named, deep request queues, large send buffers.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import libtorrent as lt

PIECE_BYTES = 4 << 20
"""Of 1, 2, 4, 8 and 16 MiB the fastest here; smaller ones cost a message each."""

SETTINGS = {
    "listen_interfaces": "127.0.0.1:0",
    "enable_outgoing_utp": False,
    "enable_incoming_utp": False,
    "enable_dht": False,
    "enable_lsd": False,
    "enable_upnp": False,
    "enable_natpmp": False,
    "in_enc_policy": int(lt.enc_policy.pe_disabled),
    "out_enc_policy": int(lt.enc_policy.pe_disabled),
    "allow_multiple_connections_per_ip": True,
    "upload_rate_limit": 0,
    "download_rate_limit": 0,
    "unchoke_slots_limit": -1,
    "aio_threads": 4,
    "hashing_threads": 2,
    "max_out_request_queue": 4000,
    "max_allowed_in_request_queue": 8000,
    "request_queue_time": 10,
    "send_buffer_watermark": 16 << 20,
    "send_buffer_low_watermark": 4 << 20,
    "send_buffer_watermark_factor": 200,
    "max_queued_disk_bytes": 256 << 20,
    "recv_socket_buffer_size": 4 << 20,
    "send_socket_buffer_size": 4 << 20,
    "alert_mask": int(lt.alert.category_t.storage_notification),
}

POLL_S = 0.002


def make(source: Path, torrent: Path) -> None:
    """Describe a directory."""
    files = lt.file_storage()
    lt.add_files(files, str(source))
    made = lt.create_torrent(files, PIECE_BYTES, lt.create_torrent.v1_only)
    lt.set_piece_hashes(made, str(source.parent))
    torrent.write_bytes(lt.bencode(made.generate()))


def parameters(torrent: Path, place: Path) -> lt.add_torrent_params:
    """Say what is to be moved and where."""
    added = lt.add_torrent_params()
    added.ti = lt.torrent_info(str(torrent))
    added.save_path = str(place)
    return added


def seed(source: Path, torrent: Path) -> None:
    """Serve a directory until the input ends."""
    session = lt.session(SETTINGS)
    added = parameters(torrent, source.parent)
    added.flags |= lt.torrent_flags.seed_mode
    session.add_torrent(added)
    print(session.listen_port(), flush=True)
    sys.stdin.read()


def wait_until_written(session: lt.session, handle: lt.torrent_handle) -> None:
    """Wait until all is in the files: a torrent is a seed as soon as its pieces are verified."""
    handle.flush_cache()
    while not any(isinstance(each, lt.cache_flushed_alert) for each in session.pop_alerts()):
        session.wait_for_alert(1000)


def leech(torrent: Path, ports: list[int]) -> None:
    """Fetch to each place that is named on the input."""
    session = lt.session(SETTINGS)
    for line in sys.stdin:
        place = Path(line.strip())
        started_s = time.perf_counter()
        handle = session.add_torrent(parameters(torrent, place))
        for port in ports:
            handle.connect_peer(("127.0.0.1", port))
        while not handle.status().is_seeding:
            time.sleep(POLL_S)
        wait_until_written(session, handle)
        session.remove_torrent(handle)
        print(time.perf_counter() - started_s, flush=True)


if __name__ == "__main__":
    verb, *rest = sys.argv[1:]
    if verb == "make":
        make(Path(rest[0]), Path(rest[1]))
    elif verb == "seed":
        seed(Path(rest[0]), Path(rest[1]))
    else:
        leech(Path(rest[0]), [int(port) for port in rest[1:]])
