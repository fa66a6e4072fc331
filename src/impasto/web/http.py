"""The HTTP interface for programs and other pages, under `/api`: jobs that are begun, followed and stopped.

    GET    /api/styles             the styles on offer, with thumbnails
    GET    /api/limits             what the server allows
    POST   /api/jobs               begin a job: multipart with `photo`, `styles`, `paintings`, `options`, `operation`
    GET    /api/jobs               the visitor's jobs
    GET    /api/jobs/ID            the state of one
    GET    /api/jobs/ID/events     its states, as they change, as server-sent events
    GET    /api/jobs/ID/preview    the picture so far, a JPEG
    GET    /api/jobs/ID/picture.png, picture.jpg, before.jpg    the result
    DELETE /api/jobs/ID            stop it; the picture so far is the result

Errors are JSON: `{"error": "a sentence"}`.
"""

from __future__ import annotations

import base64
import json
import re
import secrets
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import fastapi
from fastapi import Request
from fastapi.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.datastructures import UploadFile

from impasto.errors import ImpastoError
from impasto.settings.fields import unknown
from impasto.web.api import job_request, sources_of
from impasto.web.gallery import GalleryStyle
from impasto.web.jobs import JobProgress, JobResult
from impasto.web.runner import JobRunner
from impasto.web.tasks import HEARTBEAT, QueueFullError, Snapshot, Task, Tasks
from impasto.web.visitors import Visitor, Visitors

#: The kind of tasks that are begun here, and the others that make pictures, which can be listed and stopped here, too.
KIND, KINDS = "http", ("http", "fine", "api")
OPERATIONS = ("stylize", "fast")
#: Name in the address -> index of the file of a result.
PICTURES = {"picture.png": 0, "picture.jpg": 1}
#: Seconds between two looks at a job that is followed.
POLL_INTERVAL = 0.1
#: What Windows allows in no name, and the names of its devices.
_FORBIDDEN = re.compile(r'[<>:"|?*]')
_DEVICE = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])\s*(\.|$)", re.IGNORECASE)


def add_routes(
    app: fastapi.FastAPI,
    styles: Sequence[GalleryStyle],
    runner: JobRunner,
    visitors: Visitors,
    tasks: Tasks,
    prefix: str = "/api",
) -> None:
    """Add the routes to an app whose requests name their visitors, see `VisitorMiddleware`."""
    sources, limits = sources_of({style.name: style for style in styles}), runner.limits

    @app.get(f"{prefix}/styles")
    def list_styles() -> list[dict[str, str]]:
        return [
            {"name": style.name, "painter": style.painter, "thumbnail": f"{prefix}/styles/{number}.jpg"}
            for number, style in enumerate(styles)
        ]

    @app.get(prefix + "/styles/{number}.jpg")
    def thumbnail(number: int) -> Response:
        return FileResponse(styles[number].thumbnail) if 0 <= number < len(styles) else _error(404, "no such style")

    @app.get(f"{prefix}/limits")
    def show_limits() -> dict[str, Any]:
        return asdict(limits)

    @app.post(f"{prefix}/jobs", status_code=202)
    async def begin(request: Request) -> Response:
        visitor = visitors.of(request.headers)
        if not _is_same_origin(request):
            return _error(403, "requests from pages of other hosts are refused")
        size = int(request.headers["content-length"])  # see `VisitorMiddleware`
        if size > (1 + limits.styles) * limits.upload:
            return _error(413, f"the request has {size / 1e6:.0f} MB; files may have {limits.upload / 1e6:.0f} MB each")
        try:
            async with request.form() as form:
                photos = await _kept(form.getlist("photo"), visitor, limits.upload)
                paintings = await _kept(form.getlist("paintings"), visitor, limits.upload)
                found = {name: form.get(name) for name in ("styles", "options", "operation")}
            if found["operation"] not in (None, *OPERATIONS):
                raise ValueError(unknown("operation", found["operation"], OPERATIONS))
            job = job_request(
                next(iter(photos), None),
                _json("styles", found["styles"], []),
                paintings,
                _json("options", found["options"], {}),
                found["operation"] == "fast",
                sources,
                limits,
            )
            await anyio.to_thread.run_sync(runner.check, job)
            task = tasks.submit(visitor, KIND, lambda stop: runner.run(job, visitor, stop))
        except QueueFullError as error:
            return _error(429, str(error))
        except (ValueError, TypeError, ImpastoError) as error:
            return _error(400, str(error))
        return JSONResponse(_state(task, tasks.snapshot(task), prefix), 202)

    def task_of(request: Request, name: str) -> Task | None:
        own = (task for task in visitors.of(request.headers).tasks if task.kind in KINDS)
        return next((task for task in own if task.id == name), None)

    @app.get(f"{prefix}/jobs")
    def list_jobs(request: Request) -> list[dict[str, Any]]:
        own = [task for task in visitors.of(request.headers).tasks if task.kind in KINDS]
        return [_state(task, tasks.snapshot(task), prefix) for task in own]

    @app.get(prefix + "/jobs/{name}")
    def show(request: Request, name: str) -> Response:
        task = task_of(request, name)
        return _no_job() if task is None else JSONResponse(_state(task, tasks.snapshot(task), prefix))

    @app.get(prefix + "/jobs/{name}/events")
    def events(request: Request, name: str) -> Response:
        task = task_of(request, name)
        if task is None:
            return _no_job()
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        return StreamingResponse(_events(task, tasks, prefix), media_type="text/event-stream", headers=headers)

    @app.get(prefix + "/jobs/{name}/{file}")
    def picture(request: Request, name: str, file: str) -> Response:
        task = task_of(request, name)
        path = None if task is None else _file(task, file)
        return FileResponse(path) if path is not None and path.is_file() else _error(404, "there is no such picture")

    @app.delete(prefix + "/jobs/{name}")
    def stop(request: Request, name: str) -> Response:
        if not _is_same_origin(request):
            return _error(403, "requests from pages of other hosts are refused")
        task = task_of(request, name)
        if task is None:
            return _no_job()
        tasks.stop(task)
        return JSONResponse(_state(task, tasks.snapshot(task), prefix))


async def _events(task: Task, tasks: Tasks, prefix: str) -> AsyncIterator[str]:
    """The states of a task as server-sent events: now, whenever it changes, and every `HEARTBEAT` seconds.

    No thread waits for them, unlike in `Tasks.follow`: the threads are there for the other requests.
    """
    while True:
        version, begun = task.version, time.monotonic()
        snapshot = tasks.snapshot(task)
        yield f"data: {json.dumps(_state(task, snapshot, prefix))}\n\n"
        if snapshot.is_over:
            return
        while task.version == version and time.monotonic() - begun < HEARTBEAT:
            await anyio.sleep(POLL_INTERVAL)


def _state(task: Task, snapshot: Snapshot, prefix: str) -> dict[str, Any]:
    """A task for programs."""
    address = f"{prefix}/jobs/{task.id}"
    state: dict[str, Any] = {"id": task.id, "status": snapshot.status, "created": round(task.created, 3)}
    if snapshot.position:
        state["position"] = snapshot.position
    for report in snapshot.reports:
        if isinstance(report, JobProgress):
            width, height = report.size
            state |= {
                "fraction": round(report.fraction, 4),
                "eta": round(report.eta, 1),
                "seconds": round(report.seconds, 1),
                "scale": report.scale,
                "iteration": report.iteration,
                "width": width,
                "height": height,
                "preview": f"{address}/preview?{report.preview.stem[:8]}",
            } | ({"note": report.note} if report.note else {})
        elif isinstance(report, JobResult):
            state |= {
                "fraction": 1.0,
                "eta": 0.0,
                "picture": f"{address}/picture.png",
                "jpeg": f"{address}/picture.jpg",
                "before": f"{address}/before.jpg",
                "settings": report.settings,
                "command": report.command,
            }
    if snapshot.error is not None:
        state["error"] = snapshot.error
    return state


def _file(task: Task, name: str) -> Path | None:
    """A picture of a task; None if there is none of this name, or not yet."""
    for _, report in task.reports.values():
        if isinstance(report, JobProgress) and name == "preview":
            return report.preview
        if isinstance(report, JobResult):
            if name == "before.jpg":
                return report.before
            if name in PICTURES:
                return report.files[PICTURES[name]]
    return None


async def _kept(files: Sequence[Any], visitor: Visitor, limit: int) -> list[str]:
    """The paths of copies of uploaded files, each in a folder of its own, under its own name.

    Raises:
        ValueError: one is larger than `limit` bytes.
    """
    paths = []
    for file in files:
        if not isinstance(file, UploadFile) or not file.filename:
            continue
        content = await file.read(limit + 1)
        name = _file_name(file.filename)
        if len(content) > limit:
            raise ValueError(f"{name} is larger than {limit / 1e6:.0f} MB, the limit here")
        path = visitor.new_folder() / name
        await anyio.to_thread.run_sync(path.write_bytes, content)
        visitor.uploads[path] = len(content)
        paths.append(str(path))
    return paths


def _file_name(given: str) -> str:
    """The name of an uploaded file, without folders, as every system takes it."""
    letters = given.replace("\\", "/").rpartition("/")[2]
    allowed = _FORBIDDEN.sub("_", "".join(letter for letter in letters if letter.isprintable())).rstrip(". ")
    name = allowed.encode()[-120:].decode(errors="ignore").lstrip(". ") or "picture"
    return f"_{name}" if _DEVICE.match(name) else name


def _json(name: str, text: Any, default: Any) -> Any:
    """A field of a form that holds JSON.

    Raises:
        ValueError: it does not, or its value is of another type than the default.
    """
    try:
        value = default if text in (None, "") else json.loads(text)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{name} is no JSON: {error}") from error
    if not isinstance(value, type(default)):
        raise ValueError(
            f"{name} is {text!r}; expected {'a list' if isinstance(default, list) else 'an object'} in JSON"
        )
    return value


def _is_same_origin(request: Request) -> bool:
    """Whether no page of another host has sent a request that changes something: browsers say which page does.

    Over HTTPS and to their own machine they say so by `sec-fetch-site`, which holds behind a proxy, too, that sends
    another `host` than theirs.
    """
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = request.headers.get("origin")
    return origin is None or origin.partition("://")[2] == request.headers.get("host")


def _no_job() -> Response:
    return _error(404, "you have no such job")


def _error(status: int, text: str) -> Response:
    return JSONResponse({"error": text}, status)


def require_password(
    app: fastapi.FastAPI, auth: tuple[str, str], prefixes: tuple[str, ...] = ("/api/", "/paint/")
) -> None:
    """Refuse requests to the routes that do not carry this name and password, by HTTP's basic authentication."""
    expected = "Basic " + base64.b64encode(":".join(auth).encode()).decode()

    @app.middleware("http")
    async def check(request: Request, call_next: Any) -> Any:
        given = request.headers.get("authorization", "")
        if request.scope["path"].startswith(prefixes) and not secrets.compare_digest(given.encode(), expected.encode()):
            headers: Mapping[str, str] = {"www-authenticate": 'Basic realm="impasto"'}
            return JSONResponse({"error": "this server needs a name and a password"}, 401, headers=headers)
        return await call_next(request)
