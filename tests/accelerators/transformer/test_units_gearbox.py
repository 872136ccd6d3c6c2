"""Rows pass through the transformer's gearbox in order and without a lost cycle, whatever the lanes on both sides."""

from __future__ import annotations

import numpy as np
import pytest

import hardware_variants
from hardware_variants import Variant
from lutra.hardware.bench import jobs, streams
from lutra.hardware.bench.jobs import Interface, Job, Stream
from transformer_units import PREFIX, SOURCES

pytestmark = pytest.mark.usefixtures("unoptimised")

GEARBOX = f"{PREFIX}gearbox"
FORMS = [
    {"Bits": bits, "Elements": elements, "InLanes": in_lanes, "OutLanes": out_lanes}
    for bits, elements, in_lanes, out_lanes in [
        *((8, 17, 4, 6), (8, 24, 8, 1), (3, 13, 1, 5), (16, 12, 12, 4), (8, 7, 16, 7), (1, 10, 4, 10)),
    ]
]  # fmt: skip
FAULTS = {
    "a bank is overwritten": ("ready_o   = !full_q[in_bank_q]", "ready_o   = 1'b1"),
    "a bank leaves twice": ("out_bank_q <= out_bank_q ^ give_last", "out_bank_q <= out_bank_q"),
    "a bank is never free": ("& ~freed", ""),
    "both banks are one": ("in_bank_q == b[0]", "1"),
    "a row leaves before it is there": ("valid_o   = full_q[out_bank_q]", "valid_o   = full_q[out_bank_q] || take"),
    "beats of the row before": ("take_last ? '0 : in_beat_q + 1'b1", "in_beat_q + 1'b1"),
    "more beats than a row has": ("give_last ? '0 : out_beat_q + 1'b1", "out_beat_q + 1'b1"),
    "elements beyond the row": ("BankBits'(row_q);", "{BankBits{1'b1}} << RowBits | BankBits'(row_q);"),
}
VARIANTS = [Variant(form) for form in FORMS] + [Variant(FORMS[0], (GEARBOX, *fault)) for fault in FAULTS.values()]
IN_BITS, OUT_BITS = (max(form["Bits"] * form[side] for form in FORMS) for side in ("InLanes", "OutLanes"))
INTERFACE = Interface(
    settings=("variant_i",),
    sources=(Stream("valid_i", "ready_o", "data_i", IN_BITS),),
    sinks=(Stream("valid_o", "ready_i", "data_o", OUT_BITS),),
)


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gearbox")
    files = hardware_variants.write(VARIANTS, GEARBOX, SOURCES, folder / "rtl", gate_clocks=True)
    return jobs.build(files, f"{GEARBOX}_variants", INTERFACE, folder / "build")


def beats_of(form, lanes):
    return -(-form["Elements"] // lanes)


def make_job(rng, variant, form, rows):
    """A job that brings rows (n, Elements); garbage fills up the last beat of each."""
    beats, lanes = beats_of(form, form["InLanes"]), form["InLanes"]
    garbage = rng.integers(0, 2 ** form["Bits"], (len(rows), beats * lanes - form["Elements"]))
    words = streams.pack(np.concatenate([rows, garbage], axis=1).reshape(-1, lanes), form["Bits"])
    padded = np.pad(words, ((0, 0), (0, streams.words_of_bits(IN_BITS) - words.shape[1])))
    return Job({"variant_i": variant}, sources=(padded,), beats=(len(rows) * beats_of(form, form["OutLanes"]),))


def problems(form, rows, passes):
    found = [problem for run in passes for problem in run.problems]
    lanes = form["OutLanes"]
    ins, outs = beats_of(form, form["InLanes"]), beats_of(form, lanes)
    for run in passes if not found else ():
        elements = streams.unpack(run.beats[0], lanes, form["Bits"], signed=False).reshape(len(rows), -1)
        if (elements[:, : form["Elements"]] != rows).any() or elements[:, form["Elements"] :].any():
            found.append("other elements came out")
    predicted = ins + outs + (len(rows) - 1) * max(ins, outs) - 1
    if not found and passes[0].cycles != predicted:
        found.append(f"{passes[0].cycles} cycles, {predicted} predicted")
    return found


def found_in(bench, rng, variant, form, count):
    every = [rng.integers(0, 2 ** form["Bits"], (int(rng.integers(1, 7)), form["Elements"])) for _ in range(count)]
    runs = bench.run([make_job(rng, variant, form, rows) for rows in every], patience_cycles=300)
    return [problem for rows, *passes in zip(every, *runs, strict=True) for problem in problems(form, rows, passes)]


@pytest.mark.parametrize("variant", range(len(FORMS)), ids=[f"{f['InLanes']} to {f['OutLanes']} lanes" for f in FORMS])
def test_rows_pass_in_order_and_without_a_gap(bench, variant):
    assert found_in(bench, np.random.default_rng(variant), variant, FORMS[variant], 8) == []


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_found(bench, fault):
    variant = len(FORMS) + list(FAULTS).index(fault)
    assert found_in(bench, np.random.default_rng(9), variant, FORMS[0], 6) != []
