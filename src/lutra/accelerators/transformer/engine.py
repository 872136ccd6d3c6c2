"""The transformer machine in the place of a model: logits by simulation, call after call, with keys and values kept."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lutra import children
from lutra.accelerators.transformer.bench import harness
from lutra.accelerators.transformer.bench.compare import logits_of
from lutra.accelerators.transformer.bench.harness import Drive, TransformerBench
from lutra.accelerators.transformer.image import Image
from lutra.accelerators.transformer.machine import Call, inputs_of
from lutra.errors import InputError, ToolError
from lutra.frozen.types import IntArray


@dataclass(frozen=True)
class Progress:
    """What a machine has done so far."""

    tokens: int
    cycles: int
    seconds: float
    """Of simulation."""


class RtlWhole:
    """A whole model on its machine in Verilator, built in a folder of its own; `tell` hears after every call.

    Raises:
        ToolError: a tool is missing or fails.
    """

    def __init__(self, image: Image, folder: Path, tell: Callable[[Progress], None] = lambda _: None) -> None:
        self.image, self.tell = image, tell
        self._bench = harness.build(image.config, folder, image.blocks, cached=True)

    def run(self, rows: IntArray) -> IntArray:
        """Whole sequences (B, T, width) of the program's input -> of its output, one after the other."""
        return np.concatenate([self.session()(sequence[None]) for sequence in rows])

    def session(self) -> RtlSession:
        """A sequence without any token yet, on a machine of its own."""
        return RtlSession(self._bench, self.image, self.tell)


class RtlSession:
    """One sequence that grows: a process that simulates the machine, and is asked call by call."""

    def __init__(self, built: TransformerBench, image: Image, tell: Callable[[Progress], None]) -> None:
        self.image, self.tell = image, tell
        self.past = self.cycles = 0
        self.seconds = 0.0
        command = [str(built.executable.resolve()), "/dev/stdin", "/dev/stdout"]
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        self.process = children.start(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, bufsize=-1
        )
        self._send(harness.load_commands(image))

    def __call__(self, rows: IntArray) -> IntArray:
        """The next rows (1, T, width) of the program's input -> of its output.

        Raises:
            InputError: several sequences, or tokens that the model does not take.
            ToolError: the simulation broke off, or did not come to an end.
        """
        if len(rows) != 1:
            raise InputError(f"the machine computes one sequence at a time, got {len(rows)}")
        begin = time.perf_counter()
        image, inputs = self.image, inputs_of(self.image, rows[0].astype(np.int64))
        call = Call(image.whole_rows or len(inputs), self.past)
        if call.past + call.rows > image.config.rows:
            raise InputError(f"{call.past + call.rows} rows are more than the {image.config.rows} of the machine")
        self._send(harness.call_command(image, call, inputs, Drive(taps=False)))
        run = harness.read_run(self, image.config)
        if run.problems or run.cycles is None:
            raise ToolError(f"transformer machine: {run.problems[0]}")
        self.past += call.rows
        self.cycles += run.cycles
        self.seconds += time.perf_counter() - begin
        self.tell(Progress(self.past, self.cycles, self.seconds))
        return logits_of(image, call, run)[None]

    def close(self) -> None:
        """End the simulation."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self._errors):
            if stream is not None:
                # Bytes that the process did not live to read are lost with it: closing writes them out, and fails.
                with contextlib.suppress(BrokenPipeError):
                    stream.close()

    def __del__(self) -> None:
        if hasattr(self, "process"):
            self.close()

    # What `harness.read_run` reads from.

    def words(self, count: int) -> np.ndarray:
        """The next words of the simulation's answer."""
        assert self.process.stdout is not None
        data = self.process.stdout.read(4 * count)
        if len(data) < 4 * count:
            self.process.wait()
            self._errors.seek(0)
            said = self._errors.read().decode(errors="replace").strip() or "silent"
            raise ToolError(f"transformer machine: ended with status {self.process.returncode}: {said}")
        return np.frombuffer(data, "<u4")

    def word(self) -> int:
        """The next one."""
        return int(self.words(1)[0])

    def counted(self) -> IntArray:
        """A count, and so many words."""
        return self.words(self.word()).astype(np.int64)

    def _send(self, data: bytes) -> None:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(data)
            self.process.stdin.flush()
        except BrokenPipeError:
            self.words(1)  # says why
