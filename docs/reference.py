"""Generates the reference pages from the program when the site is built: commands, options, Python API."""

import importlib
import inspect
from typing import NamedTuple

import mkdocs_gen_files
import typer.main

from impasto.cli import app
from impasto.presets import KINDS
from impasto.settings.fields import GROUPS, choices_of, default_of, fields_of, text_of


class Page(NamedTuple):
    """A page of the Python reference: its title, what it holds, and the names that it documents, in order of use."""

    title: str
    about: str
    names: tuple[str, ...]


#: Name of the file -> page. Names are those that users import; where they are defined is looked up.
PAGES = {
    "paint": Page(
        "Paint a picture",
        "Repaint a photo, and what comes out.",
        (
            "impasto.stylize",
            "impasto.Picture",
            "impasto.read",
            "impasto.write",
            "impasto.preset",
            "impasto.Painter",
            "impasto.Progress",
            "impasto.iterate",
            "impasto.Step",
            "impasto.Checkpoints",
            "impasto.sheet",
            "impasto.iterate_variations",
            "impasto.texture",
            "impasto.iterate_texture",
            "impasto.reconstruct",
            "impasto.iterate_reconstruction",
        ),
    ),
    "fast": Page(
        "Paint in one pass",
        "Feed-forward networks: a gallery of styles, and paintings that were learnt.",
        (
            "impasto.fast.stylize",
            "impasto.fast.iterate",
            "impasto.fast.load",
            "impasto.fast.save",
            "impasto.fast.Model",
        ),
    ),
    "video": Page(
        "Video",
        "Clips without flicker; needs the extra `video`.",
        (
            "impasto.video.stylize",
            "impasto.video.iterate",
            "impasto.video.StylizedFrame",
            "impasto.video.open_clip",
            "impasto.video.Clip",
        ),
    ),
    "sound": Page(
        "Sound",
        "One sound in the texture of another; needs the extra `audio`.",
        (
            "impasto.audio.stylize",
            "impasto.audio.texture",
            "impasto.audio.Sound",
            "impasto.audio.read",
            "impasto.audio.write",
            "impasto.audio.iterate",
            "impasto.audio.iterate_texture",
        ),
    ),
    "reports": Page(
        "Reports",
        "What the network responds to, and what a style is; some need the extra `explain`.",
        (
            "impasto.explain.representations",
            "impasto.explain.unit_report",
            "impasto.explain.gram_report",
            "impasto.explain.statistics_report",
            "impasto.explain.run_report",
            "impasto.explain.checkpoint_report",
            "impasto.explain.receptive_field",
            "impasto.explain.Report",
        ),
    ),
    "batches": Page(
        "Batches and clusters",
        "Folders of photos and styles; many machines, which needs the extra `cluster`.",
        (
            "impasto.batch.items",
            "impasto.batch.run",
            "impasto.batch.Item",
            "impasto.batch.Outcome",
            "impasto.cluster.connect",
            "impasto.cluster.stylize",
            "impasto.cluster.iterate",
        ),
    ),
    "errors": Page(
        "Errors",
        "What can be raised besides `ValueError` and `TypeError`, which mean wrong arguments.",
        (
            "impasto.ImpastoError",
            "impasto.FileError",
            "impasto.PictureError",
            "impasto.ClipError",
            "impasto.SoundError",
            "impasto.WeightsError",
            "impasto.PresetError",
            "impasto.CheckpointError",
            "impasto.BudgetError",
            "impasto.ExtraError",
            "impasto.ClusterError",
        ),
    ),
    "blocks": Page(
        "Building blocks",
        "The encoder, the statistics, the loss terms and their sum, for experiments of your own.",
        (
            "impasto.vgg.encoder.Encoder",
            "impasto.vgg.encoder.Layer",
            "impasto.vgg.encoder.layers",
            "impasto.losses.objective.Objective",
            "impasto.losses.terms.LossTerm",
            "impasto.losses.terms.ContentLoss",
            "impasto.losses.terms.StyleLoss",
            "impasto.losses.terms.NearestNeighborLoss",
            "impasto.losses.statistics.Statistic",
            "impasto.losses.statistics.Sums",
            "impasto.losses.statistics.gram",
            "impasto.losses.statistics.mean",
            "impasto.losses.statistics.moments",
        ),
    ),
}


def plain(text: str | None) -> str:
    """Text without terminal markup, escaped for Markdown."""
    for mark in ("[dim]", "[/]", "\\["):
        text = (text or "").replace(mark, "[" if mark == "\\[" else "")
    return text.replace("<", "&lt;")


def commands(group, path: str):
    """(path, command) of every command, including those of groups."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


with mkdocs_gen_files.open("reference/commands.md", "w") as page:
    print("# Commands\n\nThe output of `--help` for every command.\n", file=page)
    for path, command in commands(typer.main.get_command(app), "impasto"):
        print(f"## {path}\n", file=page)
        print(plain(command.help) + "\n", file=page)
        arguments = [p for p in command.params if p.param_type_name == "argument"]
        words = [f"{p.name.upper()}{'…' if p.nargs == -1 else ''}" for p in arguments]
        print(f"```text\n{path} {' '.join([*words, '[OPTIONS]'])}\n```\n", file=page)
        for argument in arguments:
            if getattr(argument, "help", None):
                print(f"- `{argument.name.upper()}`: {plain(argument.help)}", file=page)
        panels = {}
        for option in command.params:
            if option.param_type_name == "option" and not option.hidden:
                panels.setdefault(getattr(option, "rich_help_panel", None) or "Options", []).append(option)
        order = {panel: index for index, panel in enumerate(["Options", "Pictures", *GROUPS, "Output"])}
        for panel, options in sorted(panels.items(), key=lambda item: order.get(item[0], len(order))):
            print(f"\n**{panel}**\n", file=page)
            for option in options:
                flags = ", ".join(f"`{flag}`" for flag in [*option.opts, *option.secondary_opts])
                print(f"{flags}\n:   {plain(option.help)}\n", file=page)
        print("", file=page)

with mkdocs_gen_files.open("reference/options.md", "w") as page:
    print(
        "# Options\n\nEach operation has one frozen dataclass of options. Its fields are keywords in Python "
        "(`impasto.stylize(…, style_scale=2)`), flags on the command line (`--style-scale 2`), keys of preset files, "
        "and inputs in the app.\n",
        file=page,
    )
    for operation, kind in KINDS.items():
        print(
            f"## {kind.__name__}\n\n{plain((kind.__doc__ or '').strip())} Command: `impasto {operation}`.\n", file=page
        )
        fields = sorted(fields_of(kind).values(), key=lambda field: GROUPS.index(field.metadata["group"]))
        group = None
        for field in fields:
            if field.metadata["group"] != group:
                group = field.metadata["group"]
                print(f"### {group} {{ #{operation}-{group.lower()} }}\n", file=page)
            about = plain(field.metadata["help"])
            if choices_of(field):
                about += " One of " + ", ".join(f"`{choice}`" for choice in choices_of(field)) + "."
            default = text_of(field, default_of(field))
            if default not in (None, "", []):
                about += f" Default: `{', '.join(default) if isinstance(default, list) else default}`."
            print(f"`{field.name}`\n:   {about}\n", file=page)


def defined(name: str) -> str:
    """The module and name where what users import by this name is defined."""
    module, _, last = name.rpartition(".")
    member = getattr(importlib.import_module(module), last)
    if inspect.isroutine(member) or inspect.isclass(member):
        return f"{member.__module__}.{member.__qualname__}"
    return name


with mkdocs_gen_files.open("reference/python/index.md", "w") as page:
    print(
        "# Python\n\n[Use from Python](../../python.md) shows how the pieces fit together. Options are on a "
        "[page of their own](../options.md).\n",
        file=page,
    )
    for file, (title, about, names) in PAGES.items():
        print(f"## [{title}]({file}.md)\n\n{about}\n", file=page)
        print(", ".join(f"[`{name}`][{defined(name)}]" for name in names) + "\n", file=page)

for file, (title, about, names) in PAGES.items():
    with mkdocs_gen_files.open(f"reference/python/{file}.md", "w") as page:
        print(f"# {title}\n\n{about}\n", file=page)
        for name in names:
            print(f"::: {defined(name)}\n    options:\n      heading: {name}\n      toc_label: {name}\n", file=page)
