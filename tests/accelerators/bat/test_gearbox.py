"""Rows pass through BAT's gearbox in order and without a lost cycle, for every ratio of lanes in the design space."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import hardware_variants
import lutra.accelerators.bat
from hardware_variants import Variant
from lutra.accelerators.bat.layout import chunks
from lutra.accelerators.bat.parameters import Gearbox
from lutra.hardware.bench import jobs, streams
from lutra.hardware.bench.jobs import Interface, Job, Stream

pytestmark = pytest.mark.usefixtures("unoptimised")

RTL = Path(lutra.accelerators.bat.__file__).parent / "rtl"
SOURCES = {path.stem: path.read_text() for path in RTL.glob("*.sv")}
GEARBOX = "lutra_bat_gearbox"
BITS, MOST = 6, 60
# The paper's p_dpu : p_vu divided by 8, and two of its p_vu : p_quan.
RATIOS = [(dpu, vu) for dpu in (1, 2, 4, 6, 8, 12) for vu in (4, 8, 12, 16, 20)]
PARTED = [(12, 16, 4), (4, 16, 12), (8, 4, 12)]
"""Lanes, and what the elements of a row's three parts are a multiple of."""
FAULTS = [
    ("assign ready_o = !full_q[in_row_q];", "assign ready_o = 1'b1;"),
    ("out_row_q         <= !out_row_q;", ""),
    ("BlockBits'(OutStep != OutGranules && Bank < out_granule_q)", "BlockBits'(0)"),
    ("in_start_q + in_stride_i;\n      in_start_q ", "in_start_q;\n      in_start_q "),
    ("out_first_q   <= next_granule;", ""),
    ("CountBits'(b / InGranules * InGranules)", "CountBits'(b)"),
    ("((s + g) % Banks)", "g"),
    ("in_segment_last && in_segment_q == in_segments_i - 1'b1", "in_segment_last"),
]  # fmt: skip
PARTS = 3
VARIANTS = [
    *(Variant(Gearbox(*lanes).parameters(BITS, (MOST, MOST))) for lanes in RATIOS),
    *(Variant(Gearbox(a, b).parameters(BITS, (3 * MOST,), part=part)) for a, b, part in PARTED),
]
PLAIN, FIRST_PARTED = RATIOS.index((6, 4)), len(RATIOS)
HALVED = RATIOS.index((4, 12))
VARIANTS += [
    Variant(VARIANTS[base].parameters, (GEARBOX, *fault)) for base in (HALVED, FIRST_PARTED) for fault in FAULTS
]
BASES = [HALVED] * len(FAULTS) + [FIRST_PARTED] * len(FAULTS)
COUNTS = ("in_segments_i", "in_beats_i", "in_stride_i", "out_segments_i", "out_beats_i", "out_stride_i", "out_offset_i")
IN_BITS = BITS * max(v.parameters["InLanes"] for v in VARIANTS)
OUT_BITS = BITS * max(v.parameters["OutLanes"] for v in VARIANTS)
INTERFACE = Interface(
    settings=("variant_i", *COUNTS),
    sources=(Stream("valid_i", "ready_o", "data_i", IN_BITS),),
    sinks=(Stream("valid_o", "ready_i", "data_o", OUT_BITS),),
)


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gearbox")
    files = hardware_variants.write(VARIANTS, GEARBOX, SOURCES, folder / "rtl")
    return jobs.build(files, f"{GEARBOX}_variants", INTERFACE, folder / "build")


def padded(rows, lanes, words_bits):
    """Rows (n, segments, elements) -> beats (n, segments, beats, lanes), and as words of the port."""
    beats = chunks(rows.shape[2], lanes)
    lanes_of = np.pad(rows, ((0, 0), (0, 0), (0, beats * lanes - rows.shape[2]))).reshape(*rows.shape[:2], beats, lanes)
    words = streams.pack(lanes_of.reshape(-1, lanes), BITS)
    return beats, np.pad(words, ((0, 0), (0, -(-words_bits // 32) - words.shape[1])))


def make_job(rng, variant, base):
    """A job, the rows that must come out (n, segments, elements), and how long it takes."""
    parameters = VARIANTS[base].parameters
    gearbox = Gearbox(parameters["InLanes"], parameters["OutLanes"])
    count = int(rng.integers(1, 6))
    if base < FIRST_PARTED:
        segments, elements = int(rng.integers(1, 3)), int(rng.integers(1, MOST + 1))
        rows = rng.integers(0, 2**BITS, (count, segments, elements))
        came, stride, offset = rows, chunks(elements, gearbox.block), 0
        out_stride = stride
    else:
        multiple = PARTED[base - FIRST_PARTED][2]
        elements = multiple * int(rng.integers(1, MOST // multiple + 1))
        rows = rng.integers(0, 2**BITS, (count, PARTS, elements))
        came, stride = rows.reshape(count, 1, -1), 0
        out_stride, offset = gearbox.stride(elements)
    in_beats, words = padded(came, gearbox.in_lanes, IN_BITS)
    out_beats = chunks(elements, gearbox.out_lanes)
    values = (came.shape[1], in_beats, stride, rows.shape[1], out_beats, out_stride, offset)
    settings = {"variant_i": variant, **dict(zip(COUNTS, values, strict=True))}
    ins, outs = came.shape[1] * in_beats, rows.shape[1] * out_beats
    job = Job(settings, sources=(words,), beats=(count * outs,))
    return job, rows, ins + outs + (count - 1) * max(ins, outs) - 1


def problems(base, rows, cycles, passes):
    lanes = VARIANTS[base].parameters["OutLanes"]
    found = [problem for run in passes for problem in run.problems]
    for run in passes if not found else ():
        beats = streams.unpack(run.beats[0], lanes, BITS, signed=False)
        if (beats.reshape(*rows.shape[:2], -1)[:, :, : rows.shape[2]] != rows).any():
            found.append("other elements came out")
    if not found and passes[0].cycles != cycles:
        found.append(f"{passes[0].cycles} cycles, {cycles} predicted")
    return found


def test_rows_pass_in_order_and_without_a_gap(bench):
    rng = np.random.default_rng(1)
    wanted = [(base, *make_job(rng, base, base)) for base in range(len(RATIOS) + len(PARTED)) for _ in range(4)]
    runs = bench.run([job for _, job, _, _ in wanted])
    for (base, _, rows, cycles), *passes in zip(wanted, *runs, strict=True):
        assert problems(base, rows, cycles, passes) == [], (VARIANTS[base], rows.shape)


def test_faults_are_found(bench):
    rng = np.random.default_rng(2)
    first = len(RATIOS) + len(PARTED)
    wanted = [(first + v, base, *make_job(rng, first + v, base)) for v, base in enumerate(BASES) for _ in range(6)]
    runs = bench.run([job for _, _, job, _, _ in wanted], patience_cycles=500)
    found = set()
    for (variant, base, _, rows, cycles), *passes in zip(wanted, *runs, strict=True):
        if problems(base, rows, cycles, passes):
            found.add(FAULTS[(variant - first) % len(FAULTS)])
    assert [fault for fault in FAULTS if fault not in found] == []
