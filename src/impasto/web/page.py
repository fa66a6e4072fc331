"""The page: its layout, and what happens where. Everything that is painted is painted by `jobs`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np

from impasto import plots
from impasto.errors import ImpastoError
from impasto.presets import PRESETS, options_of
from impasto.settings.fields import unknown
from impasto.settings.options import FastOptions, StylizeOptions
from impasto.web import explanations, form
from impasto.web.components import mask_editor, status_of, upload
from impasto.web.gallery import Style
from impasto.web.jobs import STARTS, Limits, Order, Progress, Result, Studio, ready_weights
from impasto.web.visitors import HEADER, Visitor, Visitors

#: Colours to draw masks with -> what goes there; `keep` is the photo itself.
BRUSHES = {"#e63946": "keep", "#2a9d8f": "1", "#457b9d": "2", "#f4a261": "3", "#9d4edd": "4"}
#: The style that is chosen where the visitor's own painting is.
OWN = "your own painting"

#: What the two ways are called -> the operation.
WAYS = {"At once": "fast", "Slowly, stroke by stroke": "stylize"}

#: Words of the page.
TITLE = "# impasto\nYour photo, repainted in the manner of a painting. Nothing leaves this machine."
MASKS = (
    "Paint over the photo: **red** stays as it is, **green** gets the first style, **blue** the second, "
    "**orange** the third, **violet** the fourth. Styles without a colour share the rest."
)


def build(styles: Sequence[Style], studio: Studio, visitors: Visitors) -> gr.Blocks:
    """The page, over these styles."""
    limits = studio.limits
    by_name = {style.name: style for style in styles}
    stops: dict[str, threading.Event] = {}

    def visitor_of(request: gr.Request) -> Visitor:
        return visitors[request.headers[HEADER]]

    with gr.Blocks(title="impasto", analytics_enabled=False, delete_cache=(600, 3600)) as page:
        chosen = gr.State(styles[0].name)
        gr.Markdown(TITLE, elem_id="title")
        with gr.Tabs():
            with gr.Tab("Paint"), gr.Row(equal_height=False):
                with gr.Column(scale=5, min_width=320):
                    photo = upload(
                        label="Photo", sources=["upload", "webcam", "clipboard"], height=280, elem_id="photo"
                    )
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
                        own = upload(label="Painting", sources=["upload", "clipboard"], height=200, elem_id="own")
                    says = gr.Markdown(_says(styles[0].name), elem_id="chosen")
                    strength = gr.Slider(
                        0,
                        3,
                        1,
                        step=0.05,
                        label="Strength",
                        info="0 keeps the photo, 1 is a balance, 2 leaves little.",
                    )
                    size = gr.Slider(
                        128,
                        limits.size,
                        min(512, limits.size),
                        step=16,
                        label="Size",
                        info="Long side, in pixels. Twice the size takes four times as long.",
                    )
                    way = gr.Radio(
                        list(WAYS.items()),
                        value="stylize",
                        label="How",
                        info="At once is one pass of a network. Slowly paints more of the strokes, after a sketch.",
                        elem_id="way",
                    )
                    with gr.Row():
                        go = gr.Button("Paint", variant="primary", elem_id="paint")
                        halt = gr.Button("Stop", variant="stop", elem_id="stop", interactive=False)
                    with gr.Accordion("Advanced", open=False, elem_id="advanced"):
                        preset = gr.Dropdown(
                            list(PRESETS), value="default", label="Preset", info="Fills in what follows."
                        )
                        with gr.Accordion("Several styles", open=False):
                            blend = gr.Dropdown(
                                [style.name for style in styles],
                                multiselect=True,
                                max_choices=limits.styles - 1,
                                label="Blend with",
                                info="Further styles; their shares are the Style weights below.",
                            )
                            paintings = gr.File(
                                label="Further paintings of your own", file_count="multiple", file_types=["image"]
                            )
                            style_masks = gr.File(
                                label="Masks over the styles: read only where they are white, in the styles' order",
                                file_count="multiple",
                                file_types=["image"],
                            )
                        with gr.Accordion("Masks over the photo", open=False):
                            gr.Markdown(MASKS)
                            drawn = mask_editor(
                                "Masks",
                                brush=gr.Brush(default_size=40, colors=list(BRUSHES), color_mode="fixed"),
                                elem_id="masks",
                            )
                        start = upload(label="Start from this picture", sources=["upload"], height=160)
                        fields = form.build({"weights": ready_weights, "init": lambda: list(STARTS)})
                with gr.Column(scale=6, min_width=320):
                    status = gr.HTML(status_of("Give a photo, choose a style, and paint."), elem_id="status")
                    live = gr.Image(
                        label="Painting", interactive=False, height=520, elem_id="live", buttons=["fullscreen"]
                    )
                    compare = gr.ImageSlider(
                        label="Before and after",
                        visible=False,
                        height=520,
                        elem_id="compare",
                        buttons=["fullscreen"],
                    )
                    with gr.Row():
                        png = gr.DownloadButton("Download PNG", visible=False, elem_id="png")
                        jpeg = gr.DownloadButton("Download JPEG", visible=False, elem_id="jpeg")
                    drawn_files = gr.File(label="The masks, for the command line", visible=False)
                    with gr.Accordion("The same on the command line", visible=False) as told:
                        command = gr.Code(
                            language="shell",
                            show_label=False,
                            interactive=False,
                            wrap_lines=True,
                            elem_id="command",
                        )
                    with gr.Accordion("How the loss falls", open=False):
                        losses = gr.Plot(show_label=False, elem_id="losses")
            with gr.Tab("See what the network sees"):
                see = explanations.build(by_name)

        def paint(given: dict[gr.components.Component, Any], request: gr.Request) -> Iterator[dict[Any, Any]]:
            visitor, key = visitor_of(request), str(request.session_hash)
            if not given[photo]:
                raise gr.Error("Give a photo first.", title="No photo")
            stops[key] = threading.Event()
            yield {
                status: status_of("Looking at the pictures…"),
                halt: gr.Button(interactive=True),
                go: gr.Button(interactive=False),
            }
            try:
                names = [given[chosen], *[name for name in given[blend] or () if name != given[chosen]]]
                files = [by_name[name].given for name in names if name in by_name]
                if given[chosen] == OWN:
                    files = [given[own], *files]
                options = form.read(
                    {"size": round(given[size]), "strength": given[strength]}
                    | {name: given[component] for name, component in fields.items()}
                )
                order = Order(
                    given[photo],
                    [*files, *(given[paintings] or ())],
                    options.fast_options if given[way] == "fast" else options,
                    masks_of(given[drawn]),
                    given[style_masks] or (),
                    given[start],
                )
                plotted = 0
                for told_now in studio.paint(order, visitor, stops[key]):
                    if isinstance(told_now, Result):
                        yield finished(told_now)
                        continue
                    update = {status: _progress(told_now), live: gr.Image(str(told_now.preview), visible=True)}
                    update |= {compare: gr.ImageSlider(visible=False)}
                    if told_now.done or told_now.step.evaluations >= plotted + 20:
                        plotted = told_now.step.evaluations
                        update[losses] = plots.loss_figure(told_now.curve, 7)
                    yield update
            except (ValueError, ImpastoError) as error:
                yield {status: status_of(str(error), bad=True)}
                raise gr.Error(str(error), title="That cannot be painted", print_exception=False) from error
            finally:
                stops.pop(key, None)

        def finished(result: Result) -> dict[Any, Any]:
            first, second, *masks = map(str, result.files)
            return {
                live: gr.Image(visible=False),
                compare: gr.ImageSlider((str(result.before), first), visible=True),
                png: gr.DownloadButton(value=first, visible=True),
                jpeg: gr.DownloadButton(value=second, visible=True),
                drawn_files: gr.File(masks or None, visible=bool(masks)),
                told: gr.Accordion(visible=True),
                command: result.command,
            }

        def stop(request: gr.Request) -> dict[Any, Any]:
            if event := stops.get(str(request.session_hash)):
                event.set()
            return {halt: gr.Button(interactive=False)}

        def fill(name: str) -> list[Any]:
            options = options_of(StylizeOptions, name)
            return [options.strength, min(options.size or limits.size, limits.size), *form.show(options, fields)]

        asked = {
            photo,
            own,
            chosen,
            strength,
            size,
            way,
            blend,
            paintings,
            style_masks,
            drawn,
            start,
            *fields.values(),
        }
        results = [status, live, compare, png, jpeg, drawn_files, told, command, losses, go, halt]
        private: dict[str, Any] = {"api_visibility": "private"}
        painting = go.click(
            paint,
            asked,
            results,
            concurrency_limit=limits.running,
            concurrency_id="paint",
            show_progress="minimal",
            show_progress_on=status,
            trigger_mode="once",
            **private,
        )
        painting.then(
            lambda: (gr.Button(interactive=True), gr.Button(interactive=False)),
            None,
            [go, halt],
            queue=False,
            **private,
        )
        halt.click(stop, None, [halt], queue=False, **private)
        preset.input(fill, preset, [strength, size, *fields.values()], queue=False, **private)
        gallery.select(choose, None, [chosen, says], queue=False, **private)
        own.upload(lambda: (OWN, _says(OWN)), None, [chosen, says], queue=False, **private)
        own.clear(lambda: (styles[0].name, _says(styles[0].name)), None, [chosen, says], queue=False, **private)
        # In the browser: the photo is there already.
        show_photo = "(photo) => photo ? ({background: photo, layers: [], composite: null}) : null"
        photo.change(None, photo, drawn, js=show_photo, **private)
        explanations.connect(see, studio, visitor_of, stops)
        _program(page, by_name, studio, visitor_of, limits)
    return page


def choose(event: gr.SelectData) -> tuple[str, str]:
    """What was chosen in the gallery, and what is said of it."""
    name = str(event.value["caption"])
    return name, _says(name)


def _program(
    page: gr.Blocks,
    by_name: Mapping[str, Style],
    studio: Studio,
    visitor_of: Callable[[gr.Request], Visitor],
    limits: Limits,
) -> None:
    """The same job for programs: `client.predict(…, api_name="/stylize")`."""
    with gr.Row(visible=False):
        photo, paintings = upload(label="photo"), gr.File(label="paintings", file_count="multiple")
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
        """Repaint a photo: styles by name, or paintings as files; options as the fields of `StylizeOptions`, or for
        the fast way of `FastOptions`."""
        kind: type[StylizeOptions | FastOptions] = FastOptions if fast else StylizeOptions
        try:
            if not photo:
                raise ValueError("there is no photo")
            given = [*(by_name[known(name, by_name, "style")].given for name in styles or ()), *(paintings or ())]
            if not isinstance(options or {}, dict):
                raise ValueError(f"the options are {options!r}; needed is an object of names and values")
            for name in options or ():
                known(name, kind.__dataclass_fields__, "option")
            order = Order(photo, given, kind(**({"size": min(512, limits.size)} | (options or {}))))
            for told in studio.paint(order, visitor_of(request), threading.Event()):
                if isinstance(told, Result):
                    return str(told.files[0]), told.settings
            raise ValueError("nobody waits for this picture any more")
        except (ValueError, TypeError, ImpastoError) as error:
            raise gr.Error(str(error), print_exception=False) from error

    button.click(
        stylize,
        [photo, names, paintings, options, fast],
        [picture, settings],
        api_name="stylize",
        concurrency_limit=limits.running,
        concurrency_id="paint",
    )


def known(name: str, names: Collection[str], what: str) -> str:
    """The name, if it is one of these.

    Raises:
        ValueError: it is not.
    """
    if name not in names:
        raise unknown(what, name, names)
    return name


def masks_of(drawn: Mapping[str, Any] | None) -> dict[str, np.ndarray[Any, np.dtype[np.uint8]]]:
    """What was drawn over the photo, as masks by what goes there: each pixel counts for the nearest brush."""
    layers = [layer for layer in (drawn or {}).get("layers") or () if layer is not None and layer.shape[-1] == 4]
    if not any(layer[..., 3].any() for layer in layers):
        return {}
    layer = layers[0]
    colors = np.array([[int(color[i : i + 2], 16) for i in (1, 3, 5)] for color in BRUSHES])
    nearest = ((layer[..., None, :3].astype(int) - colors) ** 2).sum(-1).argmin(-1)
    masks = {
        goes: np.where(nearest == index, layer[..., 3], 0).astype(np.uint8)
        for index, goes in enumerate(BRUSHES.values())
    }
    return {goes: mask for goes, mask in masks.items() if (mask > 127).any()}


def _says(name: str) -> str:
    return f"Style: **{name}**"


def _progress(now: Progress) -> str:
    step = now.step
    if now.done:
        height, width = step.size
        return status_of(f"{width}×{height} px in {_duration(step.seconds)}{', ' + now.note if now.note else ''}", 1.0)
    if now.sketch:
        return status_of("A sketch of what it will look like; the strokes come now…")
    share = step.seconds / max(step.seconds + step.eta, 1e-9)
    return status_of(
        f"Size {step.scale} of {step.scales}, {step.iteration} of {step.iterations} · about {_duration(step.eta)} left",
        share,
    )


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


STYLE = Path(__file__).with_name("style.css")
