"""When products, of which one follows the other without waiting for its results, are computed: in closed form, tile by
tile; and an attention of them whose softmax runs behind them (`TransformerConfig.overlap`)."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from lutra.accelerators.transformer import units
from lutra.accelerators.transformer.config import TransformerConfig

FIRST_BEAT_CYCLES = 2
"""From a product's start to the first operand that can be taken: an address, then its word."""
SUM_CYCLES = 3
"""From the slot that takes a tile's sums out, beside one for each row of the array, to its first beat."""
SETTLE_CYCLES = 2
"""From the end of scores to their softmax, and from that to its context."""


@dataclass(frozen=True)
class Product:
    """Tiles of operands in the order in which the array takes them."""

    row_tiles: int
    column_tiles: int
    inner: int


@dataclass(frozen=True)
class ProductTime:
    """Cycles of one product."""

    start: int
    fed: int
    """The last operand is taken."""
    done: int
    """The last result is written."""
    row_tiles: tuple[int, ...]
    """The last result of each row tile is."""


@dataclass
class _Edge:
    """One of the two operand buffers: when tiles in it are full, and free again; two at a time."""

    full: int = -1
    """The last beat so far was taken."""
    free: deque[int] = field(default_factory=lambda: deque([-1, -1], maxlen=2))
    """When the two tiles before the next one were last used."""

    def load(self, first: int, beats: int) -> int:
        """Take a tile, whose beats are offered from cycle `first` on; when its last one is taken."""
        self.full = max(self.full + 1, self.free[0] + 1, first) + beats - 1
        return self.full


class Array:
    """The array and what is behind it, in an order of products."""

    def __init__(self, config: TransformerConfig) -> None:
        self.size = config.size
        self.beats = config.size * config.groups  # of a tile's results
        self._a, self._b = _Edge(), _Edge()
        self._taken_out = -1  # when the next tile's first slot can be: the sums before are taken out
        self._read: deque[int] = deque([-1, -1], maxlen=2)  # when the results of the last two tiles were read out
        self._last_beat = -1
        self._times: deque[ProductTime] = deque(maxlen=2)

    @property
    def ready(self) -> int:
        """The first cycle in which another product can start."""
        if not self._times:
            return 0
        last = self._times[-1]
        before = self._times[0].done if len(self._times) > 1 else -1
        # A product that started before another one's end has waited for it: `done` says when it is alone.
        return max(last.fed + 1, before + 1 if last.start < before else 0)

    def run(self, product: Product, start: int, left: Sequence[int] = ()) -> ProductTime:
        """A product that starts in a cycle from `ready` on; `left`: the first cycle in which the left operands of each
        row tile can be taken, where they are not there at the start."""
        slots, first_beat = max(product.inner, self.size), start + FIRST_BEAT_CYCLES
        may_leave = self._times[-1].done + 1 if self._times else 0  # results follow those of the product before
        row_tiles = []
        for tile in range(product.row_tiles):
            a_full = self._a.load(max([first_beat, *left[tile : tile + 1]]), product.inner)
            for _ in range(product.column_tiles):
                b_full = self._b.load(first_beat, product.inner)
                first_slot = max(self._taken_out, a_full + 1, b_full + 1)
                self._b.free.append(first_slot + slots - 1)
                self._taken_out = max(first_slot + slots, self._read[0])
                beat = max(self._taken_out + self.size + SUM_CYCLES - 1, self._last_beat + 1)
                beat = max(beat, may_leave)
                may_leave = 0
                self._last_beat = beat + self.beats - 1
                self._read.append(self._last_beat - 1)
            self._a.free.append(first_slot + slots - 1)
            row_tiles.append(self._last_beat + units.RESULT_STAGES)
        time = ProductTime(start, max(a_full, b_full), row_tiles[-1], tuple(row_tiles))
        self._times.append(time)
        return time


@dataclass(frozen=True)
class AttentionTile:
    """A row tile of a head."""

    rows: int
    keys: int
    head_width: int
    column_tiles: int
    """Of its context."""


def attention_cycles(tiles: Sequence[AttentionTile], config: TransformerConfig) -> int:
    """From the cycle behind an attention's start to its last write: scores of a tile, then the context of the tile
    before, whose softmax has run meanwhile."""
    array = Array(config)
    now, exponentials = 1, -1  # next product's earliest start; the end of the softmax so far
    waiting: deque[tuple[AttentionTile, int]] = deque()  # with the end of their softmax
    end = 0
    for tile in tiles:
        scores = array.run(_scores(tile, config), max(now, array.ready))
        now = scores.start + 1
        softmax = max(scores.done + SETTLE_CYCLES, exponentials + 1)
        exponentials = softmax + units.softmax_cycles(tile.rows, -(-tile.keys // config.lanes), config.lanes)
        waiting.append((tile, exponentials))
        if len(waiting) == 2:
            now = _context(array, *waiting.popleft(), now, config).start + 1
    while waiting:
        context = _context(array, *waiting.popleft(), now, config)
        now, end = context.start + 1, context.done
    return end


def _scores(tile: AttentionTile, config: TransformerConfig) -> Product:
    return Product(1, -(-tile.keys // config.size), tile.head_width)


def _context(array: Array, tile: AttentionTile, given: int, now: int, config: TransformerConfig) -> ProductTime:
    start = max(now, array.ready, given + SETTLE_CYCLES)
    return array.run(Product(1, tile.column_tiles, tile.keys), start)
