"""Runs the fuzzers at length: python -m tests.fuzz, or make fuzz. The exit status is 1 where anything was wrong."""

from __future__ import annotations

import argparse
import faulthandler
import sys
import tempfile
from pathlib import Path

from faceinsight import FaceAnalyzer
from faceinsight.ui import Engine
from tests.fuzz import running
from tests.toy_models import write_toy_pack


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=20_000)
    parser.add_argument("--clips", type=int, default=1_000)
    parser.add_argument("--packs", type=int, default=1_000)
    parser.add_argument("--frames", type=int, default=5_000)
    parser.add_argument("--seed", type=int, default=0, help="another number makes other cases")
    args = parser.parse_args()
    # A decoder that crashes says where.
    faulthandler.enable()
    wrong = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pack = write_toy_pack(folder / "toy")
        runs = {
            "packs": lambda: running.packs(args.packs, folder, args.seed),
            "frames": lambda: running.frames(args.frames, Engine(pack), args.seed),
            "clips": lambda: running.clips(args.clips, FaceAnalyzer(pack), folder, args.seed),
            "pictures": lambda: running.pictures(args.pictures, args.seed),
        }
        for kind, run in runs.items():
            outcome = run()
            wrong += len(outcome.wrong)
            print(
                f"{kind}: {outcome.results} results, {outcome.sentences} sentences, {len(outcome.wrong)} wrong; "
                f"the slowest took {outcome.slowest:.1f} s ({outcome.slowest_case})",
                flush=True,
            )
            for text in outcome.wrong[:20]:
                print(f"  {text}", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
