"""Looks into a block that differs: runs it again alone, with probes inside and a waveform of the cycles in question."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from lutra.accelerators.block.bench import harness
from lutra.accelerators.block.bench.compare import BlockResult, first_inner_difference
from lutra.accelerators.block.bench.harness import Device, Probe

MARGIN_CYCLES = 4


def probes(device: Device) -> tuple[Probe, ...]:
    """The bits of every layer when a row's are taken, one record per row; the sums, one record per output beat."""
    plan = device.plan
    layers = [
        Probe(f"layer_{number}", ("take",), f"u_network.layer_{number}" if number else "layer_0", bits)
        for number in range(len(plan.layers))
        if (bits := len(plan.existing(number)))
    ]
    sums = Probe("sums", ("beat_valid", "beat_ready"), "beat_sums", plan.schedule.output_lanes * plan.sum_bits)
    return (*layers, sums)


def explain(device: Device, result: BlockResult, rtl: Path, folder: Path, patience: int, waveform: Path) -> BlockResult:
    """Write the waveform of the first difference and add it, and the first wrong inner value, to the result.

    The window reaches from the first input beat of the row to just after the element that differs. Without a wrong
    element (wrong cycles, missing rows) it covers the first rows.
    """
    difference = result.difference
    pass_index = difference.pass_index if difference else 0
    first = max(0, difference.row_cycle - MARGIN_CYCLES) if difference else 0
    last = difference.cycle + MARGIN_CYCLES if difference else 2 * device.plan.schedule.cycles(2)
    waveform.parent.mkdir(parents=True, exist_ok=True)
    bench = harness.build([device], rtl, folder, probes(device))
    probed = harness.run_with_waveform(bench, patience, pass_index, (first, last), waveform)
    problem = f"{result.problem}"
    inner = first_inner_difference(device, difference.row, probed) if difference else None
    if inner:
        problem += f"; first wrong inside: {inner}"
    return replace(result, problem=f"{problem}; waveform of cycles {first} to {last}: {waveform}")
