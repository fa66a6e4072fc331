"""The way to a Ray cluster, and its workers."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# Nobody is told that it is used; and GPUs are handed out by us, not hidden from who asked for none.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
os.environ.setdefault("RAY_IGNORE_UNHANDLED_ERRORS", "1")  # of what nobody waits for; we see the others
# Clusters ask for a token where there is one; Ray must know that when it is imported, or never.
if "ray" not in sys.modules and (
    "RAY_AUTH_TOKEN" in os.environ or os.path.isfile(os.path.expanduser("~/.ray/auth_token"))
):
    os.environ.setdefault("RAY_AUTH_MODE", "token")

import ray
import ray.exceptions
from ray._private import ray_constants

from impasto import devices
from impasto.errors import ClusterError

#: Where a cluster of our own listens: on this machine alone.
LOOPBACK = "127.0.0.1"
#: What a worker does before anything else: layers come and go by the hundred megabytes there.
SET_UP = {"worker_process_setup_hook": "impasto.allocator.tame"}
#: How often Ray begins a call again whose worker or node was lost.
RETRIES = 5


def connect(address: str = "auto") -> None:
    """Join a Ray cluster; with `auto` the one that this machine is in, or else begin one on this machine alone.

    One that is begun here listens on the loopback address only, wants a token of everybody who speaks to it, has no
    dashboard, and ends with this process.

    Raises:
        ClusterError: there is none at this address.
    """
    if ray.is_initialized():
        return
    quiet: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False, "runtime_env": SET_UP}
    found = _current() if address == "auto" else address
    if found is None:
        try:
            with _closed(), _kept_handlers():
                ray.init("local", num_cpus=devices.cores(), include_dashboard=False, _node_ip_address=LOOPBACK, **quiet)
        except (RuntimeError, OSError) as error:  # it keeps its token in the home folder
            reason = " ".join(str(error).split())
            raise ClusterError(
                f"Ray cannot begin a cluster here ({reason}); it needs a folder HOME to write to"
            ) from error
        return
    advice = "begin one with 'ray start --head', or give --cluster auto for one on this machine"
    if not _answers(found):
        raise ClusterError(f"nothing answers at {found}; {advice}")
    try:
        with _kept_handlers():
            ray.init(found, **quiet)
    except Exception as error:  # of many kinds, Ray's own among them
        reason = " ".join(str(error).split())
        raise ClusterError(f"there is no Ray cluster at {found} that takes us in ({reason}); {advice}") from error


@contextmanager
def _kept_handlers() -> Iterator[None]:
    """Ray would end the process at SIGTERM, whatever the program does then; it cleans up when the interpreter exits."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGBREAK") if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _closed() -> Iterator[None]:
    """A cluster that begins here keeps to the loopback address: Ray would move it to one that others reach."""
    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False  # "to prevent firewall popups" on desktops, as its source has it
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


def _current() -> str | None:
    """The address of the cluster that this machine is in, if it is still there."""
    note = Path(tempfile.gettempdir()) / "ray" / "ray_current_cluster"
    found = os.environ.get("RAY_ADDRESS") or (note.read_text().strip() if note.is_file() else "")
    return found if found and _answers(found) else None


def _answers(address: str) -> bool:
    """Whether anything listens there: to find out by Ray takes minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=3):
            return True
    except (OSError, ValueError):
        return False


def disconnect() -> None:
    """Leave the cluster; one that was begun here ends."""
    ray.shutdown()


class Workers:
    """The cluster's cores as a pool, see `impasto.batch.pools.Pool`; where it has GPUs, these."""

    shares_files = False

    def __init__(self, threads: int = 1) -> None:
        """Each call is given so many cores."""
        self.lost: tuple[type[BaseException], ...] = (
            ray.exceptions.WorkerCrashedError,
            ray.exceptions.NodeDiedError,
            ray.exceptions.ObjectLostError,
            ray.exceptions.OutOfMemoryError,
        )
        self._threads = threads
        self._calls: dict[Callable[..., Any], Any] = {}
        self._under_way: set[Any] = set()

    @property
    def capacity(self) -> int:
        """One call more than there are cores for: the next is there when one is done."""
        resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        return int(resources.get("GPU", 0) or resources.get("CPU", 1) // self._threads) + 1

    def share(self, value: Any) -> Any:
        """Something that many calls need, put where all nodes can have it."""
        return ray.put(value)

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Call a function on some worker; Ray begins it again elsewhere if that is lost."""
        if function not in self._calls:
            gpus = 1 if ray.cluster_resources().get("GPU") else 0  # type: ignore[no-untyped-call]
            self._calls[function] = ray.remote(num_cpus=self._threads, num_gpus=gpus, max_retries=RETRIES)(function)
        call = self._calls[function].remote(*arguments)
        self._under_way.add(call)
        result: Future[Any] = Future()

        def done(found: Future[Any]) -> None:
            self._under_way.discard(call)
            error = found.exception()
            if error is None:
                result.set_result(found.result())
            else:  # what the function raised, without what Ray has to say of it
                result.set_exception(getattr(error, "cause", None) or error)

        call.future().add_done_callback(done)
        return result

    def close(self) -> None:
        """End what is under way."""
        for call in list(self._under_way):
            ray.cancel(call, force=True)
