"""Connecting to a Ray cluster, and its workers."""

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
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from impasto import devices
from impasto.errors import ClusterError
from impasto.isolation import environment


def _token_mode() -> dict[str, str]:
    """Clusters are authenticated by a token where there is one, which Ray must know when it is imported."""
    has_file = os.path.isfile(os.path.expanduser("~/.ray/auth_token"))  # Path.home() fails where there is no home
    return {"RAY_AUTH_MODE": "token"} if "RAY_AUTH_TOKEN" in os.environ or has_file else {}


#: For Ray and the processes that it starts: no usage statistics, and GPUs are assigned by us.
RAY_VARIABLES = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}

with environment(**RAY_VARIABLES, **({} if "ray" in sys.modules else _token_mode())):
    import ray
    import ray.exceptions
    from ray._private import ray_constants

#: The address that a cluster started here listens on.
LOOPBACK = "127.0.0.1"
#: What a worker process runs first: layers of hundreds of megabytes are allocated and freed there.
RUNTIME = {"worker_process_setup_hook": "impasto.allocator.tame"}
#: How often Ray repeats a call whose worker or node was lost.
RETRIES = 5
#: What Ray raises where a worker, or something that only it had, is lost.
LOST = (
    ray.exceptions.RayActorError,
    ray.exceptions.WorkerCrashedError,
    ray.exceptions.NodeDiedError,
    ray.exceptions.LocalRayletDiedError,
    ray.exceptions.ObjectLostError,
    ray.exceptions.OutOfMemoryError,
)
#: What to tell the user where lost workers cannot be replaced.
ROWS_LOST = (
    "too many workers were lost at once, and rows of the picture with them; the same command with --resume resumes "
    "from the last checkpoint, if there is one"
)

#: The environment while this process is connected; see `connect`.
_connected = ExitStack()


@contextmanager
def reporting_errors(lost: str | None = None) -> Iterator[None]:
    """Turns errors of Ray itself into a `ClusterError`; what a function raised on a worker stays as it is.

    Args:
        lost: what to tell the user where a worker is lost; by default what Ray says.
    """
    try:
        yield
    except LOST as error:
        raise _failure(error) if lost is None else ClusterError(lost) from error
    except ray.exceptions.RayTaskError:
        raise
    except ray.exceptions.RayError as error:
        raise _failure(error) from error


def _failure(error: BaseException) -> ClusterError:
    return ClusterError(f"the cluster failed ({' '.join(str(error).split())})")


def connect(address: str = "auto") -> None:
    """Join a Ray cluster; with `auto` the one that this machine is in, or else start one on this machine.

    A cluster that is started here listens on the loopback address only, requires a token of every client, has no
    dashboard, and ends with this process. Until `disconnect`, an environment variable keeps Ray from logging errors of
    calls whose results are not awaited.

    Raises:
        ClusterError: there is no cluster at this address.
    """
    if ray.is_initialized():
        return
    quiet: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False, "runtime_env": RUNTIME}
    found = _current() if address == "auto" else address
    advice = "start one with 'ray start --head', or give --cluster auto for one on this machine"
    with environment(**RAY_VARIABLES, **_token_mode()), _kept_handlers():
        if found is None:
            try:
                with _loopback_only():
                    ray.init(
                        "local", num_cpus=devices.cores(), include_dashboard=False, _node_ip_address=LOOPBACK, **quiet
                    )
            except Exception as error:  # of many kinds; it keeps its token in the home folder, for one
                reason = " ".join(str(error).split())
                raise ClusterError(
                    f"Ray cannot start a cluster here ({reason}); it needs a folder HOME to write to"
                ) from error
        elif not _answers(found):
            raise ClusterError(f"nothing answers at {found}; {advice}")
        else:
            try:
                ray.init(found, **quiet)
            except Exception as error:  # of many kinds, Ray's own among them
                reason = " ".join(str(error).split())
                raise ClusterError(f"cannot join a Ray cluster at {found} ({reason}); {advice}") from error
    _connected.enter_context(environment(RAY_IGNORE_UNHANDLED_ERRORS="1"))


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
def _loopback_only() -> Iterator[None]:
    """Keeps a new cluster on the loopback address, which Ray would replace by one that others reach."""
    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False  # "to prevent firewall popups" on desktops, as its source has it
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


def _current() -> str | None:
    """The address of the cluster that this machine is in, if it is still running."""
    note = Path(tempfile.gettempdir()) / "ray" / "ray_current_cluster"
    found = os.environ.get("RAY_ADDRESS") or (note.read_text().strip() if note.is_file() else "")
    return found if found and _answers(found) else None


def _answers(address: str) -> bool:
    """Whether anything listens there. Ray itself takes minutes to find out."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=3):
            return True
    except (OSError, ValueError):
        return False


def disconnect() -> None:
    """Leave the cluster; one that was started here ends."""
    ray.shutdown()
    _connected.close()


class Workers:
    """The cluster's cores as a pool, see `impasto.batch.pools.Pool`; where it has GPUs, these."""

    shares_files = False

    def __init__(self, threads: int = 1) -> None:
        """Each call gets `threads` cores."""
        self.lost = LOST
        self._threads = threads
        self._calls: dict[Callable[..., Any], Any] = {}
        self._running: set[Any] = set()

    @property
    @reporting_errors()
    def capacity(self) -> int:
        """One call more than there are cores for, so that the next one is ready when a core is."""
        resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        return int(resources.get("GPU", 0) or resources.get("CPU", 1) // self._threads) + 1

    @reporting_errors()
    def share(self, value: Any) -> Any:
        """A reference to a value that many calls need, which all nodes can fetch."""
        return ray.put(value)

    @reporting_errors()
    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Call a function on some worker; if the worker is lost, Ray calls it again on another."""
        if function not in self._calls:
            gpus = 1 if ray.cluster_resources().get("GPU") else 0  # type: ignore[no-untyped-call]
            self._calls[function] = ray.remote(num_cpus=self._threads, num_gpus=gpus, max_retries=RETRIES)(function)
        call = self._calls[function].remote(*arguments)
        self._running.add(call)
        result: Future[Any] = Future()

        def done(found: Future[Any]) -> None:
            self._running.discard(call)
            error = found.exception()
            if error is None:
                result.set_result(found.result())
            elif isinstance(error, ray.exceptions.RayTaskError):  # what the function raised, without Ray's wrapping
                result.set_exception(error.cause)
            else:
                result.set_exception(error if isinstance(error, LOST) else _failure(error))

        call.future().add_done_callback(done)
        return result

    def close(self) -> None:
        """Cancel the calls that are running."""
        for call in list(self._running):
            with suppress(ray.exceptions.RayError):
                ray.cancel(call, force=True)
