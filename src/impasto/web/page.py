"""The page: its tabs, and what the Paint tab paints, at once and on request."""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event
from typing import Any

import gradio as gr

from impasto.errors import ImpastoError
from impasto.settings.options import FastOptions, StylizeOptions
from impasto.web import api, explanation_tab, form
from impasto.web.components import PRIVATE, Update, connect_job, status_html
from impasto.web.gallery import GalleryStyle
from impasto.web.instants import InstantRunner
from impasto.web.jobs import JobRequest, JobResult
from impasto.web.masks import masks_of
from impasto.web.runner import JobRunner
from impasto.web.sections import (
    FINE,
    INSTANT,
    WELCOME,
    DialSection,
    EarlierSection,
    FineSection,
    InputSection,
    LearnSection,
    OptionSection,
    ResultSection,
    instant_html,
    progress_html,
)
from impasto.web.tasks import Tasks
from impasto.web.visitors import Visitor, Visitors

STYLESHEET = Path(__file__).with_name("style.css")
TITLE = "# impasto\nTurn a photo into a painting. Your pictures stay on this server and are sent nowhere else."
#: Gradio's threads, which wait while pages follow jobs. They are its own, so that other requests never wait for one.
THREADS = 100
#: The loss curve is drawn once in so many evaluations.
PLOT_INTERVAL = 20
#: Instant pictures whose files are kept for each page.
INSTANTS_KEPT = 3


def build(styles: Sequence[GalleryStyle], runner: JobRunner, visitors: Visitors, tasks: Tasks) -> gr.Blocks:
    """The page, with these styles on offer."""
    by_name = {style.name: style for style in styles}
    with gr.Blocks(title="impasto", analytics_enabled=False) as page:
        gr.Markdown(TITLE, elem_id="title")
        with gr.Tabs():
            with gr.Tab("Paint"):
                _paint_tab(page, by_name, runner, visitors, tasks)
            with gr.Tab("Look inside the network"):
                explanation_tab.build(page, by_name, runner, visitors, tasks)
        api.add_endpoint(by_name, runner, visitors, tasks)
    page.max_threads = THREADS
    return page


def _paint_tab(
    page: gr.Blocks, by_name: Mapping[str, GalleryStyle], runner: JobRunner, visitors: Visitors, tasks: Tasks
) -> None:
    styles, limits = list(by_name.values()), runner.limits
    with gr.Row(equal_height=False):
        with gr.Column(scale=5, min_width=320):
            inputs = InputSection(page, by_name, visitors, limits)
            options = OptionSection(styles, limits)
        with gr.Column(scale=6, min_width=320):
            status = gr.HTML(status_html(WELCOME), elem_id="status")
            dials = DialSection(limits)
            learn = LearnSection(limits)
            with gr.Tabs(elem_id="results") as tabs:
                with gr.Tab("Instant", id=INSTANT):
                    instant = ResultSection("instant-", visible=True)
                with gr.Tab("Fine", id=FINE, render_children=True):
                    fine = FineSection()
            earlier = EarlierSection()
    options.connect(inputs, dials, limits)
    request = _Form(inputs, dials, options, learn, by_name)
    instants = InstantRunner(runner)
    _paint_instantly(request, instant, status, tabs, instants, visitors)
    _learn_on_request(page, request, instants, visitors, tasks)
    _show_earlier(page, earlier, fine, dials.status, tabs, visitors)

    def paint(values: Mapping[Any, Any], visitor: Visitor, stop: Event) -> Iterator[Any]:
        plotted, shown = 0, False
        for report in runner.run(request.fine(values), visitor, stop):
            yield report  # for programs, see `http`
            if isinstance(report, JobResult):
                yield fine.result_update(report) | earlier.update(visitor)
                continue
            plot = report.done or report.evaluations >= plotted + PLOT_INTERVAL
            if plot:
                plotted = report.evaluations
            # Until the first strokes, the instant picture stays.
            turn = {} if shown else {tabs: gr.Tabs(selected=FINE)}
            shown = True
            yield {dials.status: progress_html(report)} | fine.progress_update(report, plot) | turn

    connect_job(
        page,
        paint,
        inputs.components | dials.components | options.components,
        [*fine.components, *earlier.components, tabs],
        kind="fine",
        tasks=tasks,
        start=dials.start_button,
        stop=dials.stop_button,
        status=dials.status,
        photo=inputs.photo,
        failure="This cannot be painted",
        visitors=visitors,
    )


@dataclass(frozen=True, eq=False)
class _Form:
    """What the visitor filled in, as requests; all methods raise a ValueError for an invalid option."""

    inputs: InputSection
    dials: DialSection
    options: OptionSection
    learn: LearnSection
    by_name: Mapping[str, GalleryStyle]

    @property
    def instant_components(self) -> set[Any]:
        """The components that an instant picture depends on."""
        return self.inputs.components | self.dials.components | self.options.fast_components

    def fine(self, values: Mapping[Any, Any]) -> JobRequest:
        """The request of an optimisation."""
        filled = form.options_from(self._fields(values))
        return replace(self._request(values, filled), init_image=values[self.options.init_image])

    def instant(self, values: Mapping[Any, Any]) -> JobRequest:
        """The request of an instant picture."""
        filled = form.fast_options_from(self._fields(values))
        return self._request(values, replace(filled, learn_seconds=values[self.learn.seconds] or filled.learn_seconds))

    def _fields(self, values: Mapping[Any, Any]) -> dict[str, Any]:
        own = {"size": round(values[self.dials.size]), "strength": values[self.dials.strength]}
        return own | {name: values[field] for name, field in self.options.fields.items() if field in values}

    def _request(self, values: Mapping[Any, Any], options: StylizeOptions | FastOptions) -> JobRequest:
        chosen = values[self.inputs.style]
        more = [self.by_name[name].source for name in values[self.options.more_styles] or () if name in self.by_name]
        return JobRequest(
            values[self.inputs.photo],
            [chosen, *[source for source in more if source != chosen], *(values[self.options.more_paintings] or ())],
            options,
            masks_of(values[self.options.masks]),
            values[self.options.style_masks] or (),
        )


@dataclass(frozen=True)
class _Shown:
    """The instant picture that a page shows.

    Attributes:
        key: of all that it depends on.
        folders: its files, and those of the pictures before, which the page may still be fetching.
    """

    key: str = ""
    folders: tuple[Path, ...] = ()


def _paint_instantly(
    request: _Form,
    result: ResultSection,
    status: gr.HTML,
    tabs: gr.Tabs,
    runner: InstantRunner,
    visitors: Visitors,
) -> None:
    """Paint an instant picture whenever something changes that it depends on."""
    learn = request.learn
    shown = gr.State(_Shown())

    def paint(values: dict[Any, Any], client: gr.Request) -> Update:
        before: _Shown = values[shown]
        if not values[request.inputs.photo]:
            return {shown: replace(before, key=""), status: status_html(WELCOME), learn.group: gr.Group(visible=False)}
        try:
            job = request.instant(values)
            if (key := _key(job, values[learn.learnt])) == before.key:
                return {shown: before}
            painted = runner.paint(job, visitors.of(client.headers))
        except (ValueError, ImpastoError) as error:
            return {shown: replace(before, key=""), status: status_html(str(error), bad=True)}
        folders = (*before.folders, painted.folder)
        for folder in folders[:-INSTANTS_KEPT]:
            shutil.rmtree(folder, ignore_errors=True)
        return {
            shown: _Shown(key, folders[-INSTANTS_KEPT:]),
            status: instant_html(painted),
            tabs: gr.Tabs(selected=INSTANT),
            **result.result_update(painted.result),
            **learn.offer_update(painted),
        }

    gr.on(
        [component.change for component in (*request.instant_components, learn.learnt)],
        paint,
        request.instant_components | {learn.seconds, learn.learnt, shown},
        [shown, status, tabs, *result.components, learn.group, learn.offer],
        concurrency_limit=1,
        concurrency_id="instant",
        show_progress="minimal",
        show_progress_on=status,
        trigger_mode="always_last",  # while one is painted, the newest of the requests that follow waits
        **PRIVATE,
    )


def _key(request: JobRequest, learnt: float) -> str:
    """Differs for requests whose pictures differ."""
    masks = {name: hashlib.sha256(mask.tobytes()).hexdigest() for name, mask in request.masks.items()}
    return repr((replace(request, masks={}), masks, learnt))


def _show_earlier(
    page: gr.Blocks,
    earlier: EarlierSection,
    fine: FineSection,
    status: gr.HTML,
    tabs: gr.Tabs,
    visitors: Visitors,
) -> None:
    """Show the strip of pictures when the page is opened, and a picture of it when it is chosen."""

    def load(request: gr.Request) -> Update:
        return earlier.update(visitors.of(request.headers))

    def choose(request: gr.Request, event: gr.SelectData) -> Update:
        chosen = earlier.chosen(event, visitors.of(request.headers))
        if chosen is None:
            return {status: status_html("This picture is no longer kept.", bad=True)}
        return fine.result_update(chosen) | {tabs: gr.Tabs(selected=FINE)}

    page.load(load, None, earlier.components, queue=False, **PRIVATE)
    earlier.strip.select(choose, None, [status, *fine.components, tabs], queue=False, **PRIVATE)


def _learn_on_request(page: gr.Blocks, request: _Form, runner: InstantRunner, visitors: Visitors, tasks: Tasks) -> None:
    """Learn the paintings when the button is pressed; then the instant picture is painted again."""
    learn = request.learn

    def run(values: Mapping[Any, Any], visitor: Visitor, stop: Event) -> Iterator[Update]:
        for report in runner.learn(request.instant(values), visitor, stop):
            yield learn.progress_update(report)
        yield {learn.learnt: time.time(), learn.status: "", learn.preview: gr.Image(visible=False)}

    connect_job(
        page,
        run,
        request.instant_components | {learn.seconds},
        [learn.learnt, learn.preview],
        kind="learn",
        tasks=tasks,
        start=learn.start_button,
        stop=learn.stop_button,
        status=learn.status,
        photo=request.inputs.photo,
        failure="This painting cannot be learnt",
        visitors=visitors,
    )
