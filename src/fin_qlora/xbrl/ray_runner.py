"""Runs the parts of a build on a Ray cluster: many machines, or workers that Ray starts here."""

from __future__ import annotations

import importlib.util
import logging
import os
import platform
import re
import socket
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from .. import __version__
from ..errors import EnvironmentFault, MissingDependencyError, UsageError

Job = TypeVar("Job")
Result = TypeVar("Result")

_JOBS_FOR_ONE_WORKER = 50  # as with processes: a fresh one gives back what its parser kept
_OBJECT_STORE_BYTES = 128 * 2**20  # only names of parts travel; Ray would take a third of memory
_LOOPBACK = "127.0.0.1"
# on Linux too it is what keeps Ray from putting the machine's own address in place of the loopback
_ONE_MACHINE = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
_SECONDS_TO_CONNECT = 10.0
_ADDRESS = re.compile(r"([\w.-]+|\[[0-9a-fA-F:]+\]):\d{1,5}")


def require_ray(address: str | None) -> None:
    """Raise MissingDependencyError without Ray, UsageError for an address not of its form."""
    if address is not None and not _ADDRESS.fullmatch(address):
        raise UsageError(
            f"The address of the Ray cluster is '{address}', not HOST:PORT.",
            fix="Give the address that 'ray start --head' printed.",
        )
    if importlib.util.find_spec("ray") is None:
        raise MissingDependencyError(
            "The runner 'ray' needs Ray, which is not installed.",
            fix="Install it with: pip install 'fin-qlora[ray]'",
        )


def run_on_ray(
    function: Callable[[Job], Result],
    jobs: Sequence[Job],
    *,
    workers: int | None,
    address: str | None,
    folders: Sequence[Path],
) -> Iterator[tuple[Job, Result | None]]:
    """Yield (job, result) as jobs end, in any order; None for a job whose process died twice.

    Args:
        function: what every job goes through; like the jobs, it must be picklable.
        workers: jobs at a time; all cores of the cluster by default.
        address: ``HOST:PORT`` of a running cluster that this machine is part of. Without it Ray
            starts workers here, on a loopback address alone, and ends them with the build.
        folders: what every worker must see at the same path as this machine.

    Raises:
        EnvironmentFault: the cluster cannot be reached, or a worker lacks a folder or has another
            version of this package.
    """
    with connected(workers, address) as ray:
        work = ray.remote(num_cpus=1, max_retries=0, max_calls=_JOBS_FOR_ONE_WORKER)(_work)
        task = ray.put(_Task(function, tuple(folders), __version__))
        most = workers or 2 * max(1, int(ray.cluster_resources().get("CPU", 1)))

        def submit(job: Job) -> Any:
            return work.remote(task, job)

        died = yield from _round(ray, submit, jobs, most)
        # one at a time: where memory ran out, the job whose process died may not be to blame
        for job in (yield from _round(ray, submit, died, 1)):
            yield job, None


@dataclass(frozen=True)
class _Task(Generic[Job, Result]):
    """The function, and what a worker must have before it may run it."""

    function: Callable[[Job], Result]
    folders: tuple[Path, ...]
    version: str

    def __call__(self, job: Job) -> Result:
        if __version__ != self.version:
            raise EnvironmentFault(
                f"The Ray worker on {platform.node()} has fin-qlora {__version__}, and this "
                f"machine has {self.version}.",
                fix="Install one version on all machines of the cluster.",
            )
        for folder in self.folders:
            if not folder.is_dir():
                raise EnvironmentFault(
                    f"The Ray worker on {platform.node()} does not see the folder '{folder}'.",
                    fix="Put filings and output on a file system that all machines of the "
                    "cluster mount at the same path.",
                )
        return self.function(job)


def _work(task: _Task[Job, Result], job: Job) -> Result:
    return task(job)


def _round(
    ray: Any, submit: Callable[[Job], Any], jobs: Sequence[Job], most: int
) -> Generator[tuple[Job, Result | None], None, list[Job]]:
    """Yield what ends well, ``most`` jobs at a time; return the jobs whose process died."""
    pending, running, died = list(reversed(jobs)), dict[Any, Job](), list[Job]()
    while pending or running:
        while pending and len(running) < most:
            job = pending.pop()
            running[submit(job)] = job
        done, _ = ray.wait(list(running), num_returns=1)
        for reference in done:
            job = running.pop(reference)
            try:
                yield job, ray.get(reference)
            except (
                ray.exceptions.WorkerCrashedError,
                ray.exceptions.OutOfMemoryError,
                ray.exceptions.NodeDiedError,
            ):
                died.append(job)
            except ray.exceptions.RayTaskError as error:
                raise _cause(error) from None
            except ray.exceptions.RayError as error:
                raise EnvironmentFault(f"Ray cannot go on: {_first_line(error)}") from error
    return died


def _cause(error: Any) -> BaseException:
    """Return what went wrong on the worker as if it had gone wrong here."""
    if isinstance(error.cause, RuntimeError) and "failed to import" in str(error.cause):
        return EnvironmentFault(
            "A Ray worker cannot load fin-qlora.",
            fix="Install the same version on all machines of the cluster.",
        )
    return error.cause if isinstance(error.cause, BaseException) else error


@contextmanager
def connected(workers: int | None, address: str | None) -> Iterator[Any]:
    """Yield Ray, connected; what is started here ends with the block, and nothing is reported.

    Raises EnvironmentFault where the cluster cannot be started or reached.
    """
    require_ray(address)
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    if address is None:
        os.environ |= _ONE_MACHINE  # Ray reads it once, when it is loaded
    import ray

    if ray.is_initialized():  # by the program that calls us: its cluster is used, and left alone
        yield ray
        return
    options: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    if address is None:
        options |= {
            "address": "local",  # RAY_ADDRESS and a cluster that happens to run are passed over
            "num_cpus": workers,
            "num_gpus": 0,
            "include_dashboard": False,
            "object_store_memory": _OBJECT_STORE_BYTES,
            "_node_ip_address": _LOOPBACK,
        }
    else:
        _check_listens(address)
        options |= {"address": address}
    try:
        ray.init(**options)
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise EnvironmentFault(
            f"Ray cannot {'start' if address is None else f'reach {address}'}: "
            f"{_first_line(error)}",
            fix="" if address is None else "Run 'ray status' on this machine.",
        ) from error
    try:
        if address is None and ray.util.get_node_ip_address() != _LOOPBACK:
            raise EnvironmentFault(
                "Ray was loaded before this build and would listen to other machines.",
                fix=f"Set {'='.join(*_ONE_MACHINE.items())} before Python starts.",
            )
        yield ray
    finally:
        ray.shutdown()


def _check_listens(address: str) -> None:
    """Raise EnvironmentFault where nothing listens; Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _SECONDS_TO_CONNECT).close()
    except (OSError, OverflowError) as error:
        raise EnvironmentFault(
            f"No Ray cluster answers at {address}: {error}.",
            fix="Give the address that 'ray start --head' printed.",
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
