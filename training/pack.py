"""Write pack.toml for the files of the compact pack that are there.

Usage: python -m training.pack --folder assets/models/compact --temperature 1.0
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

from training import attributes, emotion, people, spoiling, verifier
from training.data import EMOTIONS

DESCRIPTION = "Small networks that come with FaceInsight: they work at once, offline, and at camera rate on two cores."
_SCRFD = "Research use: trained on photos labelled by InsightFace's SCRFD 2.5g (non-commercial research)."
LICENCES = {
    "detector": _SCRFD,
    "verifier": _SCRFD,
    "attributes": "Research use: trained on UTKFace (non-commercial research), FG-NET and ExpW (research).",
    "emotion": "Research use: trained on FER2013 (Kaggle competition terms), UTKFace and ExpW (research).",
}
INPUT_SIZES = "input_sizes = [[320, 320], [640, 640]] # width, height pairs\nfinds_from = 20"
"""The smaller input costs a quarter more and finds the faces that fill the larger one."""
DOUBT = "[0.15, 0.7]"
"""Detection scores that the verifier looks into; chosen on fold 1."""


def stage(folder: Path, name: str, rest: str) -> str:
    """Return a stage's table, or nothing where its file is missing: the app then leaves the stage out."""
    path = folder / f"{name}.onnx"
    if not path.exists():
        return ""
    data = path.read_bytes()
    table = {"verifier": "detector.verifier"}.get(name, name)
    return (
        f'\n[{table}]\nfile = "{path.name}"\nbytes = {len(data)}\nsha256 = "{hashlib.sha256(data).hexdigest()}"\n'
        f'licence = "{LICENCES[name]}"\n{rest}\n'
    )


def main() -> None:
    """Read the command line and write the file."""
    parser = argparse.ArgumentParser(description="Write pack.toml for the compact pack.")
    parser.add_argument("--folder", type=Path, required=True, help="where the ONNX files are")
    parser.add_argument("--temperature", type=float, default=1.0, help="divisor of the emotion logits")
    arguments = parser.parse_args()
    labels = ", ".join(f'"{name}"' for name in EMOTIONS)
    text = f'title = "Compact"\ndescription = "{DESCRIPTION}"\n'
    text += stage(arguments.folder, "detector", INPUT_SIZES)
    text += stage(
        arguments.folder,
        "verifier",
        f'size = [{verifier.SIZE}, {verifier.SIZE}] # width, height\ncrop = "scaled_box"\n'
        f"crop_scale = {verifier.CROP_SCALE}\ndoubt = {DOUBT}",
    )
    text += stage(
        arguments.folder,
        "attributes",
        f'size = [{attributes.SIZE}, {attributes.SIZE}] # width, height\ncrop = "aligned"\n'
        f'crop_scale = {people.CROP_SCALE}\noutput = "age_distribution"',
    )
    text += stage(
        arguments.folder,
        "emotion",
        f'size = [{spoiling.SIZE}, {spoiling.SIZE}] # width, height\ncrop = "scaled_box"\n'
        f"crop_scale = {emotion.CROP_SCALE}\nlabels = [{labels}]\n"
        f"temperature = {arguments.temperature:.3f}",
    )
    (arguments.folder / "pack.toml").write_text(text)


if __name__ == "__main__":
    main()
