"""The endpoint for programs: `client.predict(…, api_name="/stylize")` runs the same job as the page."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import gradio as gr

from impasto.errors import ImpastoError
from impasto.inputs.gallery import PAINTINGS
from impasto.inputs.styles import STYLES
from impasto.settings.fields import unknown
from impasto.settings.options import FastOptions, StylizeOptions
from impasto.web.components import image_input
from impasto.web.gallery import GalleryStyle
from impasto.web.jobs import JobRequest, JobResult, Limits
from impasto.web.runner import JobRunner
from impasto.web.tasks import Tasks
from impasto.web.visitors import Visitors

#: Seconds without an open request after which the job of a client of `/stylize` ends.
CLIENT_GONE_AFTER = 3.0


def add_endpoint(by_name: Mapping[str, GalleryStyle], runner: JobRunner, visitors: Visitors, tasks: Tasks) -> None:
    """Add the endpoint `/stylize` to the page; called within its layout."""
    limits = runner.limits
    sources = sources_of(by_name)
    with gr.Row(visible=False):
        photo, paintings = image_input("photo"), gr.File(label="paintings", file_count="multiple")
        names, options, fast = gr.JSON(label="styles"), gr.JSON(label="options"), gr.Checkbox(label="fast")
        picture, settings = gr.File(label="picture"), gr.JSON(label="settings")
        button = gr.Button()

    def stylize(
        request: gr.Request,
        photo: str | None,
        styles: list[str] | None = None,
        paintings: list[str] | None = None,
        options: dict[str, Any] | None = None,
        fast: bool = False,
    ) -> tuple[str, Mapping[str, Any]]:
        """Repaint a photo. Styles are names that the page or `impasto styles` shows, paintings are files; options are
        the fields of `StylizeOptions`, or, if fast (one forward pass of a network), of `FastOptions`."""
        visitor, task = visitors.of(request.headers), None
        try:
            job = job_request(photo, styles, paintings, options, fast, sources, limits)
            task = tasks.submit(visitor, "api", lambda stop: runner.run(job, visitor, stop))
            for snapshot in tasks.follow(task):
                if snapshot.error is not None:
                    raise ValueError(snapshot.error)
                for report in snapshot.reports:
                    if isinstance(report, JobResult):
                        return str(report.files[0]), report.settings
                if visitor.idle_seconds > CLIENT_GONE_AFTER:
                    break
            raise ValueError("the job was stopped before it began")
        except (ValueError, TypeError, ImpastoError) as error:
            raise gr.Error(str(error), print_exception=False) from error
        finally:
            if task is not None:  # also if the client has left
                tasks.stop(task)

    button.click(
        stylize,
        [photo, names, paintings, options, fast],
        [picture, settings],
        api_name="stylize",
        concurrency_limit=None,
    )


def sources_of(by_name: Mapping[str, GalleryStyle]) -> dict[str, str]:
    """What a program may call a style -> its source: the names on the page, and those of the command line."""
    sources = {style.source: style.source for style in by_name.values() if style.source in (*STYLES, *PAINTINGS)}
    return sources | {name: style.source for name, style in by_name.items()}


def job_request(
    photo: str | None,
    styles: Sequence[str] | None,
    paintings: Sequence[str] | None,
    options: Any,
    fast: bool,
    sources: Mapping[str, str],
    limits: Limits,
) -> JobRequest:
    """What a program requests.

    Raises:
        ValueError: no photo, an unknown style or option, a wrong value; the message names it.
    """
    kind: type[StylizeOptions | FastOptions] = FastOptions if fast else StylizeOptions
    if not photo:
        raise ValueError("there is no photo")
    _check_known("style", styles or (), sources)
    chosen = [*(sources[name] for name in styles or ()), *(paintings or ())]
    if not isinstance(options or {}, dict):
        raise ValueError(f"the options are {options!r}; expected an object of names and values")
    _check_known("option", options or (), kind.__dataclass_fields__)
    return JobRequest(photo, chosen, kind(**({"size": min(512, limits.size)} | (options or {}))))


def _check_known(what: str, names: Collection[str], known: Collection[str]) -> None:
    for name in names:
        if name not in known:
            raise unknown(what, name, known)
