"""`impasto batch`: many photos in many styles."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from impasto.cli.display import count_bar, duration, err, out, set_up_logging
from impasto.cli.parameters import with_options
from impasto.cli.render import AS_JSON, BITS, CLUSTER, QUIET
from impasto.settings.options import BatchOptions

if TYPE_CHECKING:
    from impasto.batch import Outcome
    from impasto.batch.pools import Pool


def register(app: typer.Typer) -> None:
    """Add this command to the command line."""
    app.command(no_args_is_help=True)(with_options(BatchOptions)(batch))


def batch(
    photos: Annotated[Path, typer.Argument(help="The photos: a folder, with what is below it, or a file.")],
    styles: Annotated[list[str], typer.Argument(help="The paintings: folders, files, or names of 'impasto styles'.")],
    options: BatchOptions,
    folder: Annotated[Path, typer.Option("--output", "-o", help="Folder for the results.", rich_help_panel="Output")],
    suffix: Annotated[
        str,
        typer.Option("--format", help="Of the results: png, jpg, webp or tif.", rich_help_panel="Output"),
    ] = "png",
    bits: BITS = 8,
    cluster: CLUSTER = None,
    as_json: AS_JSON = False,
    quiet: QUIET = False,
) -> int:
    """Repaint every photo of PHOTOS in the manner of every painting of STYLES.

    The results are called after both, and manifest.jsonl in their folder says how each was made. What is there
    already is left as it is: the same command goes on after Ctrl-C, or with what is new. A file that cannot be read
    is noted, and the rest goes on.
    """
    set_up_logging(quiet)
    from impasto.batch import items, run

    todo = items([str(photos)], styles, "." + suffix.removeprefix("."))
    pool: Pool | None = None
    if cluster is not None:
        from impasto import cluster as many

        many.connect(cluster)
        pool = many.Workers(options.threads or 1)
    counts = {"done": 0, "there": 0, "failed": 0}
    last: Outcome | None = None
    outcomes = run(todo, folder, options, bits, pool)
    interrupted = False
    try:
        with count_bar(quiet or as_json) as bar:
            task = bar.add_task("getting ready", total=len(todo), left="")
            for last in outcomes:
                counts[last.status] += 1
                if as_json:
                    out.print(json.dumps(_report(last)), markup=False)
                elif last.status == "failed":
                    err.print(f"{last.item.name}: {last.error}", style="red", markup=False)
                made = counts["done"]
                pace = f"{60 * made / last.seconds:.3g} a minute, " if made and last.seconds else ""
                bar.update(
                    task,
                    completed=last.number,
                    description=f"{last.number}/{last.count}",
                    left=f"{pace}{duration(last.eta)} left",
                )
    except KeyboardInterrupt:
        outcomes.close()  # type: ignore[attr-defined]
        interrupted = True
    finally:
        if pool is not None:
            pool.close()
    seconds = 0.0 if last is None else last.seconds
    parts = [f"{counts['done']} made"]
    parts += [f"{counts['there']} were there"] if counts["there"] else []
    parts += [f"{counts['failed']} failed: see {folder / 'manifest.jsonl'}"] if counts["failed"] else []
    if interrupted:
        err.print(
            f"impasto: interrupted after {sum(counts.values())} of {len(todo)}; the same command goes on",
            markup=False,
        )
        return 130
    if as_json:
        out.print(
            json.dumps({"event": "done", "output": str(folder), "seconds": round(seconds, 3), **counts}), markup=False
        )
    elif not quiet:
        out.print(f"{folder}  {', '.join(parts)}, in {duration(seconds)}", markup=False)
    return 1 if counts["failed"] else 0


def _report(outcome: Outcome) -> dict[str, Any]:
    return {
        "event": outcome.status,
        "output": outcome.item.name,
        "photo": outcome.item.photo,
        "style": outcome.item.style,
        "error": outcome.error,
        "number": outcome.number,
        "count": outcome.count,
        "seconds": round(outcome.seconds, 3),
        "eta": round(outcome.eta, 3),
    }
