"""Swap directories for links for a minute while everything is done below them: make race-test."""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from tests.support.link_race import LinkRace


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="how long (%(default)s)")
    seconds = parser.parse_args().seconds
    with tempfile.TemporaryDirectory() as base:
        race = LinkRace(Path(base))
        end_s = time.monotonic() + seconds
        rounds = 0
        with race.swapping():
            while time.monotonic() < end_s:
                race.run_round()
                rounds += 1
        race.check()
        race.close()
    for name, count in sorted(race.counts.items()):
        print(f"{name:20} {count:7}")
    print(f"{rounds} rounds in {seconds:g} s; nothing outside was opened, made, changed or removed")


if __name__ == "__main__":
    main()
