"""Steps of the transformer machine: what a word of its program memory holds, and the order in which steps run."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import IntEnum

from lutra.errors import InputError


class Op(IntEnum):
    """What a step does."""

    END = 0
    EMBED = 1
    """Tokens of the input stream, their rows and those of their positions -> residual stream."""
    POSITIONS = 2
    """Rows of the position memory alone -> residual stream."""
    PIXELS = 3
    """Pixels of the input stream, less 128 -> left operands."""
    NORM = 4
    """Layer norm of rows of the residual stream -> left operands."""
    PRODUCT = 5
    """Left operands times weights, requantised -> `target`."""
    ATTENTION = 6
    """Scores, softmax and context of every head and row tile -> left operands."""
    BLOCK = 7
    """Left operands through a weightless block, requantised -> added to the residual stream."""


class Target(IntEnum):
    """Where results of a product go."""

    LEFT = 0
    TABLE = 1
    """Through a table, then left operands."""
    KEYS = 2
    VALUES = 3
    STREAM = 4
    """Added to the residual stream."""
    LOGITS = 5
    """The output stream."""
    SCORES = 6
    """The softmax; only inside `Op.ATTENTION`."""
    CONTEXT = 7
    """Left operands, with a factor for each row; only inside `Op.ATTENTION`."""


FIELD_BITS = {
    "op": 4,
    "target": 3,
    "rows": 16,
    "inner": 16,
    "column_tiles": 16,
    "shift": 6,
    "left": 24,
    "right": 24,
    "constants": 24,
    "destination": 24,
    "first_row": 16,
    "table": 8,
    "width": 11,
    "epsilon": 50,
    "multiplier": 16,
    "gain": 4,
    "heads": 16,
    "values": 24,
    "causal": 1,
}
"""Bits of every field of a step, from the lowest bit of the word on."""
STEP_BITS = sum(FIELD_BITS.values())


@dataclass(frozen=True)
class Step:
    """One step; fields that its `op` does not name are 0. Addresses are words of the memory that they belong to."""

    op: Op
    name: str
    """The golden value that the step computes last, such as `h.0.context`."""
    target: Target = Target.LEFT
    rows: int = 0
    """Rows, from the first one on; 0: all of this call."""
    inner: int = 0
    """PRODUCT, ATTENTION: terms of a sum (of a score). EMBED, POSITIONS, PIXELS, BLOCK: words of a row. NORM: beats."""
    column_tiles: int = 0
    """PRODUCT: tiles side by side. ATTENTION: of one head."""
    shift: int = 0
    left: int = 0
    """Where the left operands begin. ATTENTION: the queries."""
    right: int = 0
    """Where the weights begin. ATTENTION: the keys."""
    constants: int = 0
    """Where biases and multipliers, or gains and biases of a norm, begin."""
    destination: int = 0
    """Where results begin, in the memory that `target` names."""
    first_row: int = 0
    """PRODUCT into the stream: the row of the first result."""
    table: int = 0
    """TABLE: which table. BLOCK: which block."""
    width: int = 0
    """NORM: columns of the model."""
    epsilon: int = 0
    multiplier: int = 0
    """ATTENTION: of the scores."""
    gain: int = 0
    heads: int = 0
    values: int = 0
    """ATTENTION: where the values begin."""
    causal: int = 0

    def word(self) -> int:
        """As it lies in the program memory.

        Raises:
            InputError: a field that does not fit.
        """
        word, place = 0, 0
        for field, bits in FIELD_BITS.items():
            value = int(getattr(self, field))
            if not 0 <= value < 1 << bits:
                raise InputError(
                    f"{self.name}: {field} of its step is {value}, it has {bits} bits; take a smaller model"
                )
            word |= value << place
            place += bits
        return word


assert {"name", *FIELD_BITS} == {field.name for field in fields(Step)}
