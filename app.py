"""Serves the FaceInsight page; what a hosted Space runs."""

import sys

from faceinsight.cli import main

if __name__ == "__main__":
    raise SystemExit(main(["app", *sys.argv[1:]]))
