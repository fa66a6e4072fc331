"""The tab that explains the network: a question about a photo and a style, and the report that answers it."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping
from pathlib import Path
from threading import Event
from typing import Any

import gradio as gr

from impasto.web import explanations
from impasto.web.components import PRIVATE, Update, connect_job, image_input, job_buttons, status_html
from impasto.web.explanations import LAYERS, QUESTIONS, ExplanationRequest
from impasto.web.gallery import GalleryStyle
from impasto.web.runner import JobRunner
from impasto.web.tasks import Tasks
from impasto.web.visitors import Visitor, Visitors


def build(
    page: gr.Blocks, by_name: Mapping[str, GalleryStyle], runner: JobRunner, visitors: Visitors, tasks: Tasks
) -> None:
    """The components of the tab, and what they do."""
    first_style, first_question = next(iter(by_name)), next(iter(QUESTIONS))
    with gr.Row(equal_height=False):
        with gr.Column(scale=3, min_width=280):
            photo = image_input("Photo", height=220, elem_id="seen-photo")
            style = gr.Dropdown(list(by_name), value=first_style, label="Style", elem_id="seen-style")
            own_style = image_input("…or a painting of your own", height=160)
            question = gr.Radio(list(QUESTIONS), value=first_question, label="Question", elem_id="question")
            description = gr.Markdown(QUESTIONS[first_question].description)
            layer = gr.Dropdown(LAYERS, value="relu3_1", label="Layer", info="For Gram matrices and channels.")
            start_button, stop_button = job_buttons("Explain", "look")
        with gr.Column(scale=8, min_width=320):
            status = gr.HTML(status_html("Add a photo, choose a style and a question."), elem_id="seen-status")
            report = gr.HTML(elem_id="report")
            download = gr.DownloadButton("Download the report", visible=False)
    question.change(lambda name: QUESTIONS[name].description, question, description, queue=False, **PRIVATE)

    def explain(values: Mapping[Any, Any], visitor: Visitor, stop: Event) -> Iterator[Update]:
        source = values[own_style] or by_name[values[style]].source
        sources = [each.source for each in by_name.values()]
        request = ExplanationRequest(values[question], values[photo], source, sources, values[layer])
        for item in explanations.run(runner, request, visitor, stop):
            if isinstance(item, Path):
                document = html.escape(item.read_text(encoding="utf-8"), quote=True)
                yield {
                    status: status_html("Done."),
                    report: f'<iframe title="report" sandbox="" srcdoc="{document}"></iframe>',
                    download: gr.DownloadButton(value=str(item), visible=True),
                }
            else:
                yield {status: status_html(*item)}

    connect_job(
        page,
        explain,
        {photo, style, own_style, question, layer},
        [report, download],
        kind="explain",
        tasks=tasks,
        start=start_button,
        stop=stop_button,
        status=status,
        photo=photo,
        failure="This cannot be explained",
        visitors=visitors,
    )
