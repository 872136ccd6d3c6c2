"""BAT's DMA moves what it is told to in legal AXI4 bursts and in the predicted cycles; its bench finds faults."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import hardware_variants
import lutra.accelerators.bat
from hardware_variants import Variant
from lutra.hardware.bench import jobs, streams
from lutra.hardware.bench.jobs import AxiPort, Interface, Job, Stream

RTL = Path(lutra.accelerators.bat.__file__).parent / "rtl"
SOURCES = {path.stem: path.read_text() for path in RTL.glob("*.sv")}
READ, WRITE = "lutra_bat_dma_read", "lutra_bat_dma_write"
BEAT_BYTES, BEAT_BITS, MEMORY_BYTES, BURST_BEATS = 16, 128, 64 * 1024, 256
FAULTS = {
    READ: [
        ("asked_q < BeatBits'(room) ?", "1 ?"),
        ("asked_q[BurstBits:0] : room", "room : room"),
        ("8'(burst - 1'b1)", "8'(burst)"),
        ("asked_q != '0 && queued_q != QueueBits'(Queued)", "asked_q != '0"),
        ("- QueueBits'(beat && rlast_i)", ""),
        ("coming_q == BeatBits'(1)", "coming_q == BeatBits'(2)"),
        ("address_q <= address_q + (AddressBits'(burst) << ByteBits);", ""),
        ("assign rready_o  = ready_i;", "assign rready_o  = 1'b1;"),
    ],
    WRITE: [
        ("asked_q < BeatBits'(room) ?", "1 ?"),
        ("8'(burst - 1'b1)", "8'(burst)"),
        ("valid_i && open_q != '0;", "valid_i;"),
        ("sent_q == BeatBits'(1) || (&place_q)", "sent_q == BeatBits'(1)"),
        ("sent_q == BeatBits'(1) || (&place_q)", "(&place_q)"),
        ("place_q   <= address_i[ByteBits +: BurstBits];", "place_q   <= '0;"),
        ("queued_q == QueueBits'(1) && asked_q == '0 && sent_q == '0", "asked_q == '0 && sent_q == '0"),
        ("- QueueBits'(beat && wlast_o)", ""),
        ("assign ready_o   = wready_i && open_q != '0;", "assign ready_o   = open_q != '0;"),
        ("address_q <= address_q + (AddressBits'(burst) << ByteBits);", ""),
    ],
}


def interface(top):
    common = {"settings": ("variant_i", "address_i", "beats_i"), "start": "start_i", "done": "done_o"}
    if top == READ:
        sinks = (Stream("valid_o", "ready_i", "data_o", BEAT_BITS),)
        return Interface(**common, sinks=sinks, axi=(AxiPort("", writes=False),))
    return Interface(
        **common, sources=(Stream("valid_i", "ready_o", "data_i", BEAT_BITS),), axi=(AxiPort("", writes=True),)
    )


def make_job(rng, top, variant, number):
    words = rng.integers(0, 2**32, (MEMORY_BYTES // 4,), np.uint32)
    # Short and long transfers, from and to the edges of bursts; many bursts for one that asks for too many.
    beats = int(rng.choice([1, 2, 255, 256, 257, 1800])) if number < 6 else int(rng.integers(1, 700))
    first = int(rng.choice([0, 1, 255, 256])) if number % 2 else int(rng.integers(0, 1024))
    settings = {"variant_i": variant, "address_i": first * BEAT_BYTES, "beats_i": beats}
    data = rng.integers(0, 2**32, (beats, BEAT_BITS // 32), np.uint32)
    latency, gap = int(rng.integers(1, 60)), int(rng.integers(1, 4))
    streams_of = {"beats": (beats,)} if top == READ else {"sources": (data,)}
    return Job(settings, axi_memory=words, axi_latency=latency, axi_gap=gap, **streams_of), data


def problems(top, job, data, passes):
    first, beats = job.settings["address_i"] // 4, job.settings["beats_i"]
    place = slice(first, first + 4 * beats)
    found = []
    for name, run in zip(streams.PASSES, passes, strict=True):
        found += [f"{problem} {name}" for problem in run.problems]
        expected = job.axi_memory.copy()
        if top == WRITE:
            expected[place] = data.reshape(-1)
        elif not run.problems and (run.beats[0].reshape(-1) != expected[place]).any():
            found.append(f"other beats {name}")
        if (run.axi_memory != expected).any():
            found.append(f"memory holds something else {name}")
        if run.most_bursts[0] > 4:
            found.append(f"{run.most_bursts[0]} bursts at the same time")
    # The address in the cycle after the start, then its first beat `latency` later, or the confirmation after the last.
    last = (beats - 1) * job.axi_gap
    cycles = 1 + job.axi_latency + last if top == READ else 2 + last + job.axi_latency
    if not found and passes[0].cycles != cycles:
        found.append(f"{passes[0].cycles} cycles measured, {cycles} predicted")
    return found


@pytest.mark.parametrize("top", [READ, WRITE])
def test_transfers_are_whole_legal_and_in_time_and_faults_are_found(tmp_path, top):
    variants = [Variant(), *(Variant({}, (top, *fault)) for fault in FAULTS[top])]
    files = hardware_variants.write(variants, top, SOURCES, tmp_path / "rtl")
    bench = jobs.build(files, f"{top}_variants", interface(top), tmp_path / "build")
    rng = np.random.default_rng(1)
    wanted = [(v, *make_job(rng, top, v, number)) for v in range(len(variants)) for number in range(14 if not v else 7)]
    runs = bench.run([job for _, job, _ in wanted], patience_cycles=300)
    found = {v: [] for v in range(len(variants))}
    for (variant, job, data), *passes in zip(wanted, *runs, strict=True):
        found[variant] += problems(top, job, data, passes)
    assert found[0] == []
    assert [fault for v, fault in enumerate(FAULTS[top], start=1) if not found[v]] == []
