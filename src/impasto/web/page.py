"""The page: its tabs, and the job that the Paint tab runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from threading import Event
from typing import Any

import gradio as gr

from impasto.web import api, explanation_tab, form
from impasto.web.components import Update, connect_job
from impasto.web.gallery import GalleryStyle
from impasto.web.jobs import JobRequest, JobResult
from impasto.web.masks import masks_of
from impasto.web.runner import JobRunner
from impasto.web.sections import OWN_STYLE, InputSection, OptionSection, ResultSection
from impasto.web.visitors import Visitor, Visitors

STYLESHEET = Path(__file__).with_name("style.css")
TITLE = "# impasto\nTurn a photo into a painting. Your pictures stay on this server and are sent nowhere else."
#: The loss curve is drawn once in so many evaluations.
PLOT_INTERVAL = 20


def build(styles: Sequence[GalleryStyle], runner: JobRunner, visitors: Visitors) -> gr.Blocks:
    """The page, with these styles on offer."""
    by_name = {style.name: style for style in styles}
    with gr.Blocks(title="impasto", analytics_enabled=False, delete_cache=(600, 3600)) as page:
        gr.Markdown(TITLE, elem_id="title")
        with gr.Tabs():
            with gr.Tab("Paint"):
                _paint_tab(by_name, runner, visitors)
            with gr.Tab("Look inside the network"):
                explanation_tab.build(by_name, runner, visitors)
        api.add_endpoint(by_name, runner, visitors)
    return page


def _paint_tab(by_name: Mapping[str, GalleryStyle], runner: JobRunner, visitors: Visitors) -> None:
    styles, limits = list(by_name.values()), runner.limits
    with gr.Row(equal_height=False):
        with gr.Column(scale=5, min_width=320):
            inputs = InputSection(styles, limits)
            options = OptionSection(styles, limits, inputs)
        with gr.Column(scale=6, min_width=320):
            result = ResultSection()

    def paint(values: Mapping[Any, Any], visitor: Visitor, stop: Event) -> Iterator[Update]:
        plotted = 0
        for report in runner.run(_request(values, inputs, options, by_name), visitor, stop):
            if isinstance(report, JobResult):
                yield result.result_update(report)
                continue
            plot = report.done or report.step.evaluations >= plotted + PLOT_INTERVAL
            if plot:
                plotted = report.step.evaluations
            yield result.progress_update(report, plot)

    connect_job(
        paint,
        inputs.components | options.components,
        result.components,
        start=inputs.start_button,
        stop=inputs.stop_button,
        status=result.status,
        photo=inputs.photo,
        failure="This cannot be painted",
        visitors=visitors,
        concurrency=limits.running,
    )


def _request(
    values: Mapping[Any, Any],
    inputs: InputSection,
    options: OptionSection,
    by_name: Mapping[str, GalleryStyle],
) -> JobRequest:
    """What the visitor filled in.

    Raises:
        ValueError: an invalid option.
    """
    chosen = values[inputs.style]
    names = [chosen, *[name for name in values[options.more_styles] or () if name != chosen]]
    sources = [by_name[name].source for name in names if name in by_name]
    if chosen == OWN_STYLE:
        sources = [values[inputs.own_style], *sources]
    filled = form.options_from(
        {"size": round(values[inputs.size]), "strength": values[inputs.strength]}
        | {name: values[component] for name, component in options.fields.items()}
    )
    return JobRequest(
        values[inputs.photo],
        [*sources, *(values[options.more_paintings] or ())],
        filled.fast_options if values[inputs.method] == "fast" else filled,
        masks_of(values[options.masks]),
        values[options.style_masks] or (),
        values[options.init_image],
    )
