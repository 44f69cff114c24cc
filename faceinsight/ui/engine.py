"""The analyzers of a running app: one a pack, loaded once, shared by all visitors."""

from __future__ import annotations

import functools
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr

from faceinsight.analyzer import FaceAnalyzer
from faceinsight.errors import FaceInsightError, PackError, ProviderError
from faceinsight.inference.providers import title_of
from faceinsight.media.guard import Guard
from faceinsight.packs import AUTO, load_spec, pack_names, resolve
from faceinsight.packs.locate import states_of
from faceinsight.results import FrameAnalysis

log = logging.getLogger(__name__)

# At 30 frames a second, one face for an hour.
MAX_CLIP_FACES = 100_000
# How long a pack that cannot be loaded is not tried again for those who have another one meanwhile.
RETRY_S = 10.0


class Engine:
    """Gives every tab its analyzer, and says how it is doing."""

    def __init__(
        self, pack: str | Path = AUTO, models: str | Path | None = None, provider: str = AUTO, workers: int = 1
    ) -> None:
        """Chooses the default pack; nothing is loaded yet.

        Args:
            pack: The pack that visitors find chosen: a name, a folder, or "auto".
            models: A folder to look for model files in before all others.
            provider: What runs the models, as of `FaceAnalyzer`.
            workers: How many processes with an engine share this machine's memory.
        """
        # What visitors send is read by it alone.
        self.reader = Guard(workers)
        self._pack = str(pack)
        self.models = models
        self._provider = provider
        self._analyzers: dict[str, FaceAnalyzer] = {}
        self._lock = threading.Lock()
        # Packs that are loaded beside the work of others, and why some could not be, until when that holds.
        self._loading: set[str] = set()
        self._failed: dict[str, tuple[str, float]] = {}
        # Whether a pack is here, and of which files that was found: to hash them takes a while.
        self._here: dict[str, tuple[object, bool]] = {}
        self.default = self._find_default()

    def _find_default(self) -> str:
        if self._pack != AUTO:
            return self._pack
        try:
            return resolve(AUTO, self.models).spec.name
        except FaceInsightError:
            return AUTO

    def analyzer(self, pack: str | None = None) -> FaceAnalyzer:
        """Returns the analyzer of a pack, loaded at the first call.

        Args:
            pack: One of `choices()`; the default where None.

        Raises:
            PackError: If the pack is unknown or its detector is not here.
            ModelFileError: If a model file is not the declared one.
        """
        name = pack or self.default
        # Who has a loaded pack does not wait while another one is loaded.
        if (loaded := self._analyzers.get(name)) is not None:
            return loaded
        with self._lock:
            if name not in self._analyzers:
                # A visitor may name any pack of the list, but no folder of this machine.
                if not self._may_be_chosen(name):
                    raise PackError(f"There is no model pack called '{name}': choose one of the list.")
                self._analyzers[name] = FaceAnalyzer(name, models=self.models, provider=self._provider)
            return self._analyzers[name]

    def analyzer_beside(self, pack: str, current: FaceAnalyzer | None) -> tuple[FaceAnalyzer, str]:
        """Returns the analyzer of a pack, or while that is loaded, or cannot be, the one that is there already.

        Args:
            pack: One of `choices()`, or "" for the default.
            current: What to go on with; None to wait.

        Returns:
            The analyzer, and what is to be said of it: "" where it is the one that was asked for.

        Raises:
            FaceInsightError: As `analyzer`, where there is no other one.
        """
        name = pack or self.default
        if current is None or name in self._analyzers:
            return self.analyzer(name), ""
        problem, until = self._failed.get(name, ("", 0.0))
        if problem and time.monotonic() < until:
            return current, f"⚠️ {problem} {current.pack.name} goes on."
        if not self._may_be_chosen(name):
            return current, f"⚠️ There is no model pack called '{name[:80]}': {current.pack.name} goes on."
        if name not in self._loading:
            self._loading.add(name)
            threading.Thread(target=self._load, args=(name,), daemon=True).start()
        return current, f"loading **{Path(name).name}** …"

    def _load(self, name: str) -> None:
        try:
            self.analyzer(name)
            self._failed.pop(name, None)
        except Exception as error:
            self._failed[name] = (str(as_page_error(error).message), time.monotonic() + RETRY_S)
        finally:
            self._loading.discard(name)

    def is_loaded(self, pack: str) -> bool:
        """Says whether a pack answers at once."""
        return pack in self._analyzers

    def _may_be_chosen(self, pack: str) -> bool:
        return pack == self.default or (pack in pack_names(self.models) and self._is_here(pack))

    def choices(self) -> tuple[str, ...]:
        """Returns the packs a visitor may choose, the default first."""
        others = [n for n in pack_names(self.models) if n != self.default and self._is_here(n)]
        return (self.default, *others)

    def named_choices(self) -> list[tuple[str, str]]:
        """Returns (name to show, choice) of every pack a visitor may choose."""
        return [("none here yet" if name == AUTO else Path(name).name, name) for name in self.choices()]

    def _is_here(self, pack: str) -> bool:
        try:
            spec = load_spec(pack, self.models)
        except FaceInsightError:
            return False
        state = (spec, states_of(spec, self.models))
        known = self._here.get(pack)
        if known is None or known[0] != state:
            try:
                here = "detector" in resolve(pack, self.models).paths
            except FaceInsightError:
                here = False
            known = self._here[pack] = (state, here)
        return known[1]

    def forget(self, pack: str) -> None:
        """Drops the analyzer of a pack whose files have changed; who works with it goes on with it meanwhile."""
        with self._lock:
            self._analyzers.pop(pack, None)
            self._failed.pop(pack, None)
        self.default = self._find_default()

    def problem(self) -> str | None:
        """Loads the default pack; returns one sentence that says why it cannot be, or None.

        Raises:
            ProviderError: If what should run the models is not here: that is not for the page's visitors to mend.
        """
        try:
            self.analyzer()
        except ProviderError:
            raise
        except FaceInsightError as error:
            return str(error)
        return None

    def status(self, pack: str | None = None, analysis: FrameAnalysis | None = None) -> str:
        """Returns the status line in Markdown: pack, provider, time, and what is left out."""
        try:
            return self.status_of(self.analyzer(pack), analysis)
        except FaceInsightError as error:
            return f"⚠️ {error}"

    def status_of(self, analyzer: FaceAnalyzer, analysis: FrameAnalysis | None = None, note: str = "") -> str:
        """Returns the same about an analyzer, with a note of `analyzer_beside`."""
        parts = [
            f"Pack **{analyzer.pack.name}**",
            title_of(analyzer.providers[0]),
        ]
        if analysis is not None:
            parts.append(f"**{analysis.elapsed_ms:.0f} ms** per frame")
        if note and not note.startswith("⚠️"):
            parts.append(note)
        line = " · ".join(parts)
        if note.startswith("⚠️"):
            line += f"  \n{note}"
        if analyzer.provider_problem is not None:
            line += f"  \n⚠️ {analyzer.provider_problem}"
        for stage, reason in analyzer.missing.items():
            line += f"  \n⚠️ No {stage}: {reason}"
        return line


def friendly(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Turns what goes wrong in an event of the page into one sentence on the page."""

    @functools.wraps(fn)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        try:
            return fn(*args, **kwargs)
        except Exception as error:
            raise as_page_error(error) from error

    return guarded


class UnforeseenError(gr.Error):
    """What nobody had thought of, in a sentence for the page."""


def as_page_error(error: Exception) -> gr.Error:
    """Returns what Gradio shows for an error: its sentence where it is ours, never a traceback."""
    if isinstance(error, gr.Error):
        return error
    if isinstance(error, FaceInsightError):
        return gr.Error(str(error), print_exception=False)
    log.error("An event of the page failed: %s", error)
    log.debug("The traceback:", exc_info=error)
    return UnforeseenError(
        "Something unexpected went wrong: try again, or start FaceInsight with --debug and report what it prints.",
        print_exception=False,
    )
