"""The one configuration of the transformer machine: RTL, compiler, latency model, bench and cost read it, nothing else.

Parallelism and the sizes of memories are fixed when the RTL is written; a model's shapes are in its program, so that a
machine runs every model that its memories hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from lutra.accelerators.block.schedule import Dataflow, FoldFactor
from lutra.accelerators.transformer.program import STEP_BITS
from lutra.errors import InputError
from lutra.escape import LONGEST_MESSAGE, brief

LARGEST_SIZE = 64
LARGEST_ROWS = 1024
LARGEST_PROGRAM = 256
CONSTANT_BITS = 48
"""Of a column: bias 32, multiplier 16; or bias 32, gain 16."""
EXPONENTIALS = 256
TABLE_ENTRIES = 256


@dataclass(frozen=True)
class TransformerConfig:
    """A machine: its array, its lanes, and how much its memories hold.

    Raises:
        InputError: a value out of range, or values that contradict each other.
    """

    size: int
    """Rows and columns of the array, a power of two."""
    lanes: int
    """Results of the array per cycle, and of the units behind it: a power of two up to `size`."""
    norm_lanes: int
    """Of the layer norm, a power of two up to `lanes`."""
    rows: int
    """Rows of the longest sequence, its keys: a multiple of `size`."""
    depth: int
    """Most terms of a sum in the array, a power of two from `size` on."""
    stream_words: int
    """Words of `lanes` values of the widest row of the residual stream."""
    left_words: int
    """Words of each bank of the left operands."""
    key_words: int
    """Words of each bank of the keys."""
    value_words: int
    weight_words: int
    constant_words: int
    norm_words: int
    token_words: int
    position_words: int
    tables: int
    program_words: int
    pixels: bool = False
    """Whether the input stream brings pixels instead of tokens."""
    overlap: bool = False
    """Whether steps overlap: norms with the products and blocks that they read from or write for, row by row, and an
    attention's softmax with its products, on two tiles of scores and exponentials. Otherwise all is serial."""
    normed_words: int = 1
    """With `overlap`: words of each bank of the left operands that norms write, a memory of their own."""
    fold_factor: FoldFactor = 8
    """Of the weightless blocks."""
    dataflow: Dataflow = "tree"
    """Of their conditional sums."""

    def __post_init__(self) -> None:
        for name in ("size", "lanes", "norm_lanes", "depth"):
            value = getattr(self, name)
            if not _is_count(value) or value & (value - 1):
                raise InputError(f"transformer: {name} must be a power of two, got {value!r}")
        if not 2 <= self.size <= LARGEST_SIZE:
            raise InputError(f"transformer: size must be from 2 to {LARGEST_SIZE}, got {self.size}")
        if not self.norm_lanes <= self.lanes <= self.size <= self.depth:
            raise InputError(
                f"transformer: norm_lanes <= lanes <= size <= depth must hold, got {self.norm_lanes}, {self.lanes}, "
                f"{self.size}, {self.depth}"
            )
        if not _is_count(self.rows) or self.rows % self.size or self.rows > LARGEST_ROWS or self.rows > self.depth:
            raise InputError(
                f"transformer: rows must be a multiple of size {self.size} up to {LARGEST_ROWS} and depth "
                f"{self.depth}, got {self.rows!r}"
            )
        for name in MEMORY_SIZES.values():
            value = getattr(self, name)
            if not _is_count(value) or value >= 1 << 24:
                raise InputError(f"transformer: {name} must be an integer from 1 to {(1 << 24) - 1}, got {value!r}")
        if self.program_words > LARGEST_PROGRAM:
            raise InputError(
                f"transformer: program_words must be at most {LARGEST_PROGRAM}, got {self.program_words}; take a model "
                "of fewer layers"
            )

    @property
    def row_tiles(self) -> int:
        """Tiles of `size` rows of the longest sequence: the distance of a row's words in banked memories."""
        return self.rows // self.size

    @property
    def groups(self) -> int:
        """Words of `lanes` values of a tile's row."""
        return self.size // self.lanes

    @property
    def word_bits(self) -> dict[str, int]:
        """Bits of a word of every memory that is loaded, in the order of its number at the load port."""
        return {
            "program": STEP_BITS,
            "weights": 8 * self.size,
            "constants": CONSTANT_BITS * self.lanes,
            "norms": CONSTANT_BITS * self.norm_lanes,
            "tokens": 16 * self.lanes,
            "positions": 16 * self.lanes,
            "exponentials": 7,
            "tables": 8,
        }

    @property
    def load_bits(self) -> int:
        """Bits of the load port: a word of any memory."""
        return max(self.word_bits.values())

    @property
    def input_bits(self) -> int:
        """Bits of a beat of the input stream: a token, or `lanes` pixels."""
        return max(16, 8 * self.lanes)

    def to_mapping(self) -> dict[str, Any]:
        """As it goes into JSON."""
        return asdict(self)

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> TransformerConfig:
        """The inverse.

        Raises:
            InputError: other fields, or values out of range.
        """
        try:
            return cls(**mapping)
        except (InputError, TypeError) as error:  # in which names and values stand as somebody wrote them
            problem = str(error).removeprefix("transformer: ")
            raise InputError(f"transformer: {brief(problem, LONGEST_MESSAGE)}") from None


MEMORY_SIZES = {
    "stream": "stream_words",
    "left": "left_words",
    "normed": "normed_words",
    "keys": "key_words",
    "values": "value_words",
    "program": "program_words",
    "weights": "weight_words",
    "constants": "constant_words",
    "norms": "norm_words",
    "tokens": "token_words",
    "positions": "position_words",
    "tables": "tables",
}
"""The field of the configuration that sizes each memory."""


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1
