"""Generates the reference pages from the program when the site is built: commands, options, Python API."""

import dataclasses

import mkdocs_gen_files
import typer.main

import impasto
from impasto.cli import app
from impasto.presets import KINDS
from impasto.settings.fields import GROUPS, choices_of, default_of, fields_of, flag_of, text_of

#: Module -> its documented names, beside those of `impasto` itself.
MODULES = {
    "impasto.fast": ("stylize", "iterate"),
    "impasto.video": ("iterate",),
    "impasto.audio": ("stylize", "texture", "iterate", "iterate_texture", "read", "write", "Sound"),
    "impasto.explain": (
        "representations",
        "unit_report",
        "gram_report",
        "statistics_report",
        "run_report",
        "checkpoint_report",
        "receptive_field",
        "Report",
    ),
    "impasto.batch": ("items", "run", "Item", "Outcome"),
    "impasto.cluster": ("connect", "stylize", "iterate"),
    "impasto.vgg.encoder": ("Encoder", "Layer", "layers"),
    "impasto.losses.statistics": ("Statistic", "Sums", "gram", "mean", "moments"),
    "impasto.losses.terms": ("LossTerm", "ContentLoss", "StyleLoss", "NearestNeighborLoss"),
    "impasto.losses.objective": ("Objective",),
}


def plain(text: str | None) -> str:
    """Text without terminal markup, escaped for Markdown tables."""
    for mark in ("[dim]", "[/]", "\\["):
        text = (text or "").replace(mark, "[" if mark == "\\[" else "")
    return text.replace("|", "\\|").replace("<", "&lt;")


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
            print(f"\n**{panel}**\n\n| | |\n|---|---|", file=page)
            for option in options:
                flags = ", ".join(f"`{flag}`" for flag in [*option.opts, *option.secondary_opts])
                print(f"| {flags} | {plain(option.help)} |", file=page)
        print("", file=page)

with mkdocs_gen_files.open("reference/options.md", "w") as page:
    print(
        "# Options\n\nOne frozen dataclass per operation. Its fields are flags on the command line, keys of preset "
        "files, and inputs in the app.\n",
        file=page,
    )
    for operation, kind in KINDS.items():
        print(
            f"## {kind.__name__}\n\n{plain((kind.__doc__ or '').strip())} Command: `impasto {operation}`.\n", file=page
        )
        fields = list(fields_of(kind).values())
        print("| field | flag | default | |\n|---|---|---|---|", file=page)
        for field in sorted(fields, key=lambda field: GROUPS.index(field.metadata["group"])):
            default = default_of(field)
            shown = text_of(field, default) or ""
            about = plain(field.metadata["help"])
            if choices_of(field):
                about += " One of " + ", ".join(f"`{choice}`" for choice in choices_of(field)) + "."
            print(f"| `{field.name}` | `{flag_of(field)}` | {plain(str(shown))} | {about} |", file=page)
        print("", file=page)

with mkdocs_gen_files.open("reference/python.md", "w") as page:
    print("# Python\n\n## impasto\n", file=page)
    for name in impasto.__all__:
        member = getattr(impasto, name)
        if dataclasses.is_dataclass(member) and name.endswith("Options"):
            continue  # on the page of options
        if getattr(member, "__doc__", None) and hasattr(member, "__module__") and callable(member):
            print(f"::: {member.__module__}.{member.__name__}\n", file=page)
    for module, names in MODULES.items():
        print(f"## {module}\n", file=page)
        for name in names:
            print(f"::: {module}.{name}\n", file=page)
