"""`python -m faceinsight` is the command `faceinsight`."""

from faceinsight.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
