"""The sections of the Paint tab: what to paint, further options, the dials, and the results."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from impasto import plots
from impasto.errors import ImpastoError
from impasto.presets import PRESETS, options_of
from impasto.settings.fields import default_of, fields_of
from impasto.settings.options import FastOptions, StylizeOptions
from impasto.web import form
from impasto.web.components import PRIVATE, Update, image_input, job_buttons, mask_editor, status_html
from impasto.web.gallery import GalleryStyle
from impasto.web.instants import Instant, Learning
from impasto.web.jobs import INIT_CHOICES, JobProgress, JobResult, Limits, available_weights
from impasto.web.masks import BRUSHES
from impasto.web.uploads import accept_painting, accept_photo
from impasto.web.visitors import Visitor, Visitors

#: Values of the tabs of results.
INSTANT, FINE = "instant", "fine"
#: What the status says before anything is painted.
WELCOME = "Add a photo and choose a style: the picture is painted at once."
#: On the page, in its pixels.
PICTURE_HEIGHT = 460
MASK_HELP = (
    "Paint over the photo: **red** areas stay as they are, **green** ones get the first style, **blue** the second, "
    "**orange** the third, **violet** the fourth. Styles without a colour share the rest."
)

JPEG_LABEL = "Download JPEG"


class InputSection:
    """The photo and the style. The value of `style` is its source: a name, or the path of the visitor's painting."""

    def __init__(
        self, page: gr.Blocks, by_name: Mapping[str, GalleryStyle], visitors: Visitors, limits: Limits
    ) -> None:
        first_style = next(iter(by_name.values()))
        self.style = gr.State(first_style.source)
        self.photo = image_input("Photo", sources=["upload", "webcam", "clipboard"], height=280, elem_id="photo")
        gr.Markdown("**Style**")
        gallery = gr.Gallery(
            _tiles(by_name.values()),
            label="Style",
            show_label=False,
            columns=4,
            allow_preview=False,
            selected_index=0,
            object_fit="cover",
            buttons=[],
            interactive=False,
            elem_id="styles",
        )
        own_style = gr.UploadButton("Add a painting of your own", file_types=["image"], size="md", elem_id="own")
        caption = gr.Markdown(_caption(first_style), elem_id="chosen")

        def tiles(visitor: Visitor) -> list[tuple[str, str]]:
            return _tiles([*visitor.paintings, *by_name.values()])

        def load(request: gr.Request) -> Update:
            visitor = visitors.of(request.headers)
            if not visitor.paintings:
                return {gallery: gr.skip()}
            return {gallery: gr.Gallery(tiles(visitor), selected_index=len(visitor.paintings))}

        def choose(request: gr.Request, event: gr.SelectData) -> tuple[str, str]:
            own = {style.name: style for style in visitors.of(request.headers).paintings}
            style = (own | dict(by_name))[str(event.value["caption"])]
            return style.source, _caption(style)

        def add(request: gr.Request, path: str) -> Update:
            visitor = visitors.of(request.headers)
            try:
                style = accept_painting(path, visitor, limits, set(by_name))
            except (ValueError, ImpastoError) as error:
                _refuse(path, error)
                return {gallery: gr.skip()}
            shown = gr.Gallery(tiles(visitor), selected_index=0)
            return {gallery: shown, self.style: style.source, caption: _caption(style)}

        def check_photo(request: gr.Request, path: str) -> str | None:
            try:
                return accept_photo(path, visitors.of(request.headers), limits)
            except (ValueError, ImpastoError) as error:
                _refuse(path, error)
                return None

        # Without the queue, Gradio would not report that the state has changed.
        chosen: dict[str, Any] = {"show_progress": "hidden", **PRIVATE}
        # Another click counts, too, should the answer to one be lost.
        gallery.select(choose, None, [self.style, caption], trigger_mode="multiple", **chosen)
        own_style.upload(add, own_style, [gallery, self.style, caption], **chosen)
        self.photo.upload(check_photo, self.photo, self.photo, **chosen)
        page.load(load, None, gallery, **chosen)

    @property
    def components(self) -> set[Any]:
        """All components that hold values."""
        return {self.photo, self.style}


def _tiles(styles: Iterable[GalleryStyle]) -> list[tuple[str, str]]:
    return [(str(style.thumbnail), style.name) for style in styles]


def _refuse(path: str, error: Exception) -> None:
    """Say why an uploaded file is not taken, without what the decoder said."""
    reason = re.sub(r" \(.*\)$", "", str(error).replace(path, Path(path).name))
    gr.Warning(f"This picture cannot be used: {reason}. Choose another one, or save it as JPEG.", duration=None)


def _caption(style: GalleryStyle) -> str:
    return f"Style: **{style.name}**" + (f" ({style.painter})" if style.painter else "")


class DialSection:
    """The options that most visitors set, and the buttons that start and stop the optimisation."""

    def __init__(self, limits: Limits) -> None:
        with gr.Row():
            self.strength = gr.Slider(
                0,
                3,
                1,
                step=0.05,
                label="Strength",
                info="0 keeps the photo, 1 is balanced, 2 leaves little of it.",
                min_width=220,
                elem_id="strength",
            )
            self.size = gr.Slider(
                min(128, limits.size // 2),
                limits.size,
                min(512, limits.size),
                step=16,
                label="Size",
                info="Long side in pixels. Twice the size takes four times as long.",
                min_width=220,
                elem_id="size",
            )
        self.start_button, self.stop_button = job_buttons("Paint finely", "paint", "stop")
        self.status = gr.HTML(
            status_html("Paint finely optimises the picture for minutes, which brings it closer to the painting."),
            elem_id="fine-status",
        )

    @property
    def components(self) -> set[Any]:
        """All components that hold values."""
        return {self.strength, self.size}


class OptionSection:
    """Presets, several styles, masks, and all other options, under "Advanced"."""

    def __init__(self, styles: Sequence[GalleryStyle], limits: Limits) -> None:
        with gr.Accordion("Advanced", open=False, elem_id="advanced"):
            self.preset = gr.Dropdown(
                list(PRESETS), value="default", label="Preset", info="Fills in the options below, strength and size."
            )
            with gr.Accordion("Several styles", open=False):
                self.more_styles = gr.Dropdown(
                    [style.name for style in styles],
                    multiselect=True,
                    max_choices=limits.styles - 1,
                    label="Blend with",
                    info="Set how much each style counts under Style weights below.",
                    elem_id="blend",
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

    def connect(self, inputs: InputSection, dials: DialSection, limits: Limits) -> None:
        """Let presets fill in the options, and show the photo under the masks."""

        def fill(name: str) -> list[Any]:
            options = options_of(StylizeOptions, name)
            size = min(options.size or limits.size, limits.size)
            return [options.strength, size, *form.values_of(options, self.fields)]

        filled = [dials.strength, dials.size, *self.fields.values()]
        self.preset.input(fill, self.preset, filled, queue=False, **PRIVATE)
        # Runs in the browser, which has the photo already.
        show_photo = "(photo) => photo ? ({background: photo, layers: [], composite: null}) : null"
        inputs.photo.change(None, inputs.photo, self.masks, js=show_photo, **PRIVATE)

    @property
    def components(self) -> set[Any]:
        """All components that hold values."""
        return self.fast_components | {self.init_image} | set(self.fields.values())

    @property
    def fast_components(self) -> set[Any]:
        """Those that an instant picture depends on."""
        fields = {component for name, component in self.fields.items() if name in form.FAST_FIELDS}
        return {self.more_styles, self.more_paintings, self.style_masks, self.masks} | fields


def _picture_files(label: str) -> gr.File:
    return gr.File(label=label, file_count="multiple", file_types=["image"])


class LearnSection:
    """The offer to learn a painting whose picture is a preview only; hidden for all others."""

    def __init__(self, limits: Limits) -> None:
        self._seconds = min(default_of(fields_of(FastOptions)["learn_seconds"]), limits.seconds)
        with gr.Group(visible=False, elem_id="learn") as self.group:
            self.offer = gr.HTML(elem_id="offer")
            self.seconds = gr.Number(
                self._seconds,
                minimum=1,
                maximum=limits.seconds,
                label="Learn for so many seconds",
                elem_id="learn-seconds",
            )
            buttons = job_buttons("Learn this painting", "learn-start", "learn-stop")
            self.start_button, self.stop_button = buttons
            self.status = gr.HTML(elem_id="learn-status")
            self.preview = gr.Image(
                label="As learnt so far", interactive=False, visible=False, height=240, elem_id="learn-live", buttons=[]
            )
        #: Changes whenever a painting was learnt.
        self.learnt = gr.State(0.0)

    def offer_update(self, instant: Instant) -> Update:
        """Offers to learn what the instant picture lacks."""
        text = ""
        if instant.not_learnt:
            what = _names(instant.not_learnt)
            time = _duration(len(instant.not_learnt) * self._seconds)
            text = f"This is a preview, less like the painting than it can be: {what} not been learnt yet"
            text += f"; that takes {time}."
        elif instant.learnt_briefly:
            times = ", ".join(
                f"{name} was learnt for {_duration(s)} only" for name, s in instant.learnt_briefly.items()
            )
            text = f"{times}; the longer it is learnt, the more the picture is like it."
        return {self.group: gr.Group(visible=bool(text)), self.offer: status_html(text)}

    def progress_update(self, learning: Learning) -> Update:
        """Shows how far learning is."""
        update: Update = {
            self.status: status_html(
                learning.stopped.capitalize() or f"Learning {learning.name} · about {_duration(learning.eta)} left",
                learning.fraction,
            )
        }
        return update | ({self.preview: gr.Image(str(learning.preview), visible=True)} if learning.preview else {})


def _names(names: Sequence[str]) -> str:
    return f"{names[0]} has" if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]} have"


class ResultSection:
    """A finished picture, with its downloads and the command that makes it.

    Args:
        prefix: of the components' element ids.
    """

    def __init__(self, prefix: str = "", visible: bool = False) -> None:
        self.comparison = gr.ImageSlider(
            label="Before and after",
            visible=visible,
            height=PICTURE_HEIGHT,
            elem_id=f"{prefix}compare",
            buttons=["fullscreen"],
            interactive=False,
        )
        with gr.Row():
            self.png = gr.DownloadButton("Download PNG", size="md", visible=False, elem_id=f"{prefix}png")
            self.jpeg = gr.DownloadButton(JPEG_LABEL, size="md", visible=False, elem_id=f"{prefix}jpeg")
        self.mask_files = gr.File(label="Your masks, which the command below needs", visible=False)
        with gr.Accordion("The same on the command line", visible=False, open=False) as self.command_section:
            self.command = gr.Code(
                language="shell", show_label=False, interactive=False, wrap_lines=True, elem_id=f"{prefix}command"
            )

    @property
    def components(self) -> list[Any]:
        """All components that a job updates."""
        return [self.comparison, self.png, self.jpeg, self.mask_files, self.command_section, self.command]

    def result_update(self, result: JobResult) -> Update:
        """Shows a finished picture."""
        png, jpeg, *masks = map(str, result.files)
        return {
            self.comparison: gr.ImageSlider((str(result.before), png), visible=True),
            self.png: gr.DownloadButton(value=png, visible=True),
            self.jpeg: gr.DownloadButton(JPEG_LABEL, value=jpeg, visible=True),
            self.mask_files: gr.File(masks or None, visible=bool(masks)),
            self.command_section: gr.Accordion(visible=True),
            self.command: result.command,
        }


class FineSection(ResultSection):
    """Likewise for the optimisation, with the picture while it is painted."""

    def __init__(self) -> None:
        self.preview = gr.Image(
            label="Painting", interactive=False, height=PICTURE_HEIGHT, elem_id="live", buttons=["fullscreen"]
        )
        super().__init__()
        with gr.Accordion("Loss curve", open=False):
            self.losses = gr.Plot(show_label=False, elem_id="losses")

    @property
    def components(self) -> list[Any]:
        """All components that a job updates."""
        return [self.preview, *super().components, self.losses]

    def progress_update(self, progress: JobProgress, plot: bool) -> Update:
        """Shows a running job, with its loss curve if `plot`."""
        update: Update = {
            self.preview: gr.Image(str(progress.preview), visible=True),
            self.comparison: gr.ImageSlider(visible=False),
            # What can be downloaded is what is shown.
            self.png: gr.DownloadButton(visible=False),
            self.jpeg: gr.DownloadButton("Save as it is now", value=str(progress.preview), visible=True),
            self.mask_files: gr.File(visible=False),
            self.command_section: gr.Accordion(visible=False),
        }
        return update | ({self.losses: plots.loss_figure(progress.losses, 7)} if plot else {})

    def result_update(self, result: JobResult) -> Update:
        """Shows a finished picture."""
        return {self.preview: gr.Image(visible=False)} | super().result_update(result)


class EarlierSection:
    """The strip of the pictures that the visitor has painted."""

    def __init__(self) -> None:
        self.strip = gr.Gallery(
            label="Your pictures of this visit",
            visible=False,
            columns=6,
            height="auto",
            allow_preview=False,
            interactive=False,
            buttons=[],
            elem_id="earlier",
        )

    @property
    def components(self) -> list[Any]:
        """All components that a job updates."""
        return [self.strip]

    def update(self, visitor: Visitor) -> Update:
        """Shows the pictures, the newest first."""
        pictures = [(str(result.thumbnail), Path(result.files[0]).stem) for result in visitor.results[::-1]]
        return {self.strip: gr.Gallery(pictures, visible=bool(pictures), selected_index=None)}

    def chosen(self, event: gr.SelectData, visitor: Visitor) -> JobResult | None:
        """The picture that was chosen; None if it is no longer kept.

        The strip may be older than the visitor's pictures: it is found by its thumbnail, not by its place.
        """
        thumbnails = {str(result.thumbnail): result for result in visitor.results}
        return thumbnails.get(event.value["image"]["path"])


def instant_html(instant: Instant) -> str:
    """The status of an instant picture."""
    height, width = instant.size
    return status_html(f"{width}×{height} px in {instant.seconds:.1f} s")


def progress_html(progress: JobProgress) -> str:
    """The status of an optimisation."""
    if progress.done:
        (width, height), note = progress.size, progress.note
        return status_html(f"{width}×{height} px in {_duration(progress.seconds)}{', ' + note if note else ''}", 1.0)
    (scale, scales), (iteration, iterations) = progress.scale, progress.iteration
    left = f"about {_duration(progress.eta)} left"
    return status_html(f"Size {scale} of {scales}, {iteration} of {iterations} · {left}", progress.fraction)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return " ".join(f"{count} {unit}" for count, unit in ((minutes, "min"), (rest, "s")) if count) or "0 s"
