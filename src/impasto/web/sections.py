"""The sections of the Paint tab: what to paint, further options, and the result."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr

from impasto import plots
from impasto.presets import PRESETS, options_of
from impasto.settings.options import StylizeOptions
from impasto.web import form
from impasto.web.components import PRIVATE, Update, image_input, job_buttons, mask_editor, status_html
from impasto.web.gallery import GalleryStyle
from impasto.web.jobs import INIT_CHOICES, JobProgress, JobResult, Limits, available_weights
from impasto.web.masks import BRUSHES

#: Name of the style when the visitor's own painting is chosen.
OWN_STYLE = "your own painting"
#: Label of a method -> the operation.
METHODS = {"Instant (feed-forward network)": "fast", "Fine (optimised, takes minutes)": "stylize"}
MASK_HELP = (
    "Paint over the photo: **red** areas stay as they are, **green** ones get the first style, **blue** the second, "
    "**orange** the third, **violet** the fourth. Styles without a colour share the rest."
)


class InputSection:
    """The photo, the style, and the options that most visitors set."""

    def __init__(self, styles: Sequence[GalleryStyle], limits: Limits) -> None:
        first_style = styles[0].name
        self.style = gr.State(first_style)
        self.photo = image_input("Photo", sources=["upload", "webcam", "clipboard"], height=280, elem_id="photo")
        gallery = gr.Gallery(
            [(str(style.thumbnail), style.name) for style in styles],
            label="Style",
            columns=4,
            allow_preview=False,
            selected_index=0,
            object_fit="cover",
            buttons=[],
            interactive=False,
            elem_id="styles",
        )
        with gr.Accordion("…or a painting of your own", open=False):
            self.own_style = image_input("Painting", sources=["upload", "clipboard"], height=200, elem_id="own")
        caption = gr.Markdown(_caption(first_style), elem_id="chosen")
        self.strength = gr.Slider(
            0, 3, 1, step=0.05, label="Strength", info="0 keeps the photo, 1 is balanced, 2 leaves little of the photo."
        )
        self.size = gr.Slider(
            128,
            limits.size,
            min(512, limits.size),
            step=16,
            label="Size",
            info="Long side in pixels. Twice the size takes about four times as long.",
        )
        self.method = gr.Radio(
            list(METHODS.items()),
            value="stylize",
            label="Method",
            info="Instant runs a neural network once. Fine shows that result as a draft, then optimises the picture.",
            elem_id="way",
        )
        self.start_button, self.stop_button = job_buttons("Paint", "paint", "stop")
        chosen = [self.style, caption]
        gallery.select(_choose, None, chosen, queue=False, **PRIVATE)
        self.own_style.upload(lambda: (OWN_STYLE, _caption(OWN_STYLE)), None, chosen, queue=False, **PRIVATE)
        self.own_style.clear(lambda: (first_style, _caption(first_style)), None, chosen, queue=False, **PRIVATE)

    @property
    def components(self) -> set[Any]:
        """All components that hold values."""
        return {self.photo, self.own_style, self.style, self.strength, self.size, self.method}


def _choose(event: gr.SelectData) -> tuple[str, str]:
    name = str(event.value["caption"])
    return name, _caption(name)


def _caption(style: str) -> str:
    return f"Style: **{style}**"


class OptionSection:
    """Presets, several styles, masks, and all other options, under "Advanced"."""

    def __init__(self, styles: Sequence[GalleryStyle], limits: Limits, inputs: InputSection) -> None:
        with gr.Accordion("Advanced", open=False, elem_id="advanced"):
            preset = gr.Dropdown(list(PRESETS), value="default", label="Preset", info="Fills in the options below.")
            with gr.Accordion("Several styles", open=False):
                self.more_styles = gr.Dropdown(
                    [style.name for style in styles],
                    multiselect=True,
                    max_choices=limits.styles - 1,
                    label="Blend with",
                    info="Set how much each style counts under Style weights below.",
                )
                self.more_paintings = _picture_files("More paintings of your own")
                self.style_masks = _picture_files(
                    "Style masks, in the order of the styles: only the white parts of a style are used"
                )
            with gr.Accordion("Masks over the photo", open=False):
                gr.Markdown(MASK_HELP)
                self.masks = mask_editor(
                    "Masks",
                    brush=gr.Brush(default_size=40, colors=list(BRUSHES), color_mode="fixed"),
                    elem_id="masks",
                )
            self.init_image = image_input("Start from this picture", sources=["upload"], height=160)
            self.fields = form.build({"weights": available_weights, "init": lambda: list(INIT_CHOICES)})

        def fill(name: str) -> list[Any]:
            options = options_of(StylizeOptions, name)
            size = min(options.size or limits.size, limits.size)
            return [options.strength, size, *form.values_of(options, self.fields)]

        filled = [inputs.strength, inputs.size, *self.fields.values()]
        preset.input(fill, preset, filled, queue=False, **PRIVATE)
        # Runs in the browser, which has the photo already.
        show_photo = "(photo) => photo ? ({background: photo, layers: [], composite: null}) : null"
        inputs.photo.change(None, inputs.photo, self.masks, js=show_photo, **PRIVATE)

    @property
    def components(self) -> set[Any]:
        """All components that hold values."""
        pictures = {self.more_styles, self.more_paintings, self.style_masks, self.masks, self.init_image}
        return pictures | set(self.fields.values())


def _picture_files(label: str) -> gr.File:
    return gr.File(label=label, file_count="multiple", file_types=["image"])


class ResultSection:
    """The picture while it is painted, and the finished one with its downloads."""

    def __init__(self) -> None:
        self.status = gr.HTML(status_html("Add a photo, choose a style, then press Paint."), elem_id="status")
        self.preview = gr.Image(label="Painting", interactive=False, height=520, elem_id="live", buttons=["fullscreen"])
        self.comparison = gr.ImageSlider(
            label="Before and after", visible=False, height=520, elem_id="compare", buttons=["fullscreen"]
        )
        with gr.Row():
            self.png = gr.DownloadButton("Download PNG", visible=False, elem_id="png")
            self.jpeg = gr.DownloadButton("Download JPEG", visible=False, elem_id="jpeg")
        self.mask_files = gr.File(label="Your masks, which the command below needs", visible=False)
        with gr.Accordion("The same on the command line", visible=False) as self.command_section:
            self.command = gr.Code(
                language="shell", show_label=False, interactive=False, wrap_lines=True, elem_id="command"
            )
        with gr.Accordion("Loss curve", open=False):
            self.losses = gr.Plot(show_label=False, elem_id="losses")

    @property
    def components(self) -> list[Any]:
        """All components that a job updates."""
        downloads = [self.png, self.jpeg, self.mask_files]
        return [self.preview, self.comparison, *downloads, self.command_section, self.command, self.losses]

    def progress_update(self, progress: JobProgress, plot: bool) -> Update:
        """Shows a running job, with its loss curve if `plot`."""
        update: Update = {
            self.status: _progress_html(progress),
            self.preview: gr.Image(str(progress.preview), visible=True),
            self.comparison: gr.ImageSlider(visible=False),
        }
        return update | ({self.losses: plots.loss_figure(progress.losses, 7)} if plot else {})

    def result_update(self, result: JobResult) -> Update:
        """Shows a finished picture."""
        png, jpeg, *masks = map(str, result.files)
        return {
            self.preview: gr.Image(visible=False),
            self.comparison: gr.ImageSlider((str(result.before), png), visible=True),
            self.png: gr.DownloadButton(value=png, visible=True),
            self.jpeg: gr.DownloadButton(value=jpeg, visible=True),
            self.mask_files: gr.File(masks or None, visible=bool(masks)),
            self.command_section: gr.Accordion(visible=True),
            self.command: result.command,
        }


def _progress_html(progress: JobProgress) -> str:
    step, note = progress.step, progress.note
    if progress.done:
        height, width = step.size
        return status_html(f"{width}×{height} px in {_duration(step.seconds)}{', ' + note if note else ''}", 1.0)
    if progress.is_draft:
        return status_html("This is a draft. Optimising the picture…")
    fraction = step.seconds / max(step.seconds + step.eta, 1e-9)
    return status_html(
        f"Size {step.scale} of {step.scales}, {step.iteration} of {step.iterations} · about {_duration(step.eta)} left",
        fraction,
    )


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
