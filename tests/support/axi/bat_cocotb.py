"""What cocotb runs inside the simulator for a packaged BAT: memory and register master of others, its own driver.

`plan.json` in the working directory says what is to be done; `found.json` tells what was seen.
"""

from __future__ import annotations

import json
import logging
import mmap
import random
import sys
from pathlib import Path

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.task import bridge
from cocotb.triggers import ClockCycles, RisingEdge
from cocotbext.axi import AxiBus, AxiLiteBus, AxiLiteMaster, AxiRam, AxiRamRead, AxiReadBus

from ip_bench import load_driver
from ip_cocotb import CLOCK_NS, PLAN, pauses
from pynq_standin import pynq_module, what_is_said

ADDRESS = 0x0010_0000
LIMIT_MS = 100
PATIENCE_S = 600
"""Of the driver: the simulation may be slow."""


class Buffer(np.ndarray):
    """Memory of PYNQ that the machine reaches, at `device_address`; counts how often caches were looked after."""

    device_address = ADDRESS
    kept = 0

    def flush(self):
        type(self).kept += 1

    def invalidate(self):
        type(self).kept += 1


class Machine:
    """BAT between a master of AXI4-Lite and one memory behind all of its masters."""

    def __init__(self, dut):
        logging.getLogger("cocotb").setLevel(logging.WARNING)  # every access would be a line
        self.dut = dut
        reset = {"reset_active_level": False}
        self.registers = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axi"), dut.aclk, dut.aresetn, **reset)
        self.driver = load_driver(PLAN["driver"], "packaged_driver")
        size = ADDRESS + self.driver.MEMORY_BYTES
        self.memory = mmap.mmap(-1, size)
        self.ports = []
        for module in range(len(self.driver.PROGRAMS)):
            load = AxiReadBus.from_prefix(dut, f"m_axi_load_{module}")
            rows = AxiBus.from_prefix(dut, f"m_axi_rows_{module}")
            self.ports.append(AxiRamRead(load, dut.aclk, dut.aresetn, **reset, size=size, mem=self.memory))
            ram = AxiRam(rows, dut.aclk, dut.aresetn, **reset, size=size, mem=self.memory)
            self.ports += [ram.read_if, ram.write_if]
        everything = np.frombuffer(self.memory, np.uint8)
        self.bytes = everything[ADDRESS : ADDRESS + self.driver.MEMORY_BYTES].view(Buffer)
        sys.modules["pynq"] = pynq_module(self.registers, f"{PLAN['name']}_0", self._allocate)

    async def begin(self):
        self.dut.aresetn.value = 0
        cocotb.start_soon(Clock(self.dut.aclk, CLOCK_NS, "ns").start())
        await ClockCycles(self.dut.aclk, 4)
        self.dut.aresetn.value = 1
        await RisingEdge(self.dut.aclk)
        return self

    def stall(self, seed):
        """Stalls on every channel of every bus, as a seed has them."""
        rng = random.Random(seed)
        reads, writes = self.registers.read_if, self.registers.write_if
        channels = [writes.aw_channel, writes.w_channel, writes.b_channel, reads.ar_channel, reads.r_channel]
        for port in self.ports:
            names = ("ar_channel", "r_channel", "aw_channel", "w_channel", "b_channel")
            channels += [getattr(port, name) for name in names if hasattr(port, name)]
        for channel in channels:
            channel.set_pause_generator(pauses(rng))

    def opened(self):
        """The driver's accelerator; in a thread of its own."""
        from pynq import Overlay

        return self.driver.on_pynq(Overlay("design.bit"), seconds=PATIENCE_S)

    def _allocate(self, shape, dtype):
        assert shape == self.bytes.shape and dtype == np.uint8
        return self.bytes


@cocotb.test(skip="patterns" not in PLAN)
async def stalls(dut):
    """Groups of sentences under random stalls of registers and memory, through the packaged driver."""
    bench = await Machine(dut).begin()

    def drive():
        accelerator, driver = bench.opened(), bench.driver
        accelerator.load(PLAN["images"])
        vectors = [driver.read_vectors(path) for path in PLAN["vectors"]]
        found = {"runs": 0, "rows": 0, "wrong": [], "cycles": []}
        for seed in range(PLAN["patterns"]):
            rng = random.Random(seed)
            bench.stall(seed)
            group = [vectors[rng.randrange(len(vectors))] for _ in range(rng.randint(1, driver.SENTENCES))]
            outputs = accelerator.run([rows for _, rows, _ in group])
            good = all(
                np.array_equal(output.view(np.uint16), golden.view(np.uint16))
                for output, (_, _, golden) in zip(outputs, group, strict=True)
            )
            found["runs"] += 1
            found["rows"] += sum(len(rows) for _, rows, _ in group)
            found["wrong"] += [] if good else [seed]
            found["cycles"].append(accelerator.counters()["cycles"])
        return found

    found = await bridge(drive)()
    Path("found.json").write_text(json.dumps(found))


@cocotb.test(skip="pynq" not in PLAN, timeout_time=LIMIT_MS, timeout_unit="ms")
async def pynq(dut):
    """The driver's file as it was packaged: self-test, counters, interrupt, and what it refuses."""
    bench = await Machine(dut).begin()

    def drive():
        accelerator = bench.opened()
        accelerator.load(PLAN["images"])
        found = {"compared": accelerator.self_test(PLAN["vectors_folder"]), "counters": accelerator.counters()}
        found["kept"] = Buffer.kept
        accelerator.write("config", bench.driver.MASKS["config.interrupt"])
        found["interrupt"] = [int(dut.irq.value)]
        accelerator.write("status", bench.driver.MASKS["status.done"])
        found["interrupt"].append(int(dut.irq.value))
        accelerator.write("control", bench.driver.MASKS["control.start"])
        accelerator.write("control", bench.driver.MASKS["control.start"])
        found["twice"] = accelerator.read("errors.start")
        while not accelerator.read("status.done"):
            pass
        accelerator.write("errors", 0xFFFFFFFF)
        found["cleared"] = accelerator.read("errors")
        other = load_driver(PLAN["other_driver"], "driver_of_another_build")
        _, rows, _ = bench.driver.read_vectors(PLAN["vectors"][0])

        def overflowing():
            bench.bytes[: bench.driver.PROGRAMS[0]] = 0x7B  # factors of 61,000 among the weights
            accelerator.run([rows])

        attempts = {
            "other build": lambda: other.on_pynq(__import__("pynq").Overlay("design.bit")),
            "other vectors": lambda: accelerator.self_test(PLAN["other_vectors"]),
            "other image": lambda: accelerator.load(PLAN["other_images"]),
            "out of range": overflowing,
            "too long": lambda: accelerator.run(
                [np.zeros((bench.driver.POSITIONS + 1, bench.driver.WIDTH), np.float16)]
            ),
        }
        return {**found, **what_is_said(attempts)}

    found = await bridge(drive)()
    Path("found.json").write_text(json.dumps(found))
