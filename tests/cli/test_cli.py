"""The program as a whole: help texts, errors in a process of its own, startup time."""

import subprocess
import sys

import typer.main

from impasto import cli


def test_help(run):
    for arguments in (
        ["--help"],
        ["stylize", "--help"],
        ["weights", "--help"],
        ["demo", "--help"],
        ["fast", "--help"],
        ["train", "--help"],
        ["export", "--help"],
    ):
        code, out, _ = run(*arguments)
        assert code == 0
        assert "Usage" in out
    code, out, _ = run("stylize", "--help")
    for word in ("--strength", "Objective", "Optimiser", "--time-budget", "Ctrl-C"):
        assert word in out


def test_an_error_in_a_process_of_its_own(picture):
    result = subprocess.run(
        [sys.executable, "-m", "impasto", "stylize", picture, "none.jpg", "-o", "o.png"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2
    assert result.stderr.strip() == "impasto: no such file: none.jpg (the style)"


def commands(group, path=()):
    """(path, command) of every command and group."""
    for name, command in group.commands.items():
        yield (*path, name), command
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))


def test_every_help_text_is_a_sentence():
    for path, command in commands(typer.main.get_command(cli.app)):
        first, *_ = command.help.split("\n\n")
        assert first.endswith((".", ").")), path
        for parameter in command.params:
            about, *_ = parameter.help.split(" [dim]")  # the default follows
            assert about.endswith((".", ").")), (path, parameter.name)


def test_no_arguments_is_help(run):
    code, out, err = run()
    assert code == 2
    assert "stylize" in out + err


def test_startup_imports_nothing_heavy():
    code = "import sys, impasto.cli; print([m for m in ('torch', 'numpy', 'pyvips', 'scipy') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"
