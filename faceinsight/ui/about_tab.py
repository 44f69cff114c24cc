"""The Models & about tab: which packs are here, how to get others, what the numbers mean."""

from __future__ import annotations

from collections.abc import Callable

import gradio as gr

from faceinsight.errors import FaceInsightError, PackError
from faceinsight.packs import load_spec, pack_names, resolve
from faceinsight.packs.fetch import Progress, Watcher, fetch_pack
from faceinsight.ui.engine import Engine, friendly
from faceinsight.ui.parts import results_table
from faceinsight.ui.texts import ABOUT, LICENCE_QUESTION

HEADERS = ["Pack", "Stage", "File", "Size", "Here", "Licence"]
WIDTHS = ["90px", "90px", "220px", "110px", "60px", "300px"]
FETCHABLE = ("buffalo_s", "buffalo_l")


def pack_rows() -> list[list[str]]:
    """Returns the table of all packs, one row a stage."""
    rows = []
    for name in pack_names():
        try:
            resolved = resolve(name)
        except FaceInsightError as error:
            rows.append([name, "", "", "", "no", f"Unusable: {error}"])
            continue
        files = resolved.spec.files
        if not files:
            rows.append([name, "", "", "", "no", resolved.missing["detector"]])
        for stage, file in files.items():
            size = f"{file.bytes / 1e6:.1f} MB" if file.bytes else "not published"
            here = "yes" if stage in resolved.paths else "no"
            rows.append([name, stage, file.name, size, here, file.licence])
    return rows


def download_progress(show: Callable[[float, str], object]) -> Progress:
    """Returns a progress callback of `fetch_pack` that shows a share and a sentence."""

    def report(file: str, done: int, total: int | None) -> None:
        of = f" of {total / 1e6:.1f}" if total else ""
        show(done / total if total else 0.0, f"{file}: {done / 1e6:.1f}{of} MB")

    return report


def build_about_tab(engine: Engine, settings: list[gr.components.Component], status: gr.Markdown) -> None:
    """Builds the tab inside the current Blocks context.

    Args:
        engine: The app's models.
        settings: The drawer's components, in the order of `Settings`.
        status: The page's status line.
    """
    with gr.Column(elem_id="about"):
        table = results_table(HEADERS, WIDTHS, "Model packs", 800, "packs-table", value=pack_rows())
        with gr.Row(equal_height=False):
            wanted = gr.Dropdown(
                [(f"{name}: {load_spec(name).title}", name) for name in FETCHABLE],
                value=FETCHABLE[0],
                label="Download a pack",
                min_width=220,
            )
            agreed = gr.Checkbox(False, label=LICENCE_QUESTION, min_width=220)
            fetch = gr.Button("Download", min_width=120, scale=0, elem_id="fetch")
        notice = gr.Markdown("", elem_id="fetch-notice", elem_classes="notice")
        gr.Markdown(ABOUT)

    def on_fetch(pack: str, agrees: bool, progress: gr.Progress = gr.Progress()) -> tuple[object, ...]:
        unchanged = (gr.skip(), gr.skip(), gr.skip())
        try:
            if not agrees:
                raise PackError("The licences are not accepted yet: tick the box first.")
            fetched = fetch_pack(pack, Watcher(download_progress(progress)))
        except FaceInsightError as error:
            return (f"⚠️ {error}", *unchanged)
        engine.forget()
        done = (
            f"{len(fetched)} files of {pack} downloaded and verified."
            if fetched
            else (f"All files of {pack} were here already.")
        )
        return (
            f"{done} Choose it in the drawer.",
            pack_rows(),
            gr.Dropdown(choices=engine.named_choices(), value=engine.default),
            engine.status(),
        )

    fetch.click(
        friendly(on_fetch),
        [wanted, agreed],
        [notice, table, settings[0], status],
        concurrency_limit=1,
        api_visibility="private",
    )
