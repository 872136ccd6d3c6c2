"""What BAT's store writes is what the engine's layouts say, in the predicted cycles; its bench finds faults."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import hardware_variants
import lutra.accelerators.bat
from hardware_variants import Variant
from lutra.accelerators.bat import layout
from lutra.accelerators.bat.config import BatConfig, ModuleConfig
from lutra.accelerators.bat.layout import chunks
from lutra.accelerators.bat.parameters import store_parameters, value_lanes
from lutra.hardware.bench import jobs, streams
from lutra.hardware.bench.jobs import Interface, Job, Stream, WritePort

pytestmark = pytest.mark.usefixtures("unoptimised")

RTL = Path(lutra.accelerators.bat.__file__).parent / "rtl"
SOURCES = {path.stem: path.read_text() for path in RTL.glob("*.sv")}
STORE, PLANES, TRANSPOSE = "lutra_bat_store", "lutra_bat_planes", "lutra_bat_transpose"

MODULE = ModuleConfig(p_dpu=4, p_quan=8, p_vu=4, p_ln=4, p_pe=16)
CONFIGS = [
    BatConfig((MODULE,), activation_bits=4, positions=40, max_width=32, heads=5, head_width=4, max_intermediate=32),
    BatConfig((replace(MODULE, p_dpu=6, p_quan=4),), activation_bits=2, positions=40, max_width=32, heads=3,
              head_width=8, max_intermediate=32),
    BatConfig((replace(MODULE, p_dpu=8, p_pe=8),), activation_bits=1, positions=20, max_width=32, heads=2,
              head_width=16, max_intermediate=32),
]  # fmt: skip
FAULTS = [
    (0, STORE, "context_i ? CountBits'(HeadPlaces) : CountBits'(BeatPlaces)", "CountBits'(BeatPlaces)"),
    (0, STORE, "(i % Lanes % HeadWidth)", "(i % Lanes)"),
    (0, STORE, "place_q  <= place_head_q;", "place_q  <= '0;"),
    (0, STORE, "rst_ni && valid_i && queries && CountBits'(p)", "rst_ni && queries && CountBits'(p)"),
    (1, STORE, "x_word_q <= x_word_q + AddressBits'(wraps);", ""),
    (0, STORE, "rst_ni && take && all_end", "rst_ni && take && rows_end"),
    (0, PLANES, "Bits - 1 - b", "b"),
    (0, PLANES, "(unit_q == LastUnit ? AddressBits'(Bits) : '0)", "'0"),
    (2, PLANES, "key_wraps ? key_q + key_chunk_stride_i : key_q", "key_q"),
    (1, PLANES, "head_end || unit_part_q ==", "unit_part_q =="),
    (1, PLANES, "value_q + value_plane_stride_i : value_group_q", "value_q + value_plane_stride_i : value_q"),
    (0, PLANES, "token_q == 3'd7 && octet_q == Octets - 1'b1", "token_q == 3'd7 && 0"),
    (0, PLANES, "last_plane && (keys_i || step_last)", "last_plane"),
    (0, PLANES, "keys_i && unit_q == Unit && place_q == Place", "keys_i && unit_q == Unit"),
    (1, PLANES, "unit_part_q == Part && octet_q == Octet", "octet_q == Octet"),
    (1, TRANSPOSE, "part_i == Part", "1"),
    (0, TRANSPOSE, ": before_bytes[i]", ": 0"),
    (0, TRANSPOSE, "if (write_i &&", "if (0 &&"),
]
PARAMETERS = [store_parameters(config, config.attention, attention=True) for config in CONFIGS]
VARIANTS = [Variant(each) for each in PARAMETERS] + [Variant(PARAMETERS[base], fault) for base, *fault in FAULTS]
BASES = [*range(len(CONFIGS)), *(base for base, *_ in FAULTS)]
SETTINGS = (
    "variant_i", "attention_i", "context_i", "rows_i", "heads_i", "beats_i", "x_base_i", "x_row_stride_i",
    "key_base_i", "key_chunk_stride_i", "value_base_i", "value_plane_stride_i", "value_parts_i",
)  # fmt: skip
CODE_BITS = max(p["Lanes"] * p["Bits"] for p in PARAMETERS)
X_BITS, X_ENABLES = (
    max(p["Elements"] * p["Bits"] for p in PARAMETERS),
    max(p["Elements"] // p["XGranule"] for p in PARAMETERS),
)
Y_BITS, Y_ENABLES = (
    max(p["Units"] * p["Elements"] for p in PARAMETERS),
    max(p["Units"] * p["Elements"] // p["YGranule"] for p in PARAMETERS),
)
INTERFACE = Interface(
    settings=SETTINGS,
    start="start_i",
    done="done_o",
    sources=(Stream("valid_i", "ready_o", "data_i", CODE_BITS),),
    writes=(
        WritePort("x_write_o", X_ENABLES, "x_address_o", "x_data_o", X_BITS),
        WritePort("y_write_o", Y_ENABLES, "y_address_o", "y_data_o", Y_BITS),
    ),
)


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    folder = tmp_path_factory.mktemp("store")
    files = hardware_variants.write(VARIANTS, STORE, SOURCES, folder / "rtl")
    return jobs.build(files, f"{STORE}_variants", INTERFACE, folder / "build")


def codes(rng, config, shape):
    """Signed codes."""
    bits = config.activation_bits
    return rng.choice([-1, 1], shape) if bits == 1 else rng.integers(-(2 ** (bits - 1)), 2 ** (bits - 1), shape)


def beats_of(config, rows):
    """Codes (rows, segments, elements) as beats of the port; noise pads the last beat of a segment."""
    lanes, bits = config.attention.p_quan, config.activation_bits
    beats = chunks(rows.shape[2], lanes)
    padded = np.pad(rows, ((0, 0), (0, 0), (0, beats * lanes - rows.shape[2])), constant_values=1)
    flat = (padded > 0).astype(int) if bits == 1 else padded
    words = streams.pack(flat.reshape(-1, lanes), bits)
    return beats, np.pad(words, ((0, 0), (0, -(-CODE_BITS // 32) - words.shape[1])))


def job_of(variant, words, **fields):
    settings = dict.fromkeys(SETTINGS, 0) | {"variant_i": variant, "heads_i": 1} | fields
    return Job(settings, sources=(words,))


def plain(rng, variant, config):
    rows, width = int(rng.integers(1, 6)), int(rng.integers(1, 33))
    x = codes(rng, config, (rows, width))
    beats, words = beats_of(config, x[:, None])
    base, stride = int(rng.integers(0, 5)), chunks(width, config.attention.p_pe)
    job = job_of(variant, words, rows_i=rows, beats_i=beats, x_base_i=base, x_row_stride_i=stride)
    return job, {"x": (base, layout.code_words, x)}, rows * beats


def contexts(rng, variant, config):
    tokens, heads, head_width = int(rng.integers(1, 6)), int(rng.integers(1, config.heads + 1)), config.head_width
    x = codes(rng, config, (tokens, heads * head_width))
    by_head = x.reshape(tokens, heads, head_width).transpose(1, 0, 2).reshape(-1, 1, head_width)
    beats, words = beats_of(config, by_head)
    base, stride = int(rng.integers(0, 5)), chunks(heads * head_width, config.attention.p_pe)
    job = job_of(variant, words, context_i=1, rows_i=tokens, heads_i=heads, beats_i=beats, x_base_i=base,
                 x_row_stride_i=stride)  # fmt: skip
    return job, {"x": (base, layout.code_words, x)}, tokens * heads * beats


def attention(rng, variant, config):
    module, bits, head_width = config.attention, config.activation_bits, config.head_width
    tokens, heads = int(rng.integers(1, config.positions + 1)), int(rng.integers(1, config.heads + 1))
    width = heads * head_width
    rows = codes(rng, config, (tokens, 3, width))
    beats, words = beats_of(config, rows)
    groups, parts = chunks(tokens, module.p_dpu), width // value_lanes(config, module)
    base, room = int(rng.integers(0, 5)), chunks(config.positions, module.p_pe)
    values_at = base + chunks(width, module.p_pe) * groups * bits
    job = job_of(
        variant, words, attention_i=1, rows_i=tokens, beats_i=beats, x_base_i=base,
        x_row_stride_i=chunks(width, module.p_pe), key_base_i=base, key_chunk_stride_i=groups * bits,
        value_base_i=values_at, value_plane_stride_i=room, value_parts_i=parts,
    )  # fmt: skip
    places = {
        "x": (base, layout.code_words, rows[:, 0]),
        "keys": (base, layout.key_words, rows[:, 1]),
        "values": (values_at, lambda v, b, m: layout.value_words(v, b, heads, m, config.positions), rows[:, 2]),
    }
    return job, places, tokens * (beats + beats * bits + parts * bits)


def memory_after(writes, enables, bits, words):
    """Bits (words, bits) of a memory that was noise, after the writes."""
    memory = np.random.default_rng(0).integers(0, 2, (words, bits), np.uint8)
    stored = np.unpackbits(writes.data.view(np.uint8), axis=1, bitorder="little")[:, :bits]
    written = np.unpackbits(writes.enables.view(np.uint8), axis=1, bitorder="little")[:, :enables]
    written = np.repeat(written, bits // enables, axis=1).astype(bool)
    for address, new, mask in zip(writes.addresses, stored, written, strict=True):
        memory[address, mask] = new[mask]
    return memory


def problems(config, places, cycles, passes):
    module, bits = config.attention, config.activation_bits
    p = store_parameters(config, module, attention=True)
    found = []
    for run in passes:
        found += run.problems
        kinds = {
            "x": (run.writes[0], module.p_pe // p["XGranule"], module.p_pe * bits),
            "y": (run.writes[1], p["Units"] * p["Elements"] // p["YGranule"], p["Units"] * p["Elements"]),
        }
        memories = {kind: memory_after(*ports, 512) for kind, ports in kinds.items()}
        for name, (base, place, numbers) in places.items():
            memory = memories["x" if name == "x" else "y"]
            valid = place(np.where(numbers == numbers, (1 << bits) - 1, 0), bits, module)
            wanted, valid = (
                np.unpackbits(words, axis=1, bitorder="little") for words in (place(numbers, bits, module), valid)
            )
            if ((memory[base : base + len(wanted)] ^ wanted) & valid).any():
                found.append(f"{name} differ")
        if "values" not in places and len(run.writes[1].addresses):
            found.append("rows of x went to y")
    if not found and passes[0].cycles != cycles + 1:
        found.append(f"{passes[0].cycles} cycles, {cycles + 1} predicted")
    return found


def make(rng, variants, count):
    kinds = (plain, contexts, attention)
    wanted = [(v, *kind(rng, v, CONFIGS[BASES[v]])) for v in variants for _ in range(count) for kind in kinds]
    return wanted


def test_rows_and_planes_lie_where_the_layouts_say(bench):
    wanted = make(np.random.default_rng(1), range(len(CONFIGS)), 4)
    runs = bench.run([job for _, job, _, _ in wanted])
    for (variant, job, places, cycles), *passes in zip(wanted, *runs, strict=True):
        assert problems(CONFIGS[variant], places, cycles, passes) == [], job.settings


def test_faults_are_found(bench):
    wanted = make(np.random.default_rng(2), range(len(CONFIGS), len(VARIANTS)), 6)
    runs = bench.run([job for _, job, _, _ in wanted], patience_cycles=500)
    found = set()
    for (variant, _, places, cycles), *passes in zip(wanted, *runs, strict=True):
        if problems(CONFIGS[BASES[variant]], places, cycles, passes):
            found.add(variant)
    assert [fault for v, fault in enumerate(FAULTS, start=len(CONFIGS)) if v not in found] == []


def test_granules_are_common_divisors():
    for config, p in zip(CONFIGS, PARAMETERS, strict=True):
        assert p["XGranule"] == math.gcd(p["Lanes"], config.head_width)
        assert p["ValueLanes"] == math.gcd(p["Lanes"], config.head_width, p["Units"])
