"""The frozen language model of a run on the transformer machine, simulated: text that hardware writes."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator

from lutra import children
from lutra.accelerators.transformer.engine import Progress, RtlWhole
from lutra.accelerators.transformer.runs import machine_image
from lutra.freeze.whole import FrozenGpt
from lutra.frozen import store
from lutra.recipes.language import MachineConfig, Recipe
from lutra.runs.files import RunFiles

log = logging.getLogger("lutra")

DEFAULT_SIZE = 8
"""Of the array where a recipe asks for no machine."""
TOLD_TOKENS = 16
"""Where no terminal shows a line that changes, so many tokens lie between two lines."""


@contextlib.contextmanager
def simulated_gpt(files: RunFiles, recipe: Recipe) -> Iterator[FrozenGpt]:
    """The model of a run whose logits RTL computes, on the machine of the recipe; stderr tells how far it is.

    Raises:
        FrozenModelError: it was not frozen whole; InputError: the machine does not take it.
        ToolError: a tool is missing or fails.
    """
    machine = recipe.machine if recipe.machine.size else MachineConfig(size=DEFAULT_SIZE)
    program = store.load(files.frozen).require_whole()
    image = machine_image(program, machine, recipe.hardware.dataflow)
    log.info("building the machine: an array of %d x %d", machine.size, machine.size)
    with children.temporary_folder("generate") as folder:
        yield FrozenGpt(program, RtlWhole(image, folder, _tell))
        if sys.stderr.isatty():
            print(file=sys.stderr)


def _tell(done: Progress) -> None:
    """One line that changes on a terminal, else a line now and then."""
    rate = done.cycles / done.seconds if done.seconds else 0.0
    line = f"simulated {done.tokens} tokens, {done.cycles:,} cycles, {rate:,.0f} cycles/s"
    if sys.stderr.isatty():
        print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)
    elif done.tokens % TOLD_TOKENS == 0:
        log.info("%s", line)
