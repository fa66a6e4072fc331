"""`impasto batch`: many photos in many styles."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from impasto.cli import signals
from impasto.cli.display import count_bar, err, out, set_up_logging
from impasto.cli.fast import learn_ahead
from impasto.cli.flags import Bits, Cluster, Quiet, StorePaths, json_flag, output_flag
from impasto.cli.parameters import with_options
from impasto.errors import ImpastoError
from impasto.progress import duration
from impasto.settings.options import BatchOptions

if TYPE_CHECKING:
    from impasto.batch import Outcome
    from impasto.batch.pools import Pool


def register(app: typer.Typer) -> None:
    app.command()(with_options(BatchOptions)(batch))


def batch(
    photos: Annotated[str, typer.Argument(help="The photos: a folder, searched with its subfolders, or a file.")],
    styles: Annotated[list[str], typer.Argument(help="The paintings: folders, files, or names from 'impasto styles'.")],
    options: BatchOptions,
    folder: Annotated[Path, output_flag("Folder for the results.")],
    suffix: Annotated[
        str,
        typer.Option("--format", help="File format of the results: png, jpg, webp or tif.", rich_help_panel="Output"),
    ] = "png",
    bits: Bits = 8,
    cluster: Cluster = None,
    as_json: Annotated[bool, json_flag("picture")] = False,
    store_paths: StorePaths = False,
    quiet: Quiet = False,
) -> int:
    """Repaint every photo of PHOTOS in the style of every painting of STYLES.

    Each result is named after both, and manifest.jsonl in the output folder records how it was made. Results that are
    up to date are skipped, so run the same command again to continue after Ctrl-C, or after adding files. A file that
    cannot be read is reported, and the others are still processed.
    """
    set_up_logging(quiet)
    from impasto.batch import items, run

    work = items([photos], styles, "." + suffix.removeprefix("."), folder)
    pool: Pool | None = None
    if cluster is not None:
        import impasto.cluster

        impasto.cluster.connect(cluster)
        pool = impasto.cluster.Workers(options.threads or 1)
    counts = {"done": 0, "skipped": 0, "failed": 0}
    last: Outcome | None = None
    outcomes = run(work, folder, options, bits, pool, store_paths)
    if options.fast:
        for style in sorted({item.style for item in work}):
            with suppress(ImpastoError):  # reported with the pictures in this style
                learn_ahead([style], options.fast_options, quiet or as_json)
    interrupted = False
    try:
        with count_bar(quiet or as_json) as bar:
            task = bar.add_task("preparing", total=len(work), left="")
            for last in outcomes:
                counts[last.status] += 1
                if as_json:
                    out.print(json.dumps(_report(last)), markup=False)
                elif last.status == "failed":
                    err.print(f"{last.item.name}: {last.error}", style="red", markup=False)
                done = counts["done"]
                pace = f"{60 * done / last.seconds:.3g} a minute, " if done and last.seconds else ""
                bar.update(
                    task,
                    completed=last.number,
                    description=f"{last.number}/{last.count}",
                    left=f"{pace}{duration(last.eta)} left",
                )
                signals.check()
    except KeyboardInterrupt:
        interrupted = True
    finally:
        with signals.deferred():
            outcomes.close()  # type: ignore[attr-defined]
            if pool is not None:
                pool.close()
    if interrupted:
        finished = f"{sum(counts.values())} of {len(work)}"
        err.print(f"impasto: interrupted after {finished}; run the same command again to continue", markup=False)
        return signals.exit_code()
    seconds = 0.0 if last is None else last.seconds
    if as_json:
        summary = {"event": "done", "output": str(folder), "seconds": round(seconds, 3), **counts}
        out.print(json.dumps(summary), markup=False)
    elif not quiet:
        parts = [f"{counts['done']} made"]
        parts += [f"{counts['skipped']} already up to date"] if counts["skipped"] else []
        parts += [f"{counts['failed']} failed (see {folder / 'manifest.jsonl'})"] if counts["failed"] else []
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
