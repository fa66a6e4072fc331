"""Components shared by the tabs: picture inputs, the mask editor, the status line, and what starts and stops a job."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterator, Mapping
from threading import Event
from typing import Any

import gradio as gr

from impasto.errors import ImpastoError
from impasto.web.visitors import Visitor, Visitors

#: Component -> its new value or properties, as event handlers yield them.
Update = dict[Any, Any]
#: Events of the page that are no endpoints for programs.
PRIVATE: dict[str, Any] = {"api_visibility": "private"}
#: Runs a job: (component -> value, visitor, event that stops it) -> updates of the page.
Job = Callable[[Mapping[Any, Any], Visitor, Event], Iterator[Update]]


def image_input(label: str, **properties: Any) -> gr.Image:
    """An input for a picture; its value is the path of the uploaded file, not decoded by Gradio."""
    component = gr.Image(label=label, type="filepath", image_mode=None, buttons=[], **properties)
    component.preprocess = lambda payload: payload and payload.path
    return component


def mask_editor(label: str, **properties: Any) -> gr.ImageMask:
    """An editor for masks; its value holds the strokes only, since the photo has an input of its own."""
    component = gr.ImageMask(
        label=label, sources=[], layers=False, transforms=[], type="numpy", buttons=[], **properties
    )
    decode = component.preprocess

    def decode_strokes(payload: Any) -> Any:
        for part in (payload, component.blob_storage.get(payload.id) if payload and payload.id else None):
            if part is not None:
                part.background = part.composite = None
        return decode(payload)

    component.preprocess = decode_strokes
    return component


def status_html(text: str, fraction: float | None = None, bad: bool = False) -> str:
    """A status line that screen readers announce, with a progress bar if the `fraction` done is known."""
    bar = "" if fraction is None else f'<progress max="1" value="{fraction:.3f}" aria-label="done"></progress>'
    role = "alert" if bad else "status"
    return f'<div class="status{" bad" if bad else ""}" role="{role}">{bar}<span>{html.escape(text)}</span></div>'


def job_buttons(label: str, elem_id: str, stop_id: str | None = None) -> tuple[gr.Button, gr.Button]:
    """The buttons that start and stop a job."""
    with gr.Row():
        start = gr.Button(label, variant="primary", elem_id=elem_id)
        stop = gr.Button("Stop", variant="stop", elem_id=stop_id, interactive=False)
    return start, stop


def connect_job(
    job: Job,
    inputs: set[Any],
    outputs: list[Any],
    *,
    start: gr.Button,
    stop: gr.Button,
    status: gr.HTML,
    photo: gr.Image,
    failure: str,
    visitors: Visitors,
    concurrency: int,
) -> None:
    """Run a job when `start` is pressed, one per page at a time, and stop it when `stop` is pressed.

    Args:
        inputs, outputs: components that the job reads, and that it updates besides the buttons and `status`.
        photo: must have a value before the job starts.
        failure: title of the error message if the job fails.
        concurrency: jobs of all tabs that run at the same time.
    """
    stop_events: dict[str, Event] = {}

    def run(values: dict[gr.components.Component, Any], request: gr.Request) -> Iterator[dict[Any, Any]]:
        visitor, session = visitors.of(request.headers), str(request.session_hash)
        if not values[photo]:
            raise gr.Error("Add a photo first.", title="No photo")
        stop_event = stop_events[session] = Event()
        # The job resets the buttons itself: after an error Gradio runs no chained events.
        idle = {start: gr.Button(interactive=True), stop: gr.Button(interactive=False)}
        try:
            yield {
                status: status_html("Reading the pictures…"),
                stop: gr.Button(interactive=True),
                start: gr.Button(interactive=False),
            }
            yield from job(values, visitor, stop_event)
            yield idle
        except (ValueError, ImpastoError) as error:
            yield {status: status_html(str(error), bad=True)} | idle
            raise gr.Error(str(error), title=failure, print_exception=False) from error
        finally:
            stop_events.pop(session, None)

    def request_stop(request: gr.Request) -> gr.Button:
        if event := stop_events.get(str(request.session_hash)):
            event.set()
        return gr.Button(interactive=False)

    start.click(
        run,
        inputs,
        [status, *outputs, start, stop],
        concurrency_limit=concurrency,
        concurrency_id="paint",
        show_progress="minimal",
        show_progress_on=status,
        trigger_mode="once",
        **PRIVATE,
    )
    stop.click(request_stop, None, [stop], queue=False, **PRIVATE)
