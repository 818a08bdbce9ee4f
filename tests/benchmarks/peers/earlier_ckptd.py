"""ckptd and the benchmark of another commit; runs with that commit's packages before all others.

python earlier_ckptd.py plain|tls SOURCE OWN RECEIVED
    prints a line when it is up; for each directory on its input recovers to it, and prints a
    JSON object with what that took
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.benchmarks.competitors import Place
from tests.benchmarks.daemons import Ckptd


def main() -> None:
    """Serve until the input ends."""
    transport, *directories = sys.argv[1:]
    source, own, received = map(Path, directories)
    ckptd = Ckptd("earlier", uses_tls=transport == "tls")
    with ckptd.serve(Place(source, own, received)):
        print("up", flush=True)
        for line in sys.stdin:
            fetched = ckptd.fetch(Path(line.strip()))
            print(json.dumps({"seconds": fetched.seconds, **fetched.facts}), flush=True)


if __name__ == "__main__":
    main()
