"""Components shared by the tabs: picture inputs, the mask editor, the status line, and what starts and stops a job."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterator, Mapping
from threading import Event
from typing import Any

import gradio as gr

from impasto.web.tasks import QueueFullError, Task, Tasks
from impasto.web.visitors import Visitor, Visitors

#: Component -> its new value or properties, as event handlers yield them.
Update = dict[Any, Any]
#: Events of the page that are no endpoints for programs.
PRIVATE: dict[str, Any] = {"api_visibility": "private"}
#: Runs a job: (component -> value, visitor, event that stops it) -> updates of the page, and reports for programs.
Job = Callable[[Mapping[Any, Any], Visitor, Event], Iterator[Any]]


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
    page: gr.Blocks,
    job: Job,
    inputs: set[Any],
    outputs: list[Any],
    *,
    kind: str,
    tasks: Tasks,
    start: gr.Button,
    stop: gr.Button,
    status: gr.HTML,
    photo: gr.Image,
    failure: str,
    visitors: Visitors,
) -> None:
    """Run a job when `start` is pressed, one at a time, and stop it when `stop` is pressed.

    The job continues when its page is closed; a page that is opened by the same visitor shows it again.

    Args:
        inputs, outputs: components that the job reads, and that it updates besides the buttons and `status`.
        kind: tells its tasks from those of other jobs.
        photo: must have a value before the job starts.
        failure: title of the error message if the job fails.
    """

    # Made by a function: a component that is made here would be shown on the page.
    def buttons(busy: bool) -> Update:
        return {start: gr.Button(interactive=not busy), stop: gr.Button(interactive=busy)}

    def run(values: dict[gr.components.Component, Any], request: gr.Request) -> Iterator[Update]:
        visitor = visitors.of(request.headers)
        if not values[photo]:
            raise gr.Error("Add a photo first.", title="No photo", print_exception=False)
        if running := _unfinished(visitor, kind):
            yield from follow(running)
            return
        try:
            task = tasks.submit(visitor, kind, lambda stop_event: job(values, visitor, stop_event))
        except QueueFullError as error:
            yield {status: status_html(str(error), bad=True)} | buttons(busy=False)
            raise gr.Error(str(error), title="Too many jobs", print_exception=False) from error
        yield from follow(task)

    def follow(task: Task) -> Iterator[Update]:
        for snapshot in tasks.follow(task):
            if snapshot.status == "queued":
                yield {status: status_html(f"{_ordinal(snapshot.position)} in line")} | buttons(busy=True)
            elif snapshot.error is not None:
                # After an error Gradio runs no chained events: the buttons are reset before.
                yield {status: status_html(snapshot.error, bad=True)} | buttons(busy=False)
                raise gr.Error(snapshot.error, title=failure, print_exception=False)
            else:
                started: Update = {} if snapshot.reports else {status: status_html("Reading the pictures…")}
                updates = [report for report in snapshot.reports if isinstance(report, dict)]
                merged = {key: value for update in updates for key, value in update.items()}
                if not snapshot.is_over:
                    yield started | merged | buttons(busy=True)
                elif task.stop.is_set() and not task.reports:
                    yield {status: status_html("Stopped before it began.")} | buttons(busy=False)
                else:
                    yield merged | buttons(busy=False)

    def resume(request: gr.Request) -> Iterator[Update]:
        task = _unfinished(visitors.of(request.headers), kind)
        if task is None:
            yield {start: gr.skip()}
        else:
            yield from follow(task)

    def request_stop(request: gr.Request) -> gr.Button:
        if task := _unfinished(visitors.of(request.headers), kind):
            tasks.stop(task)
        return gr.Button(interactive=False)

    shown = [status, *outputs, start, stop]
    progress: dict[str, Any] = {"show_progress": "minimal", "show_progress_on": status, "concurrency_limit": None}
    start.click(run, inputs, shown, trigger_mode="once", **progress, **PRIVATE)
    page.load(resume, None, shown, **(progress | {"show_progress": "hidden"}), **PRIVATE)
    stop.click(request_stop, None, [stop], queue=False, **PRIVATE)


def _unfinished(visitor: Visitor, kind: str) -> Task | None:
    """The visitor's job of this kind that runs or waits."""
    found = [task for task in visitor.tasks if task.kind == kind and not task.is_over]
    return found[-1] if found else None


def _ordinal(number: int) -> str:
    """`Next`, `2nd`, `3rd`, `4th`, `21st`."""
    if number == 1:
        return "Next"
    return f"{number}{'th' if number % 100 in (11, 12, 13) else {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th')}"
