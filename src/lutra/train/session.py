"""What a person sees of training, and how training is asked to stop."""

from __future__ import annotations

import logging
import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

_log = logging.getLogger("lutra")


class ProgressLine:
    """A live line on stderr (iteration, loss, ms/iteration, time left); plain log lines where it is no terminal."""

    LOG_INTERVAL_S = 30.0

    def __init__(self, title: str, done: int, iterations: int) -> None:
        self._title, self._start, self._iterations = title, done, iterations
        self._console = Console(stderr=True)
        self._live = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.completed}/{task.total}  {task.fields[status]}"),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
        )
        self._task: TaskID = self._live.add_task(title, completed=done, total=iterations, status="")
        self._training_s = 0.0
        self._logged_at = time.perf_counter()

    def __enter__(self) -> ProgressLine:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def iteration(self, done: int, loss: float, seconds: float) -> None:
        """Iteration number `done` has ended with this training loss and took this long."""
        self._training_s += seconds
        per_iteration_s = self._training_s / (done - self._start)
        status = f"loss {loss:.4f}  {1e3 * per_iteration_s:.1f} ms/iteration"
        if self._console.is_terminal:
            self._live.update(self._task, completed=done, status=status)
        elif time.perf_counter() - self._logged_at >= self.LOG_INTERVAL_S:
            left_min = (self._iterations - done) * per_iteration_s / 60
            self.message(f"iteration {done}/{self._iterations}  {status}  {left_min:.1f} min left")

    def message(self, text: str) -> None:
        """One line that stays."""
        self._logged_at = time.perf_counter()
        if self._console.is_terminal:
            self._live.console.print(f"{self._title}: {text}", highlight=False, markup=False)
        else:
            _log.info("%s: %s", self._title, text)


class StopRequest:
    """Turns Ctrl-C, SIGTERM or a time limit into a `reason` that is read between two iterations.

    A second Ctrl-C interrupts at once, as Python does. Outside of the main thread only the time limit works.
    """

    def __init__(self, max_minutes: float | None) -> None:
        self._deadline = None if max_minutes is None else time.perf_counter() + 60 * max_minutes
        self._signal: str | None = None
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    @property
    def reason(self) -> str | None:
        """Why to stop: "interrupt", "time limit", or None to go on."""
        if self._signal:
            return self._signal
        late = self._deadline is not None and time.perf_counter() >= self._deadline
        return "time limit" if late else None

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._signal = "interrupt"
        signal.signal(signal.SIGINT, signal.default_int_handler)
