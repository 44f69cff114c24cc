"""Measures how far boxes are off where a clip is analysed less often than every frame: why `USUAL_RATE` is what it is.

    python -m benchmarks.rates CLIP...

For each clip and rate: the difference between the boxes that are drawn at that rate and those of every frame, as the
largest of a box's four edges in shares of the face's longest side, and the frames with another number of faces.
"""

from __future__ import annotations

import argparse
from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.machine import keep, machine
from faceinsight import ClipAnalysis, ClipOptions, Face, FaceAnalyzer, analyze_clip
from faceinsight.between import faces_between

RATES = (3.0, 5.0, 8.0, 10.0, 12.0, 15.0)


def drawn_at(clip: ClipAnalysis, times: Sequence[float], time: float) -> tuple[Face, ...]:
    """Returns the faces that are drawn at a time of a clip whose frames were analysed at `times`."""
    later = min(bisect_right(times, time), len(times) - 1)
    earlier = max(later - 1, 0)
    scene = bisect_right(clip.cuts, time)
    ends = [n for n in (earlier, later) if bisect_right(clip.cuts, times[n]) == scene]
    if len(ends) < 2:
        return clip.frames[ends[0]][1].faces if ends else ()
    share = (time - times[earlier]) / max(times[later] - times[earlier], 1e-6)
    return faces_between(clip.frames[earlier][1].faces, clip.frames[later][1].faces, min(max(share, 0.0), 1.0))


def compare(every: ClipAnalysis, some: ClipAnalysis) -> tuple[list[float], float]:
    """Returns how far each box is off, and the share of frames with another number of faces."""
    times = [time for time, _ in some.frames]
    off, others = [], 0
    for time, analysis in every.frames:
        faces = drawn_at(some, times, time)
        others += len(faces) != len(analysis.faces)
        for face in analysis.faces:
            far = [max(abs(a - b) for a, b in zip(face.bbox, other.bbox, strict=True)) / face.side for other in faces]
            if far and min(far) < 1:
                off.append(min(far))
    return off, others / len(every.frames)


def main() -> None:
    """Prints a table a clip."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--seconds", type=float, default=10.0, help="how much of each clip (default: %(default)s)")
    parser.add_argument("--out", type=Path, help="write the table to this file too")
    args = parser.parse_args()
    analyzer = FaceAnalyzer("compact")
    lines = [machine(), "", "| clip | rate | edges off, median | 95 % | 99 % | frames with other faces |"]
    lines += ["| --- | --- | --- | --- | --- | --- |"]
    for clip in args.clips:
        every = analyze_clip(analyzer, clip, options=ClipOptions(end=args.seconds))
        for rate in RATES:
            off, others = compare(every, analyze_clip(analyzer, clip, options=ClipOptions(end=args.seconds, rate=rate)))
            middle, many, most = (f"{share:.1%}" for share in np.percentile(off or [0.0], (50, 95, 99)))
            lines.append(f"| {clip.name} | {rate:g} | {middle} | {many} | {most} | {others:.1%} |")
            print(lines[-1], flush=True)
    if args.out:
        keep(args.out, ("\n".join(lines) + "\n"))


if __name__ == "__main__":
    main()
