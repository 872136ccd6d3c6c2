"""BAT's engine gives NumPy's integer sums for linear layers, scores and contexts of random shapes in exactly the
predicted cycles, and its bench finds faults in each of its parts."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

import hardware_variants
import lutra.accelerators.bat
from hardware_variants import Variant
from lutra.accelerators.bat import layout, products
from lutra.accelerators.bat.config import ModuleConfig
from lutra.hardware.bench import jobs, streams
from lutra.hardware.bench.jobs import Interface, Job, ReadPort, Stream

RTL = Path(lutra.accelerators.bat.__file__).parent / "rtl"
SOURCES = {path.stem: path.read_text() for path in RTL.glob("*.sv")}
SUM_BITS = 22
COUNTING, MULTIPLYING = 0, 1

ENGINES = [
    {"Units": 3, "Elements": 8, "Bits": 4, "Sums": COUNTING, "HeadWidth": 4},
    {"Units": 2, "Elements": 8, "Bits": 4, "Sums": MULTIPLYING, "HeadWidth": 4},
    {"Units": 4, "Elements": 8, "Bits": 1, "Sums": COUNTING, "HeadWidth": 8},
    {"Units": 2, "Elements": 8, "Bits": 1, "Sums": MULTIPLYING, "HeadWidth": 4},
    {"Units": 2, "Elements": 8, "Bits": 2, "Sums": COUNTING, "HeadWidth": 16},
    {"Units": 2, "Elements": 8, "Bits": 2, "Sums": MULTIPLYING, "HeadWidth": 16},
    {"Units": 2, "Elements": 8, "Bits": 8, "Sums": COUNTING, "HeadWidth": 8},
    {"Units": 2, "Elements": 8, "Bits": 8, "YBits": 2, "Sums": COUNTING, "HeadWidth": 8},
    {"Units": 3, "Elements": 8, "Bits": 4, "YBits": 2, "Sums": MULTIPLYING, "HeadWidth": 4},
]
WALK, ENGINE, DPU = "lutra_bat_walk", "lutra_bat_engine", "lutra_bat_dpu"
FAULTS = [
    (
        ENGINES[0],
        (WALK, "assign restart_o    = inner_q == '0 && outer_q == '0;", "assign restart_o    = inner_q == '0;"),
    ),
    (ENGINES[0], (WALK, "inner_q == '0 && outer_q != '0", "outer_q != '0")),
    (ENGINES[0], (WALK, "!binary_i && outer_q == '0", "outer_q == '0")),
    (ENGINES[0], (WALK, "y_head_q + (next_word ?", "y_head_q + (1 ?")),
    (ENGINES[0], (WALK, "row_last && scores_i ? x_head :", "")),
    (ENGINES[0], (WALK, "place_q  <= next_word ? '0 : place_q + 1'b1;", "")),
    (ENGINES[0], (WALK, "row_last ? y_head : y_head_q", "y_head_q")),
    (ENGINES[1], (WALK, "binary_i ? '0 : y_bit_stride_i * Planes", "'0")),
    (
        ENGINES[1],
        (WALK, "assign restart_o    = outer_q == '0;", "assign restart_o    = outer_q == '0 && inner_q == '0;"),
    ),
    (ENGINES[1], (WALK, "!binary_i && inner_last", "1'b0")),
    (ENGINES[4], (WALK, "HeadWidth > Elements ? HeadWidth / Elements : 1", "1")),
    (ENGINES[0], (ENGINE, "(!last_chunk_q || tail_q[i])", "1")),
    (ENGINES[0], (ENGINE, "(!scores_i || place_q == Place)", "1")),
    (ENGINES[0], (ENGINE, "all + (restart_q ? '0 : row_sum_q)", "all")),
    (ENGINES[2], (ENGINE, "planes[0 +: Elements] | planes[Elements +: Elements]", "planes[0 +: Elements]")),
    (ENGINES[0], (ENGINE, "assign advance = !sum_valid_o || sum_ready_i;", "assign advance = 1'b1;")),
    (ENGINES[0], (ENGINE, "assign x_read_o = step && advance;", "assign x_read_o = step;")),
    (ENGINES[0], (ENGINE, "{take_q[3:0], step && take}", "{take_q[3:0], step && restart}")),
    (ENGINES[0], (ENGINE, "{last_q[3:0], step && last}", "{last_q[3:0], step && take}")),
    (ENGINES[7], (ENGINE, ".Bits(YBits)", ".Bits(Bits)")),
    (ENGINES[8], (DPU, "total[Bits-YBits +: SumBits]", "total[SumBits-1:0]")),
]
VARIANTS = [Variant({**engine, "SumBits": SUM_BITS, "LaneBits": 5}) for engine in ENGINES] + [
    Variant({**engine, "SumBits": SUM_BITS, "LaneBits": 5}, fault) for engine, fault in FAULTS
]
SETTINGS = (
    "variant_i", "scores_i", "signed_i", "binary_i", "heads_i", "rows_i", "groups_i", "chunks_i", "last_elements_i",
    "x_base_i", "x_row_stride_i", "y_base_i", "y_chunk_stride_i", "y_bit_stride_i", "y_group_stride_i",
    "y_head_stride_i",
)  # fmt: skip
X_BITS = max(engine["Elements"] * engine["Bits"] for engine in ENGINES)
Y_BITS = max(engine["Elements"] * engine["Units"] for engine in ENGINES)
SUMS_BITS = max(engine["Units"] for engine in ENGINES) * SUM_BITS
INTERFACE = Interface(
    settings=SETTINGS,
    start="start_i",
    done="done_o",
    sinks=(Stream("sum_valid_o", "sum_ready_i", "sum_data_o", SUMS_BITS),),
    reads=(
        ReadPort("x_read_o", "x_address_o", "x_data_i", X_BITS),
        ReadPort("y_read_o", "y_address_o", "y_data_i", Y_BITS),
    ),
)


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    folder = tmp_path_factory.mktemp("engine")
    files = hardware_variants.write(VARIANTS, ENGINE, SOURCES, folder / "rtl")
    return jobs.build(files, f"{ENGINE}_variants", INTERFACE, folder / "build")


def module_of(engine):
    elements = engine["Elements"]
    return ModuleConfig(p_dpu=engine["Units"], p_quan=elements, p_vu=4, p_ln=4, p_pe=elements)


def codes(rng, bits, signed, shape):
    if signed and bits == 1:
        return rng.choice([-1, 1], shape)
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1)) if signed else (0, 2**bits)
    extreme = rng.random() < 0.1
    return np.full(shape, low if signed else high - 1) if extreme else rng.integers(low, high, shape)


def memory(words, bits, base, rng):
    """Words of a memory of the bench from `base` on; what the engine must not use is noise."""
    padded = np.zeros((len(words), -(-bits // 32) * 4), np.uint8)
    padded[:, : words.shape[1]] = words
    return np.vstack([rng.integers(0, 2**32, (base, padded.shape[1] // 4), np.uint32), padded.view("<u4")])


def noisy(words, valid, rng):
    """Words with random bits where `valid`, words of the same layout, are 0: what pads rows may be anything."""
    noise = rng.integers(0, 256, words.shape, np.uint8)
    return (words & valid) | (noise & ~valid)


def bits_of_y(engine):
    return engine.get("YBits", engine["Bits"])


def linear(rng, engine):
    module, bits = module_of(engine), engine["Bits"]
    rows, inputs, outputs, halves = (int(rng.integers(1, limit)) for limit in (5, 40, 12, 3))
    signed = bool(rng.integers(0, 2))
    x, w = codes(rng, bits, signed, (rows, inputs)), rng.integers(0, 2, (halves, outputs, inputs))
    ones = np.full((rows, inputs), 2**bits - 1)
    words = noisy(layout.code_words(x, bits, module), layout.code_words(ones, bits, module), rng)
    filled = noisy(
        layout.weight_words(w, module), layout.weight_words(np.ones((halves, outputs, inputs), int), module), rng
    )
    sums = np.stack([x @ (2 * w[half] - 1).T for half in range(halves)], axis=1)  # (rows, halves, outputs)
    return products.linear(module, rows, inputs, outputs, halves, signed), words, filled, sums


def weighted(rng, engine):
    """A linear layer whose weights have as many bits as y has."""
    module, bits, weight_bits = module_of(engine), engine["Bits"], bits_of_y(engine)
    rows, inputs, outputs = (int(rng.integers(1, limit)) for limit in (5, 40, 12))
    signed = bool(rng.integers(0, 2))
    x, w = codes(rng, bits, signed, (rows, inputs)), codes(rng, weight_bits, True, (outputs, inputs))
    ones = np.full((rows, inputs), 2**bits - 1)
    words = noisy(layout.code_words(x, bits, module), layout.code_words(ones, bits, module), rng)
    product = products.linear(module, rows, inputs, outputs, 1, signed, weight_bits)
    return product, words, layout.weight_planes(w, weight_bits, module), (x @ w.T)[:, None]


def attention(rng, engine):
    bits, head_width = engine["Bits"], engine["HeadWidth"]
    tokens, heads = int(rng.integers(1, 20)), int(rng.integers(1, 4))
    return module_of(engine), bits, head_width, tokens, heads


def scores(rng, engine):
    module, bits, head_width, tokens, heads = attention(rng, engine)
    y_bits = bits_of_y(engine)
    queries, keys = (codes(rng, each, True, (tokens, heads * head_width)) for each in (bits, y_bits))
    ones = np.full(queries.shape, 2**bits - 1)
    words = noisy(layout.code_words(queries, bits, module), layout.code_words(ones, bits, module), rng)
    by_head = [each.reshape(tokens, heads, head_width).transpose(1, 0, 2) for each in (queries, keys)]
    sums = by_head[0] @ by_head[1].transpose(0, 2, 1)  # (heads, tokens, tokens)
    product = products.scores(module, tokens, heads, head_width, y_bits)
    return product, words, layout.key_words(keys, y_bits, module), sums.reshape(-1, 1, tokens)


def context(rng, engine):
    module, bits, head_width, tokens, heads = attention(rng, engine)
    positions = tokens + int(rng.integers(0, 12))
    probabilities = codes(rng, bits, False, (heads, tokens, tokens))
    y_bits = bits_of_y(engine)
    values = codes(rng, y_bits, True, (tokens, heads * head_width))
    flat = probabilities.reshape(-1, tokens)
    ones = np.full(flat.shape, 2**bits - 1)
    words = noisy(layout.code_words(flat, bits, module), layout.code_words(ones, bits, module), rng)
    planes = layout.value_words(values, y_bits, heads, module, positions)
    sums = probabilities @ values.reshape(tokens, heads, head_width).transpose(1, 0, 2)  # (heads, tokens, width)
    product = products.context(module, tokens, heads, head_width, y_bits, positions)
    return product, words, planes, sums.reshape(-1, 1, head_width)


KINDS = (linear, weighted, scores, context)


def make_job(rng, variant, kind):
    """A job for one engine, and the sums (rows, parts, outputs) that must come out."""
    engine = VARIANTS[variant].parameters
    product, x, y, sums = kind(rng, engine)
    bases = {"x_base_i": int(rng.integers(0, 9)), "y_base_i": int(rng.integers(0, 9))}
    fields = {f"{name}_i": int(value) for name, value in asdict(product).items()}
    settings = {name: ({"variant_i": variant} | bases | fields)[name] for name in SETTINGS}
    memories = (memory(x, X_BITS, bases["x_base_i"], rng), memory(y, Y_BITS, bases["y_base_i"], rng))
    return Job(settings, beats=(product.all_rows * product.groups,), memories=memories), product, sums


def problems(variant, product, sums, passes):
    """What is wrong with both runs of a job, in words."""
    units = VARIANTS[variant].parameters["Units"]
    found = []
    for name, run in zip(streams.PASSES, passes, strict=True):
        found += [f"{problem} {name}" for problem in run.problems]
        if run.problems:
            continue
        lanes = streams.unpack(run.beats[0], units, SUM_BITS, signed=True)
        lanes = lanes.reshape(*sums.shape[:2], -1)[:, :, : sums.shape[2]]
        if (lanes != sums).any():
            row, part, output = np.argwhere(lanes != sums)[0]
            found.append(f"row {row} part {part} output {output} {name}: {lanes[row, part, output]} in RTL, "
                         f"{sums[row, part, output]} in NumPy")  # fmt: skip
    if not found and passes[0].cycles != product.cycles:
        found.append(f"{passes[0].cycles} cycles measured, {product.cycles} predicted")
    return found


@pytest.mark.parametrize("count", [3, pytest.param(60, marks=pytest.mark.slow)])
def test_sums_and_cycles_of_random_products(bench, count):
    rng = np.random.default_rng(count)
    wanted = [(v, make_job(rng, v, kind)) for v in range(len(ENGINES)) for _ in range(count)
              for kind in KINDS]  # fmt: skip
    runs = bench.run([job for _, (job, _, _) in wanted])
    for (variant, (_, product, sums)), *passes in zip(wanted, *runs, strict=True):
        assert problems(variant, product, sums, passes) == [], (VARIANTS[variant], product)


def test_faults_are_found(bench):
    rng = np.random.default_rng(1)
    wanted = [(len(ENGINES) + v, make_job(rng, len(ENGINES) + v, kind)) for v in range(len(FAULTS)) for _ in range(6)
              for kind in KINDS]  # fmt: skip
    runs = bench.run([job for _, (job, _, _) in wanted], patience_cycles=500)
    found = set()
    for (variant, (_, product, sums)), *passes in zip(wanted, *runs, strict=True):
        if problems(variant, product, sums, passes):
            found.add(variant)
    assert [fault for v, (_, fault) in enumerate(FAULTS, start=len(ENGINES)) if v not in found] == []
