"""Runs as tasks of a Ray cluster: the same runs in the same folder as local processes, on whatever machines there are.

A task starts `lutra run` beside itself and waits for its end. If its node dies, so does the run, and Ray starts the
task again on another node, where the run goes on at its last checkpoint; what it had finished is not done again. The
folder of the exploration must lie at the same place on all nodes.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from lutra import children
from lutra.errors import InputError, RunDirectoryError, ToolError
from lutra.escape import brief
from lutra.explore.processes import GRACE_S, LUTRA, OUTPUT_NAME, Job, Progress, Stop, arguments_of, failure, is_late
from lutra.runs.files import HOLDER_NAME, LOCK_NAME
from lutra.runs.lock import describe_holder
from lutra.version import __version__

log = logging.getLogger("lutra.explore")

ADDRESS = re.compile(r"auto|local|\S+:\d+")
"""What `--ray` takes for an address."""
RETRIES = 5
"""Of a run whose node died."""
_POLL_S = 0.1
_CONNECT_S = 5.0
_PROBE_S = 60.0
"""How long a node may take for its first answer: it starts a Python process for it."""
_OWN_OF_A_NODE = ("LUTRA_CACHE",)
"""Variables of ours that say something about a machine."""
_QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
"""Ray reports nothing about its use to anybody."""


@dataclass(frozen=True)
class Task:
    """What a node is told about a run."""

    root: str
    """Its run directory."""
    command: tuple[str, ...]
    folder: str
    """Where the command starts: paths in recipes may be relative to it."""
    environment: Mapping[str, str]


@contextlib.contextmanager
def connected(address: str, root: Path) -> Iterator[RayRunner]:
    """What runs the jobs of an exploration in the folder `root` on the cluster at HOST:PORT; "auto": on the one of this
    machine or, if there is none, on one of its own; "local": always on one of its own.

    Raises:
        ToolError: Ray is not installed, or does not start.
        InputError: no cluster at the address.
    """
    _check(address)
    with _keeping_signal_handlers():
        ray = _imported()
        os.environ.update({name: os.environ.get(name, value) for name, value in _QUIET.items()})
        try:
            ray.init(
                address=None if address == "auto" else address,
                include_dashboard=False,
                configure_logging=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
        except (ConnectionError, ValueError) as error:
            raise InputError(f"--ray {address}: {brief(_first_line(error), 300)}") from None
        except RuntimeError as error:
            raise ToolError(f"Ray does not start: {brief(_first_line(error), 300)}") from None
    try:
        yield RayRunner(ray, root)
    finally:
        ray.shutdown()


def _imported() -> Any:
    try:
        return importlib.import_module("ray")
    except ImportError:
        raise ToolError('Ray is not installed; pip install "lutra[ray]"') from None


def _check(address: str) -> None:
    """Refuse an address where nothing answers; Ray itself would try for a minute."""
    if address in ("auto", "local"):
        return
    host, _, port = address.rpartition(":")
    if not ADDRESS.fullmatch(address) or "//" in host:
        raise InputError(f"--ray {address}: give HOST:PORT of the head, as `ray start --head` prints it, or auto")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _CONNECT_S).close()
    except (OSError, OverflowError) as error:
        raise InputError(f"--ray {address}: no cluster there ({error}); start one with `ray start --head`") from None


@contextlib.contextmanager
def _keeping_signal_handlers() -> Iterator[None]:
    """Ray takes SIGTERM for itself when it is imported."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)


class RayRunner:
    """Runs jobs on a cluster, as `processes.run_jobs` does on this machine (a `processes.Runner`)."""

    def __init__(self, ray: Any, root: Path) -> None:
        self._ray, self._root = ray, root.absolute()

    @property
    def cpus(self) -> int:
        """Of all nodes together: runs at the same time unless told otherwise."""
        return max(1, int(self._ray.cluster_resources().get("CPU", 1)))

    def __call__(
        self,
        jobs: Sequence[Job],
        parallel: int,
        on_end: Callable[[Job, str | None, float, Progress], None],
        lock: int,
        command: Sequence[str] = LUTRA,
        deadline: float | None = None,
    ) -> bool:
        """As `processes.run_jobs`; the lock stays with this process.

        Raises:
            KeyboardInterrupt: it was stopped; no run is left.
            RunDirectoryError: the folder is not that of a node.
            ToolError: a node has no Lutra of this version.
        """
        if not jobs:
            return True
        self._require_nodes()
        start, waiting = self._remote(jobs), deque(jobs)
        running: dict[Any, Job] = {}
        with Stop() as stop:
            try:
                while (waiting or running) and not stop.count and not is_late(deadline):
                    while waiting and len(running) < parallel:
                        job = waiting.popleft()
                        running[start(_task(job, command))] = job
                    ended, _ = self._ray.wait(list(running), num_returns=1, timeout=_POLL_S)
                    for reference in ended:
                        job = running.pop(reference)
                        error, seconds = self._result(reference)
                        on_end(job, error, seconds, Progress(tuple(running.values()), tuple(waiting)))
            finally:
                self._end(list(running), stop)
            if stop.count:
                raise KeyboardInterrupt
        return not (waiting or running)

    def _remote(self, jobs: Sequence[Job]) -> Callable[[Task], Any]:
        """What starts a task. It counts as many processors as its run has threads, as far as a node has them."""
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        most = max(node.get("CPU", 1) for node in nodes)
        threads = min(max(job.recipe.processor_threads for job in jobs), most)
        gpus = 1 if any(node.get("GPU", 0) >= 1 for node in nodes) else 0
        task = self._ray.remote(run_task).options(num_cpus=threads, num_gpus=gpus, max_retries=RETRIES)
        remote: Callable[[Task], Any] = task.remote
        return remote

    def _result(self, reference: Any) -> tuple[str | None, float]:
        """Why a task failed, if it did, and its seconds."""
        try:
            error, seconds = self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as failed:
            return f"the task of the run failed: {brief(str(failed.cause), 300)}", 0.0
        except self._ray.exceptions.RayError as failed:
            return f"its node died, {RETRIES + 1} times: {brief(_first_line(failed), 300)}", 0.0
        return error, seconds

    def _end(self, references: list[Any], stop: Stop) -> None:
        """Ask all to stop, wait until they have, kill those that take too long."""
        for reference in references:
            self._ray.cancel(reference, force=False)
        seen, deadline = stop.count, time.monotonic() + GRACE_S
        while references and stop.count == seen and time.monotonic() < deadline:
            _, references = self._ray.wait(references, num_returns=len(references), timeout=_POLL_S)
        for reference in references:
            self._ray.cancel(reference, force=True)

    def _require_nodes(self) -> None:
        """Let every node say whether it can run what is to run.

        Raises:
            RunDirectoryError: the folder is not that of a node.
            ToolError: a node has no Lutra of this version, or does not answer.
        """
        note = (self._root / HOLDER_NAME).read_text(encoding="utf-8")
        given = str(self._root / HOLDER_NAME), note, str(Path.cwd()), __version__
        nodes = [(node["NodeID"], node["NodeManagerAddress"]) for node in self._ray.nodes() if node["Alive"]]
        affinity = importlib.import_module("ray.util.scheduling_strategies").NodeAffinitySchedulingStrategy
        probe = self._ray.remote(make_probe())
        options = {"num_cpus": 0, "max_retries": 0}
        asked = [
            (address, probe.options(**options, scheduling_strategy=affinity(number, soft=False)).remote(*given))
            for number, address in nodes
        ]
        for address, reference in asked:
            try:
                problem, is_folder = self._ray.get(reference, timeout=_PROBE_S)
            except self._ray.exceptions.RayError as error:
                raise ToolError(f"node {address} does not answer: {brief(_first_line(error), 300)}") from None
            if problem:
                raise (RunDirectoryError if is_folder else ToolError)(f"node {address}: {problem}")
        log.info("%d nodes with %d processors", len(nodes), self.cpus)


def make_probe() -> Callable[[str, str, str, str], tuple[str, bool]]:
    """A function that says what a node lacks ("": nothing), and whether that is a folder.

    It is made here, so that Ray sends its code and not its name: a node may not have any Lutra.
    """

    def probe(note: str, text: str, folder: str, version: str) -> tuple[str, bool]:
        import pathlib

        try:
            from lutra.version import __version__ as there
        except ImportError:
            return f"no Lutra there; install {version}, as here", False
        if there != version:
            return f"Lutra {there} there, {version} here; install the same version", False
        try:
            same = pathlib.Path(note).read_text(encoding="utf-8") == text
        except OSError:
            same = False
        if not same:
            root = pathlib.Path(note).parent
            return f"{root} is not there, or another folder; choose one that all nodes share (--out)", True
        if not pathlib.Path(folder).is_dir():
            return f"no folder {folder}, in which this command was started", True
        return "", False

    return probe


def _task(job: Job, command: Sequence[str]) -> Task:
    files = job.files.root.absolute()
    given = {name: value for name, value in os.environ.items() if name.startswith("LUTRA_")}
    given = {name: value for name, value in given.items() if name not in _OWN_OF_A_NODE}
    given |= {name: os.environ[name] for name in ("OMP_NUM_THREADS", "OMP_WAIT_POLICY") if name in os.environ}
    located = Job(job.title, type(job.files)(files), job.recipe, job.last_step)
    arguments = (*_anywhere(command), *arguments_of(located))
    return Task(str(files), arguments, str(Path.cwd()), given)


_PYTHON = "python"
"""In a command: the interpreter of the node."""


def _anywhere(command: Sequence[str]) -> list[str]:
    """The command without the place of this machine's interpreter."""
    return [_PYTHON if part == sys.executable else part for part in command]


def run_task(task: Task) -> tuple[str | None, float]:
    """Run a job on this node to its end: why it failed, if it did, and its seconds.

    Cancelled, it lets the run save a checkpoint.
    """
    started, root = time.monotonic(), Path(task.root)
    if not root.is_dir():
        return f"node {socket.gethostname()}: {root} is not there", 0.0
    try:
        with FileLock(root / LOCK_NAME, timeout=GRACE_S):  # a node that was given up may still be about to die
            pass
    except Timeout:
        return f"{describe_holder(root)} works there", time.monotonic() - started
    # Ray sets the number of threads for a worker; a run has its recipe's.
    own = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    with (root / OUTPUT_NAME).open("wb") as output:
        process = children.start(
            [sys.executable if part == _PYTHON else part for part in task.command],
            stdout=subprocess.DEVNULL,
            stderr=output,
            cwd=task.folder,
            env={"OMP_WAIT_POLICY": "passive", **own, **task.environment},
        )
    try:
        while process.poll() is None:
            time.sleep(_POLL_S)
    except BaseException:
        _end_process(process)
        raise
    return failure(root, process.returncode), time.monotonic() - started


def _end_process(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(GRACE_S)
    except BaseException:
        process.kill()
        process.wait()


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
