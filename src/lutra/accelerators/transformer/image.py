"""A model as a transformer machine takes it: its program, what the memories hold, and where its values come to lie."""

from __future__ import annotations

from dataclasses import dataclass

from lutra.accelerators.transformer.config import TransformerConfig
from lutra.accelerators.transformer.program import Step, Target
from lutra.frozen.graph import Graph
from lutra.frozen.types import IntArray


@dataclass(frozen=True, eq=False)
class Place:
    """Where a value lies: column c of the model is column `columns[c]` of the memory, which has `width` of them."""

    target: Target
    base: int
    columns: IntArray
    width: int
    rows: int = 0
    """Of the sequence, from the first on; 0: all."""


@dataclass(frozen=True, eq=False)
class Image:
    """A model for a machine: its program, and what its memories hold, (words, elements of a word) each."""

    program: Graph
    config: TransformerConfig
    steps: tuple[Step, ...]
    memories: dict[str, IntArray]
    """By the memory's name; the program is `steps`."""
    places: dict[str, Place]
    """Where every value that a step computes comes to lie, by its golden name."""
    blocks: tuple[Graph, ...]
    """The weightless blocks, by the number that a step gives."""

    @property
    def whole_rows(self) -> int | None:
        """Rows of the residual stream of a sequence that comes whole; None where tokens come one by one."""
        return rows_of(self.program) if self.config.pixels else None


def rows_of(program: Graph) -> int:
    """Rows of the residual stream of a model whose sequences come whole."""
    return max((value.rows or 0) for name, value in program.values().items() if name != program.input)
