"""The tab that shows what the network sees: the reports of `impasto.explain`, of a visitor's own pictures."""

from __future__ import annotations

import html
import queue
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

import impasto
from impasto.errors import ExtraError, ImpastoError
from impasto.settings.options import StylizeOptions
from impasto.vgg.encoder import layers
from impasto.web.components import status_of, upload
from impasto.web.gallery import Style
from impasto.web.jobs import Order, Studio
from impasto.web.visitors import Visitor

if TYPE_CHECKING:
    from impasto.explain.report import ProgressCallback, Report

#: Long side of the pictures that are looked at, in pixels, and evaluations of each.
SIZE, ITERATIONS = 192, 60
#: The layers that may be asked about.
LAYERS = [layer.name for layer in layers("vgg19") if layer.kind == "relu"]


@dataclass(frozen=True)
class Asked:
    """What a visitor wants to know.

    Attributes:
        photo, style: files, or the name of a style that comes along.
        styles: all that there are.
        layer: of those questions that are about one.
    """

    question: str
    photo: str
    style: str
    styles: Sequence[str]
    layer: str


@dataclass(frozen=True)
class Question:
    """What may be asked: what is said of the answer, and who gives it, from `impasto.explain`."""

    says: str
    report: Callable[[Any, Asked, Path, ProgressCallback], Report]


QUESTIONS = {
    "What does each layer know?": Question(
        "The photo rebuilt from each layer; textures of more and more layers of the style.",
        lambda explain, asked, _, tell: explain.representations(asked.photo, asked.style, SIZE, ITERATIONS, tell),
    ),
    "What does a Gram matrix say?": Question(
        "Which channels fire together in the photo and in the style, and where.",
        lambda explain, asked, _, tell: explain.gram_report(asked.photo, asked.style, asked.layer, None, tell),
    ),
    "What is style, by other measures?": Question(
        "The photo in the style under five statistics, each judged by all.",
        lambda explain, asked, _, tell: explain.statistics_report(
            asked.photo, asked.style, SIZE, ITERATIONS // 2, tell
        ),
    ),
    "What excites a unit?": Question(
        "Patches of your photo and of all styles here that excite a layer's units most.",
        lambda explain, asked, folder, tell: explain.unit_report(
            _gathered([asked.photo, *asked.styles], folder), asked.layer, None, 6, True, tell
        ),
    ),
    "How does a picture come about?": Question(
        "A run of the photo in the style: its losses, its shares, snapshots.",
        lambda explain, asked, _, tell: explain.run_report(
            impasto.iterate(asked.photo, [asked.style], StylizeOptions(size=SIZE)), progress=tell
        ),
    ),
}


@dataclass(frozen=True)
class See:
    """The parts of the tab."""

    photo: gr.Image
    style: gr.Dropdown
    own: gr.Image
    question: gr.Radio
    layer: gr.Dropdown
    go: gr.Button
    halt: gr.Button
    status: gr.HTML
    shown: gr.HTML
    file: gr.DownloadButton
    by_name: Mapping[str, Style]


def build(by_name: Mapping[str, Style]) -> See:
    """The tab's layout."""
    with gr.Row(equal_height=False):
        with gr.Column(scale=3, min_width=280):
            photo = upload("Photo", height=220, elem_id="seen-photo")
            style = gr.Dropdown(list(by_name), value=next(iter(by_name)), label="Style", elem_id="seen-style")
            own = upload("…or a painting of your own", height=160)
            question = gr.Radio(list(QUESTIONS), value=next(iter(QUESTIONS)), label="Ask", elem_id="question")
            says = gr.Markdown(next(iter(QUESTIONS.values())).says)
            question.change(lambda name: QUESTIONS[name].says, question, says, queue=False, api_visibility="private")
            layer = gr.Dropdown(LAYERS, value="relu3_1", label="Layer", info="Of Gram matrices and units.")
            with gr.Row():
                go = gr.Button("Look", variant="primary", elem_id="look")
                halt = gr.Button("Stop", variant="stop", interactive=False)
        with gr.Column(scale=8, min_width=320):
            status = gr.HTML(status_of("Give a photo, choose a style, and ask."), elem_id="seen-status")
            shown = gr.HTML(elem_id="report")
            file = gr.DownloadButton("Download the report", visible=False)
    return See(photo, style, own, question, layer, go, halt, status, shown, file, by_name)


def connect(
    see: See, studio: Studio, visitor_of: Callable[[gr.Request], Visitor], stops: dict[str, threading.Event]
) -> None:
    """What happens when its buttons are pressed."""

    def look(given: dict[gr.components.Component, Any], request: gr.Request) -> Iterator[dict[Any, Any]]:
        visitor, key = visitor_of(request), f"see {request.session_hash}"
        if not given[see.photo]:
            raise gr.Error("Give a photo first.", title="No photo")
        stops[key] = threading.Event()
        yield {see.status: status_of("Looking at the pictures…"), see.go: gr.Button(interactive=False)} | {
            see.halt: gr.Button(interactive=True)
        }
        style = given[see.own] or see.by_name[given[see.style]].given
        styles = [each.given for each in see.by_name.values()]
        asked = Asked(given[see.question], given[see.photo], style, styles, given[see.layer])
        try:
            for told in answer(studio, asked, visitor, stops[key]):
                if isinstance(told, Path):
                    page = html.escape(told.read_text(encoding="utf-8"), quote=True)
                    yield {
                        see.status: status_of("Done."),
                        see.shown: f'<iframe title="report" sandbox="" srcdoc="{page}"></iframe>',
                        see.file: gr.DownloadButton(value=str(told), visible=True),
                    }
                else:
                    yield {see.status: status_of(*told)}
        except (ValueError, ImpastoError) as error:
            yield {see.status: status_of(str(error), bad=True)}
            raise gr.Error(str(error), title="That cannot be shown", print_exception=False) from error
        finally:
            stops.pop(key, None)

    def stop(request: gr.Request) -> dict[Any, Any]:
        if event := stops.get(f"see {request.session_hash}"):
            event.set()
        return {see.halt: gr.Button(interactive=False)}

    private: dict[str, Any] = {"api_visibility": "private"}
    looking = see.go.click(
        look,
        {see.photo, see.style, see.own, see.question, see.layer},
        [see.status, see.shown, see.file, see.go, see.halt],
        concurrency_limit=studio.limits.running,
        concurrency_id="paint",
        show_progress="minimal",
        show_progress_on=see.status,
        trigger_mode="once",
        **private,
    )
    looking.then(
        lambda: (gr.Button(interactive=True), gr.Button(interactive=False)),
        None,
        [see.go, see.halt],
        queue=False,
        **private,
    )
    see.halt.click(stop, None, [see.halt], queue=False, **private)


class _StoppedError(Exception):
    """Nobody wants to know any more."""


def answer(studio: Studio, asked: Asked, visitor: Visitor, stop: threading.Event) -> Iterator[tuple[str, float] | Path]:
    """How far the answer to a question is, and at the end the path of the report; nothing if it is stopped.

    Raises:
        ValueError, ImpastoError: pictures that this server does not take, or that tell nothing.
    """
    if asked.question not in QUESTIONS:
        raise ValueError(f"unknown question {asked.question!r}; choose from {' '.join(QUESTIONS)}")
    if asked.layer not in LAYERS:
        raise ValueError(f"unknown layer {asked.layer!r}; choose from {', '.join(LAYERS)}")
    try:
        from impasto import explain
    except ExtraError as error:
        raise ValueError(f"this server cannot explain: {error}") from error
    with studio.at_work(Order(asked.photo, [asked.style], StylizeOptions(size=min(SIZE, studio.limits.size)))):
        yield from _answer(explain, asked, visitor, stop)


def _answer(explain: Any, asked: Asked, visitor: Visitor, stop: threading.Event) -> Iterator[tuple[str, float] | Path]:
    told: queue.Queue[tuple[str, float] | Path | BaseException | None] = queue.Queue()

    def tell(done: int, total: int, what: str) -> None:
        if stop.is_set() or visitor.absent > 30:
            raise _StoppedError
        told.put((f"{what}…", done / max(total, 1)))

    def run() -> None:
        folder = visitor.folder / f"report-{threading.get_ident()}"
        try:
            shutil.rmtree(folder, ignore_errors=True)
            report = QUESTIONS[asked.question].report(explain, asked, folder / "pictures", tell)
            told.put(report.write(folder))
        except _StoppedError:
            told.put(None)
        except BaseException as error:
            told.put(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        while (news := told.get()) is not None:
            if isinstance(news, BaseException):
                raise news
            yield news
            if isinstance(news, Path):
                return
        yield ("stopped", 0.0)
    finally:
        stop.set()
        thread.join()


def _gathered(pictures: Sequence[str], folder: Path) -> Path:
    """Pictures in a folder of their own, small."""
    from impasto import images
    from impasto.inputs.read import read_styles

    folder.mkdir(parents=True, exist_ok=True)
    for number, given in enumerate(pictures):
        ((_, picture),) = read_styles(given, 384 * 384, {})
        images.write(folder / f"{number:03}.png", picture.resized(*images.fit(picture.size, 384)))
    return folder
