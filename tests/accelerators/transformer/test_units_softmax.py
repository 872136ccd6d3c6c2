"""The softmax unit of the transformer: exponentials, reciprocals and cycles of tiles of all kinds, and faults."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

import cycle_variants
from hardware_variants import Variant
from lutra.accelerators.transformer.units import EXPONENTIAL_STAGES, RECIPROCAL_CYCLES, softmax_cycles
from lutra.frozen.arithmetic import recip
from lutra.frozen.ops import Attention
from lutra.frozen.ops.attention import exponential_table
from lutra.frozen.types import TensorType
from lutra.hardware.bench import streams
from transformer_units import PREFIX, SOURCES

pytestmark = pytest.mark.usefixtures("unoptimised")

SOFTMAX = f"{PREFIX}softmax"
MAX, LANE, RECIPROCAL = f"{SOFTMAX}_max", f"{SOFTMAX}_lane", f"{PREFIX}reciprocal"
ATTENTION = Attention(
    ("q", "k", "v"), "c", heads=1, causal=True, multiplier=1, shift=1, exponentials=exponential_table(), gain=0,
    type=TensorType(True, 8),
)  # fmt: skip


def parameters(size, lanes, keys):
    return {
        "Size": size, "Lanes": lanes, "Keys": keys, "ChunkBits": max(1, (keys // lanes - 1).bit_length()),
        "RowBits": (size - 1).bit_length(), "KeyBits": keys.bit_length(),
    }  # fmt: skip


FORMS = [parameters(4, 4, 80), parameters(2, 1, 5), parameters(8, 16, 1024), parameters(4, 8, 8)]
FAULTS = {
    "the maximum of the tile before": (MAX, "if (clear_i[b]) begin", "if (0) begin"),
    "the smallest score": (MAX, "largest_2_q > so_far", "largest_2_q < so_far"),
    "unsigned scores": (MAX, "logic signed [15:0] one, other;", "logic [15:0] one, other;"),
    "hidden scores in the maximum": (MAX, "visible_i[l] ? scores_i[16*l +: 16] : Least", "scores_i[16*l +: 16]"),
    "the maximum of another row": (MAX, "read_i ? row_i : row_2_q", "row_2_q"),
    "hidden scores in the sum": (LANE, "visible_i && distance[16:8] == '0", "distance[16:8] == '0"),
    "far scores": (LANE, "distance[16:8] == '0", "!distance[16]"),
    "a distance of 16 bits": (LANE, "{max_i[15], max_i} - {score_i[15], score_i}", "{1'b0, max_i} - {1'b0, score_i}"),
    "every row sees the same keys": (SOFTMAX, "causal ? LimitBits'(row) : '0", "'0"),
    "rows see one key too few": (SOFTMAX, "* Lanes + l) < limit", "* Lanes + l + 1) < limit"),
    "the sum of the row before": (SOFTMAX, "first_q[Total] ? '0 : sum_q", "sum_q"),
    "a beat too few in the sum": (SOFTMAX, "valid_q[Total] && last_q[Total]", "valid_q[Total-1] && last_q[Total-1]"),
    "rows that do not wait": (SOFTMAX, "&& wait_q == '0;", ";"),
    "a row too many": (SOFTMAX, "{1'b0, row_q} == pass_rows - 1'b1", "{1'b0, row_q} == pass_rows"),
    "reciprocals of other rows": (SOFTMAX, "if (start_i) begin\n      factors_q <= '0;",
                                  "if (0) begin\n      factors_q <= '0;"),
    "done too early": (SOFTMAX, "factor_done && factors_q == pass_rows - 1'b1", "factor_done"),
    "a beat of another row": (SOFTMAX, "e_row_o   = rows_q[Stages]", "e_row_o   = rows_q[Stages-1]"),
    "powers of two": (RECIPROCAL, "LastStep = 5'd16", "LastStep = 5'd15"),
}  # fmt: skip


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return cycle_variants.build({SOFTMAX: [*map(Variant, FORMS)]}, SOURCES, tmp_path_factory.mktemp("softmax"))


@pytest.fixture(scope="module")
def faulty(tmp_path_factory):
    """The smallest form without a fault, and with each of them."""
    variants = [Variant(FORMS[0]), *(Variant(FORMS[0], fault) for fault in FAULTS.values())]
    return cycle_variants.build({SOFTMAX: variants}, SOURCES, tmp_path_factory.mktemp("faulty"))


@dataclass(frozen=True, eq=False)
class Tile:
    """Scores (Size, Keys), garbage where nobody may look, and what of them takes part."""

    scores: np.ndarray
    rows: int
    chunks: int
    first_limit: int
    causal: bool
    order: np.ndarray
    """(stores, 2): row and chunk of each, in the order in which they come; gaps where it is negative."""
    broken_off: bool = False
    """A reset ends it in the second pass."""

    @property
    def visible(self):
        limits = self.first_limit + self.causal * np.arange(self.rows)
        return np.arange(self.scores.shape[1]) < limits[:, None]


class Script:
    """Ports of the unit by cycle."""

    def __init__(self, form):
        self.form, self.columns, self.count = form, {}, 0

    def cycle(self, **ports):
        for port, value in ports.items():
            self.columns.setdefault(port, {})[self.count] = value
        self.count += 1

    def wait(self, cycles):
        self.count += cycles

    def arrays(self):
        arrays = {}
        for port, values in self.columns.items():
            first = next(iter(values.values()))
            arrays[port] = np.full((self.count, *np.shape(first)), int(port == "rst_ni"), np.int64)
            arrays[port][list(values)] = list(values.values())
        return arrays


def write_table(script):
    for address, entry in enumerate(ATTENTION.exponentials):
        script.cycle(table_write_i=1, table_address_i=address, table_data_i=int(entry))


def play(script, tile):
    """Store a tile, start, read the reciprocals; the cycle of the start."""
    form = script.form
    lanes = form["Lanes"]
    settings = {"causal_i": int(tile.causal), "first_limit_i": tile.first_limit, "rows_i": tile.rows,
                "chunks_i": tile.chunks}  # fmt: skip
    chunks = tile.scores.reshape(len(tile.scores), -1, lanes)
    words = streams.pack(chunks.reshape(-1, lanes), 16).reshape(*chunks.shape[:2], -1)
    script.cycle(**settings, clear_i=1)
    for row, chunk in tile.order:
        if row < 0:
            script.cycle(**settings)
        else:
            script.cycle(
                **settings, store_i=1, store_row_i=int(row), store_chunk_i=int(chunk), scores_i=words[row, chunk]
            )
    script.cycle(**settings)
    start = script.count
    script.cycle(**settings, start_i=1)
    for cycle in range(softmax_cycles(tile.rows, tile.chunks, lanes)):
        if tile.broken_off and cycle == 9:
            script.cycle(rst_ni=0)
            return start
        script.cycle(**settings)
    for row in range(tile.rows):
        script.cycle(factor_read_i=1, factor_row_i=row)
    script.wait(3)
    return start


def problems_of(outputs, form, tile, start):
    """What is wrong with what came of a tile that began its second pass in cycle `start`."""
    lanes, end = form["Lanes"], start + softmax_cycles(tile.rows, tile.chunks, form["Lanes"])
    found = []
    if tile.broken_off:
        return ["something came after a reset"] if outputs["e_valid_o"][start + 11 : start + 13].any() else []
    row, chunk = (each.ravel() for each in np.indices((tile.rows, tile.chunks)))
    cycles = start + 1 + row * max(tile.chunks, RECIPROCAL_CYCLES) + chunk + EXPONENTIAL_STAGES
    seen = start + np.flatnonzero(outputs["e_valid_o"][start : end + 4])
    if (
        not np.array_equal(seen, cycles)
        or (outputs["e_row_o"][cycles] != row).any()
        or (outputs["e_chunk_o"][cycles] != chunk).any()
    ):
        return [*found, "beats in other cycles, or of other rows"]
    if not np.array_equal(start + np.flatnonzero(outputs["done_o"][start : end + 4]), [end]):
        found.append("done in another cycle")
    keys = tile.chunks * lanes
    exponentials, sums = ATTENTION.softmax(tile.scores[: tile.rows, :keys], tile.visible[:, :keys])
    given = cycle_variants.unpack(outputs["e_data_o"][cycles], lanes, 8)
    if (given.reshape(tile.rows, keys) != exponentials).any():
        found.append("other exponentials")
    factor, exponent = recip(sums.ravel())
    reads = end + 2 + np.arange(tile.rows)
    if (outputs["factor_o"][reads] != factor).any() or (outputs["exponent_o"][reads] != exponent).any():
        found.append("other reciprocals")
    return found


def problems(bench, variant, form, tiles):
    script = Script(form)
    script.cycle(rst_ni=0)
    write_table(script)
    starts = [play(script, tile) for tile in tiles]
    outputs = bench.run(SOFTMAX, 0, variant_i=variant, **script.arrays())
    return [
        problem
        for tile, start in zip(tiles, starts, strict=True)
        for problem in problems_of(outputs, form, tile, start)
    ]


def tile_of(rng, form, scores=None, visible=None, **changes):
    """A random tile, or one of `scores` (rows, keys) of which every row sees all, or as many as `visible`."""
    size, lanes, most = form["Size"], form["Lanes"], form["Keys"]
    rows = len(scores) if scores is not None else int(rng.integers(1, size + 1))
    causal = scores is None and bool(rng.integers(2)) and most > rows
    limit = visible or (scores.shape[1] if scores is not None else int(rng.integers(1, most - (rows - 1) * causal + 1)))
    garbage = rng.choice([-(2**15), 2**15 - 1, *rng.integers(-(2**15), 2**15, 9)], (size, most))
    spread = 2 ** int(rng.integers(0, 13))
    near = np.clip(rng.integers(-spread, spread + 1, (size, most)) + rng.integers(-(2**14), 2**14), -(2**15), 2**15 - 1)
    tile = Tile(near, rows, -(-(limit + causal * (rows - 1)) // lanes), limit, causal, np.zeros((0, 2), int))
    filled = garbage
    filled[:rows] = np.where(tile.visible, near[:rows], garbage[:rows])
    if scores is not None:
        filled[:rows, : scores.shape[1]] = scores
    places = np.stack(np.meshgrid(np.arange(size), np.arange(most // lanes)), axis=2).reshape(-1, 2)
    order = places if rng.integers(2) else rng.permutation(np.concatenate([places, -np.ones_like(places[::3])]))
    return Tile(filled, rows, tile.chunks, limit, causal, order, **changes)


def extreme_tiles(rng, form):
    """Scores all equal, one key only, the largest last, both signs, distances of 255 and 256, ends of the range."""
    keys, low, high = form["Keys"], -(2**15), 2**15 - 1
    rows = [
        np.full(keys, 77),
        np.full(keys, low),
        np.full(keys, high),
        np.arange(keys),
        np.arange(keys)[::-1],
        np.arange(keys) - keys // 2,
    ]
    far = np.full(keys, low)
    far[-1] = high
    steps = np.arange(keys) % 3 + 254  # distances
    rows += [far, np.where(np.arange(keys) == keys // 2, 1000, 1000 - steps)]
    for row in rows:
        yield tile_of(rng, form, row[None])
        yield tile_of(rng, form, row[None], visible=1)


@pytest.mark.parametrize("variant", range(len(FORMS)), ids=[f"{f['Size']} rows, {f['Keys']} keys" for f in FORMS])
def test_tiles_of_all_kinds(bench, variant):
    rng, form = np.random.default_rng(variant), FORMS[variant]
    tiles = [tile_of(rng, form, broken_off=index == 1) for index in range(8 if form["Keys"] > 100 else 40)]
    assert problems(bench, variant, form, [*tiles, *extreme_tiles(rng, form)]) == []


def test_every_distance_seen_and_hidden(bench):
    """Rows of a largest score and of others that lie every distance from 0 to 65,535 below it."""
    form, rng = FORMS[2], np.random.default_rng(8)
    high, width = 2**15 - 1, form["Keys"] - 1
    distances = np.resize(np.arange(2**16), (-(-(2**16) // (form["Size"] * width)), form["Size"], width))
    tiles = []
    for block in distances:
        scores = np.concatenate([np.full((len(block), 1), high), high - block], axis=1)
        tiles += [tile_of(rng, form, scores), tile_of(rng, form, scores, visible=1)]
    assert problems(bench, 2, form, tiles) == []


@pytest.mark.slow
def test_faults_are_found(faulty):
    rng, form = np.random.default_rng(4), FORMS[0]
    tiles = [*(tile_of(rng, form) for _ in range(12)), *extreme_tiles(rng, form)]
    missed = [fault for index, fault in enumerate(["none", *FAULTS]) if problems(faulty, index, form, tiles) == []]
    assert missed == ["none"]
