"""The pipeline for a camera or a video: faces followed, answers smoothed, time spent where it matters."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
import numpy.typing as npt

from faceinsight.analyzer import DET_THRESHOLD, FaceAnalyzer, check_image
from faceinsight.fusion import FaceFusion, picture_quality
from faceinsight.results import BBox, Face, FrameAnalysis
from faceinsight.tracking import PAUSE_S, Track, Tracker, TrackState

UInt8Array = npt.NDArray[np.uint8]
FloatArray = npt.NDArray[np.float32]

# Seconds from one search of the whole frame to the next: usually, while somebody is missing,
# and at most where a search takes longer than the budget.
_SEARCH_S = 0.4
_MISSING_SEARCH_S = 0.1
_MAX_SEARCH_S = 1.0
# Known faces continue with scores down to this share of the detection threshold.
_UNSURE = 0.4
# How far around a face to search, in face sizes; and with how small a face to reckon there, which keeps
# the detector's input large enough for exact boxes.
_MARGIN = 1.0
_SHRINK = 0.3

# Seconds between two looks at the same face: expressions change, people do not.
_EMOTION_S = 0.15
_LEARN_S = 0.05
_UNSURE_S = 0.5
_SURE_S = 2.0
# A look that is overdue by this factor is taken even if it breaks the budget.
_OVERDUE = 4.0
# In a recording nobody waits: who somebody is, is asked this often at least.
_RECORDED_S = 0.3
_FIRST_GUESS_MS = 5.0
_NEW_COST_WEIGHT = 0.2


class CutDetector:
    """Says where a stream shows something else from one frame to the next.

    Tiny grey pictures of two frames are correlated: a cut is a drop far below what the frames before
    it had. Brightness and contrast do not count, and a dark or covered camera is compared by what it
    showed before.
    """

    _SIZE = (32, 24)
    # Of 1 - correlation: this many times the stream's own average, between these bounds.
    _TIMES_USUAL = 2.5
    _LEAST_CHANGE, _SURE_CHANGE = 0.65, 0.9
    # Standard deviation in grey levels below which a picture shows nothing.
    _FLAT = 6.0

    def __init__(self) -> None:
        """Begins with nothing seen."""
        self._last: FloatArray | None = None
        self._usual = 0.0

    def is_cut(self, image: UInt8Array) -> bool:
        """Tells whether an image, (H, W, 3) or (H, W) uint8, shows another scene than the one before it."""
        step = max(1, min(image.shape[:2]) // 96)
        some = image[::step, ::step, 1] if image.ndim == 3 else image[::step, ::step]
        small = cv2.resize(some, self._SIZE, interpolation=cv2.INTER_AREA).astype(np.float32)
        small -= small.mean()
        spread = float(np.linalg.norm(small))
        if spread < self._FLAT * np.sqrt(small.size):
            return False
        small /= spread
        last, self._last = self._last, small
        if last is None:
            return False
        change = 1 - float((small * last).sum())
        cut = change > min(max(self._LEAST_CHANGE, self._TIMES_USUAL * self._usual), self._SURE_CHANGE)
        if not cut:
            self._usual += 0.2 * (change - self._usual)
        return cut


@dataclass(slots=True)
class _Person:
    """What a stream knows of a followed face, and by stage when it last looked and how often."""

    fusion: FaceFusion
    looked: dict[str, tuple[float, int]] = field(default_factory=dict)

    def urgency(self, stage: str, now: float, longest: float | None) -> float:
        """How overdue a look is: at least 1 where it is due; `longest` is the usual time between two of people."""
        at, count = self.looked.get(stage, (0.0, 0))
        if count == 0:
            return float("inf")
        if stage == "emotion":
            return (now - at) / _EMOTION_S
        return (now - at) / min(_LEARN_S * count, longest or (_SURE_S if self.fusion.sure else _UNSURE_S))


class FaceStream:
    """Follows the faces of a camera or a video, with an id for every person and steady answers.

    The whole frame is searched now and then; in between, faces are followed by searching around them. Age
    and gender are asked for often while a person is new and seldom later, expressions several times a
    second. Where that takes longer than the budget, answers are refreshed less often; ids are kept.

    A stream belongs to one visitor or clip and is not to be used by two threads at once; the analyzer may
    be shared. A frame of another size is a cut: everybody in it gets a new id. Time that stands still or
    runs backwards counts as no time passed. After a pause of more than two seconds, only faces in their old
    place keep their ids.

    Example:
        >>> stream = FaceStream(FaceAnalyzer())
        >>> for time_s, image in frames:
        ...     for face in stream.process(image, time_s).faces:
        ...         print(face.track_id, face.age, face.emotion.label)

    Attributes:
        tracker: The tracker, with its tracks.
        search_all: Whether to search every frame as a whole, so that nobody who walks in is overlooked.
    """

    def __init__(
        self,
        analyzer: FaceAnalyzer,
        *,
        smoothing: float = 0.5,
        det_threshold: float = DET_THRESHOLD,
        min_face: float = 0,
        budget_ms: float | None = 40.0,
        cuts: bool = True,
    ) -> None:
        """Begins a stream.

        Args:
            analyzer: The models.
            smoothing: From 0, every answer as it comes, to 1, the steadiest.
            det_threshold: New faces with a lower detection score, in [0, 1], are left out.
            min_face: Faces whose longest side is shorter, in pixels, are left out.
            budget_ms: Milliseconds that a frame should take at most; None to search every frame as a whole and ask
                for expressions in each and for the rest several times a second, as suits a recording.
            cuts: Whether the scene may change from one frame to the next, as in a clip; a camera that drops
                frames only looks so.
        """
        self.analyzer = analyzer
        self.smoothing = smoothing
        self.min_face = min_face
        self.budget_ms = budget_ms
        self.cuts = cuts
        self.search_all = False
        self.tracker = Tracker(det_threshold)
        # Moving averages in ms: of a search of the frame, of a region, and of a stage for one face.
        self._cost: dict[str, float] = {}
        self.reset()

    def reset(self, after: int = 0) -> None:
        """Forgets everybody: the first id is the one after `after`."""
        self.tracker.reset(after)
        self._people: dict[Track, _Person] = {}
        self._cuts = CutDetector()
        self._size: tuple[int, ...] | None = None
        self._given_s: float | None = None
        self._now = 0.0
        self._searched_s = -float("inf")

    def renew(self, analyzer: FaceAnalyzer, smoothing: float) -> None:
        """Goes on with other models or another smoothing: answers begin anew, ids are kept."""
        if (analyzer, smoothing) != (self.analyzer, self.smoothing):
            self.analyzer, self.smoothing = analyzer, smoothing
            self._people.clear()
            self._cost.clear()
            self._searched_s = -float("inf")

    def cut(self) -> None:
        """Says that the next frame shows another scene: everybody in it gets a new id."""
        self.tracker.cut()
        self._searched_s = -float("inf")

    def search(self, image: UInt8Array) -> tuple[Face, ...]:
        """Returns the faces that `process` takes as `found`; unlike all else here, in any thread at any time.

        Args:
            image: (H, W, 3) uint8 RGB.
        """
        return self.analyzer.detect(image, det_threshold=self.tracker.det_threshold * _UNSURE, min_face=self.min_face)

    def process(self, image: UInt8Array, time_s: float, found: tuple[Face, ...] | None = None) -> FrameAnalysis:
        """Analyses the next frame.

        Args:
            image: (H, W, 3) uint8 RGB.
            time_s: When the frame was taken, in seconds on any clock.
            found: What `search` found in it; None to search now, as far as that is due.

        Returns:
            The faces of this frame by `track_id`, those without one last; `timings` has the stages that ran.

        Raises:
            MediaError: If the image is no (H, W, 3) array of uint8 with H and W above zero.
        """
        began = time.perf_counter()
        check_image(image)
        self._advance(image, time_s)
        tracks = self.tracker.update(self._find(image) if found is None else found, self._now)
        spent_ms = (time.perf_counter() - began) * 1000
        timings = [("detector", spent_ms)] if found is None else []
        self._people = {t: self._people.get(t) or _Person(FaceFusion(self.smoothing)) for t in self.tracker.tracks}
        # Crops at the steady place: a box that trembles would make the answers tremble.
        seen = {track: self._people[track].fusion.place(track.face, self._now) for track in tracks}
        qualities: dict[Track, float] = {}
        for stage, chosen in self._choose(tracks, spent_ms).items():
            clock = time.perf_counter()
            for track in chosen:
                if track not in qualities:
                    qualities[track] = picture_quality(image, track.face)
            answers = self.analyzer.describe(image, [seen[track] for track in chosen], (stage,))
            seen |= dict(zip(chosen, answers, strict=True))
            timings.append((stage, (time.perf_counter() - clock) * 1000))
            self._learn_cost(stage, timings[-1][1] / len(chosen))
        faces = []
        for track, face in seen.items():
            steady = self._people[track].fusion.update(face, self._now, qualities.get(track, 1.0))
            faces.append(replace(steady, raw=replace(face, bbox=track.face.bbox, kps=track.face.kps)))
        faces.sort(key=lambda face: (face.track_id is None, face.track_id or 0))
        return self.analyzer.result(image, tuple(faces), timings)

    def _advance(self, image: UInt8Array, time_s: float) -> None:
        """Sets the stream's own clock, and ends what a new size, a cut or a pause ends."""
        if self._size not in (None, image.shape):
            self.tracker.cut()
            self._cuts = CutDetector()
            self._searched_s = -float("inf")
        self._size = image.shape
        passed = 0.0 if self._given_s is None else max(time_s - self._given_s, 0.0)
        self._given_s = time_s
        self._now += passed
        if passed > PAUSE_S:
            for person in self._people.values():
                person.fusion.settle()
        if self.cuts and self._cuts.is_cut(image):
            self.cut()

    def _find(self, image: UInt8Array) -> tuple[Face, ...]:
        """Searches around the known faces, and the whole frame where that is due or does not find them."""
        known = [t for t in self.tracker.tracks if t.state is not TrackState.LOST]
        missing = len(known) < len(self.tracker.tracks) or not known
        regions = _regions(known, self._now, image)
        if not self._search_due(missing) and self._is_cheap(regions):
            found: list[Face] = []
            for region, tracks in regions:
                least = max(self.min_face, _SHRINK * min(t.face.side for t in tracks))
                found += [face for face in self._detect(image, least, region) if _is_inside(face, region, image)]
            matched = [track for track, _ in self.tracker.match(found, self._now)]
            if all(track in matched for track in known):
                return tuple(found)
        self._searched_s = self._now
        return self._detect(image, self.min_face, None)

    def _search_due(self, missing: bool) -> bool:
        if self.search_all or self.budget_ms is None:
            return True
        every = _MISSING_SEARCH_S if missing else _SEARCH_S
        # A search that breaks the budget by itself comes more seldom.
        every *= max(1.0, self._cost.get("frame", 0.0) / max(self.budget_ms, 1.0))
        return self._now - self._searched_s >= min(every, _MAX_SEARCH_S)

    def _is_cheap(self, regions: list[tuple[BBox, list[Track]]]) -> bool:
        """Whether searching regions takes less time than searching the frame."""
        if len(regions) * self._cost.get("region", 0.0) <= self._cost.get("frame", 0.0):
            return True
        # One slow search of a region is no reason never to try again.
        self._cost["region"] *= 1 - _NEW_COST_WEIGHT / 10
        return False

    def _detect(self, image: UInt8Array, least: float, region: BBox | None) -> tuple[Face, ...]:
        began = time.perf_counter()
        faces = self.analyzer.detect(
            image, det_threshold=self.tracker.det_threshold * _UNSURE, min_face=least, region=region
        )
        self._learn_cost("frame" if region is None else "region", (time.perf_counter() - began) * 1000)
        return faces

    def _learn_cost(self, what: str, ms: float) -> None:
        old = self._cost.get(what, ms)
        self._cost[what] = old + _NEW_COST_WEIGHT * (ms - old)

    def _choose(self, tracks: tuple[Track, ...], spent_ms: float) -> dict[str, list[Track]]:
        """Says whom to ask what in this frame, the most overdue first, as far as the budget reaches."""
        stages = self.analyzer.stages[1:]
        longest = _RECORDED_S if self.budget_ms is None else None
        jobs = [(self._people[t].urgency(stage, self._now, longest), stage, t) for stage in stages for t in tracks]
        chosen: dict[str, list[Track]] = {}
        for urgency, stage, track in sorted(jobs, key=lambda job: -job[0]):
            cost = self._cost.get(stage, _FIRST_GUESS_MS)
            # Without smoothing every frame has its own answers.
            if urgency < 1 and (self.budget_ms is not None or (stage != "emotion" and self.smoothing > 0)):
                continue
            over = self.budget_ms is not None and spent_ms + cost > self.budget_ms
            if over and (chosen or urgency < _OVERDUE):
                continue
            spent_ms += cost
            chosen.setdefault(stage, []).append(track)
            looked = self._people[track].looked
            looked[stage] = (self._now, looked.get(stage, (0.0, 0))[1] + 1)
        return {stage: chosen[stage] for stage in stages if stage in chosen}


def _regions(tracks: list[Track], now: float, image: UInt8Array) -> list[tuple[BBox, list[Track]]]:
    """Returns where to search for which tracks, as (x1, y1, x2, y2) in pixels; no two regions overlap."""
    height, width = image.shape[:2]
    regions: list[tuple[BBox, list[Track]]] = []
    for track in tracks:
        x1, y1, x2, y2 = track.predict(now)
        margin = (_MARGIN + 2 * track.uncertainty(now)) * max(x2 - x1, y2 - y1)
        box = (x1 - margin, y1 - margin, x2 + margin, y2 + margin)
        members = [track]
        while others := [r for r in regions if _overlaps(r[0], box)]:
            regions = [r for r in regions if r not in others]
            members += [track for _, group in others for track in group]
            for (x1, y1, x2, y2), _ in others:
                box = (min(x1, box[0]), min(y1, box[1]), max(x2, box[2]), max(y2, box[3]))
        regions.append((box, members))
    return [((max(x1, 0), max(y1, 0), min(x2, width), min(y2, height)), group) for (x1, y1, x2, y2), group in regions]


def _overlaps(a: BBox, b: BBox) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _is_inside(face: Face, region: BBox, image: UInt8Array) -> bool:
    """Whether no border of a region cuts through a face; the frame's own border may."""
    x1, y1, x2, y2 = face.bbox
    height, width = image.shape[:2]
    return (
        (region[0] <= max(x1, 0))
        and (region[1] <= max(y1, 0))
        and min(x2, width) <= region[2]
        and min(y2, height) <= region[3]
    )
