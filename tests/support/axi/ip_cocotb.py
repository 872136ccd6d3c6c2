"""What cocotb runs inside the simulator: models of AXI that are not ours (cocotbext-axi) drive a packaged core.

`plan.json` in the working directory says what is to be done; `found.json` tells what was seen.
"""

from __future__ import annotations

import json
import logging
import random
import sys
from pathlib import Path

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.task import bridge
from cocotb.triggers import ClockCycles, RisingEdge, with_timeout
from cocotbext.axi import AxiLiteBus, AxiLiteMaster, AxiStreamBus, AxiStreamFrame, AxiStreamSink, AxiStreamSource

from ip_bench import load_driver
from pynq_standin import engine, pynq_module, what_is_said

CLOCK_NS = 10
PLAN = json.loads(Path("plan.json").read_text()) if Path("plan.json").exists() else {}


class Bench:
    """A core with a master on each of its three interfaces."""

    def __init__(self, dut):
        logging.getLogger("cocotb").setLevel(logging.WARNING)  # every access would be a line
        self.dut = dut
        reset = {"reset_active_level": False}
        self.registers = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axi"), dut.aclk, dut.aresetn, **reset)
        self.source = AxiStreamSource(AxiStreamBus.from_prefix(dut, "s_axis"), dut.aclk, dut.aresetn, **reset)
        self.sink = AxiStreamSink(AxiStreamBus.from_prefix(dut, "m_axis"), dut.aclk, dut.aresetn, **reset)
        self.driver = load_driver(PLAN["driver"], "packaged_driver")
        vectors = (self.driver.read_vectors(path) for path in PLAN["vectors"])
        self.vectors = {block: (rows, golden) for block, rows, golden in vectors}

    async def begin(self):
        self.dut.aresetn.value = 0
        cocotb.start_soon(Clock(self.dut.aclk, CLOCK_NS, "ns").start())
        await ClockCycles(self.dut.aclk, 4)
        self.dut.aresetn.value = 1
        await RisingEdge(self.dut.aclk)
        return self

    async def read(self, name):
        value = await self.registers.read_dword(self.driver.REGISTERS[name.partition(".")[0]])
        mask = self.driver.MASKS.get(name, 0xFFFFFFFF)
        return (value & mask) // (mask & -mask)

    async def write(self, name, value):
        await self.registers.write_dword(self.driver.REGISTERS[name], value)

    async def start(self, block):
        await self.write("block", block)
        await self.write("control", 1)

    async def receive(self):
        """A packet: its bytes, and whether every beat but the last was full and the last one as short as can be."""
        frame = await with_timeout(self.sink.recv(compact=False), 1, "ms")
        beat = len(self.dut.m_axis_tkeep)
        keep = [bool(each) for each in frame.tkeep] if frame.tkeep else [True] * len(frame.tdata)
        kept = sum(keep)
        tight = keep == [True] * kept + [False] * (len(keep) - kept) and len(keep) - kept < beat
        return bytes(byte for byte, there in zip(frame.tdata, keep, strict=True) if there), tight


def pauses(rng):
    """A pattern of stalls: none, single cycles of some density, or bursts."""
    style, density, longest = rng.choice(["none", "single", "burst"]), rng.random() * 0.9, rng.randint(2, 40)
    while True:
        if style == "burst":
            for _ in range(rng.randint(1, longest)):
                yield False
            for _ in range(rng.randint(1, longest)):
                yield True
        else:
            yield style == "single" and rng.random() < density


@cocotb.test(skip="patterns" not in PLAN)
async def stalls(dut):
    """Packets of random lengths through random blocks under random stalls, each compared whole."""
    bench = await Bench(dut).begin()
    found = {"patterns": 0, "rows": 0, "beats": 0, "wrong": [], "stalls": [0, 0]}
    for seed in range(PLAN["patterns"]):
        rng = random.Random(seed)
        for end in (bench.source, bench.sink):
            end.set_pause_generator(pauses(rng))
        for channel in (
            bench.registers.write_if.aw_channel,
            bench.registers.write_if.w_channel,
            bench.registers.write_if.b_channel,
            bench.registers.read_if.ar_channel,
            bench.registers.read_if.r_channel,
        ):
            channel.set_pause_generator(pauses(rng))  # one that is taken away would leave its last word
        block = rng.choice(sorted(bench.vectors))
        rows, golden = bench.vectors[block]
        count = rng.randint(1, min(len(rows), PLAN["rows"]))
        chosen = [rng.randrange(len(rows)) for _ in range(count)]
        await bench.start(block)
        await bench.source.send(AxiStreamFrame(rows[chosen].tobytes()))
        received, tight = await bench.receive()
        while not await bench.read("status.done"):
            pass
        if received != golden[chosen].tobytes() or not tight or await bench.read("rows") != count:
            found["wrong"].append(seed)
        if await bench.read("errors"):
            found["wrong"].append(seed)
        found["patterns"] += 1
        found["rows"] += count
        found["beats"] += -(-len(received) // len(dut.m_axis_tkeep))
        found["stalls"][0] += await bench.read("input_stalls")
        found["stalls"][1] += await bench.read("output_stalls")
    assert bench.sink.empty(), "beats too many"
    Path("found.json").write_text(json.dumps(found))
    assert not found["wrong"], found["wrong"]


@cocotb.test(skip="errors" not in PLAN, timeout_time=1, timeout_unit="ms")
async def errors(dut):
    """Everything that can be done wrong is said, and the next packet is right again."""
    bench = await Bench(dut).begin()
    rows, golden = bench.vectors[0]
    width, found = rows.shape[1] * rows.itemsize, {}

    async def errors_of(action):
        await bench.write("errors", 0xFFFFFFFF)
        await action
        seen = await bench.read("errors")
        await bench.write("errors", seen)
        assert await bench.read("errors") == 0
        await bench.start(0)
        await bench.source.send(AxiStreamFrame(rows.tobytes()))
        assert await bench.receive() == (golden.tobytes(), True)
        assert await bench.read("errors") == 0
        return [name for name in bench.driver.ERRORS if seen & bench.driver.MASKS[f"errors.{name}"]]

    async def short_row():
        await bench.start(0)
        await bench.source.send(AxiStreamFrame(rows[:2].tobytes()[: width + 1]))
        received, tight = await bench.receive()
        assert received[: len(received) // 2] == golden[0].tobytes() and tight
        assert len(received) == 2 * golden[0].nbytes

    async def holes():
        await bench.start(0)
        frame = AxiStreamFrame(rows[:1].tobytes(), tkeep=[1, 0] + [1] * (width - 2))
        await bench.source.send(frame)
        await bench.receive()

    async def twice():
        await bench.start(0)
        await bench.write("control", 1)
        await bench.source.send(AxiStreamFrame(rows[:1].tobytes()))
        assert (await bench.receive())[0] == golden[:1].tobytes()

    async def no_such_block():
        await bench.start(len(bench.driver.BLOCKS))
        assert not await bench.read("status.busy")

    async def give_up():
        bench.sink.pause = True
        await bench.start(0)
        await bench.source.send(AxiStreamFrame(rows[:1].tobytes()))
        await bench.source.wait()
        await ClockCycles(dut.aclk, 60)
        assert dut.m_axis_tvalid.value == 1
        await bench.write("control", 2)
        await ClockCycles(dut.aclk, 4)
        assert dut.m_axis_tvalid.value == 0
        assert not await bench.read("status.busy")
        bench.sink.pause = False

    async def late_last():
        await bench.start(0)
        beat = len(dut.s_axis_tkeep)
        count = beat  # so many rows fill their last beat
        data = np.resize(rows, (count, rows.shape[1])).tobytes()
        await bench.source.send(AxiStreamFrame(data + b"\0" * beat, tkeep=[1] * len(data) + [0] * beat))
        assert await bench.receive() == (np.resize(golden, (count, golden.shape[1])).tobytes(), True)

    async def no_rows():
        await bench.start(0)
        await bench.source.send(AxiStreamFrame(b"\0", tkeep=[0]))
        while not await bench.read("status.done"):
            pass
        assert bench.sink.empty()

    for action in (short_row, holes, twice, no_such_block, late_last, no_rows, give_up):
        found[action.__name__] = await errors_of(action())
    Path("found.json").write_text(json.dumps(found))


@cocotb.test(skip="timing" not in PLAN, timeout_time=1, timeout_unit="ms")
async def timing(dut):
    """Cycles without stalls, by number of rows; packets that follow each other by themselves; interrupt; registers."""
    bench = await Bench(dut).begin()
    rows, golden = bench.vectors[0]
    found = {"cycles": {}, "registers": {}}
    for count in PLAN["timing"]:
        await bench.start(0)
        await bench.source.send(AxiStreamFrame(rows[:count].tobytes()))
        assert await bench.receive() == (golden[:count].tobytes(), True)
        found["cycles"][count] = await bench.read("cycles")
    await bench.write("config", bench.driver.MASKS["config.auto_start"] | bench.driver.MASKS["config.interrupt"])
    assert dut.irq.value == 1, "the packet before is done"
    await bench.write("control", 1)
    assert dut.irq.value == 0
    for count in (1, 3, 2):
        await bench.source.send(AxiStreamFrame(rows[:count].tobytes()))
    for count in (1, 3, 2):
        assert await bench.receive() == (golden[:count].tobytes(), True)
    await ClockCycles(dut.aclk, 4)
    assert dut.irq.value == 1
    await bench.write("status", bench.driver.MASKS["status.done"])
    assert dut.irq.value == 0
    for name in ("identity", "map_version", "build_hash_high", "build_hash_low", "blocks", "block"):
        found["registers"][name] = await bench.read(name)
    await bench.registers.write(bench.driver.REGISTERS["block"], b"\x21")  # one byte of four
    assert await bench.read("block") & 0xFF == 0x21
    await bench.registers.write_dword(0x400, 0xFFFFFFFF)
    assert await bench.registers.read_dword(0x400) == 0
    Path("found.json").write_text(json.dumps(found))


@cocotb.test(skip="pynq" not in PLAN, timeout_time=1, timeout_unit="ms")
async def pynq(dut):
    """The driver's file as it was packaged, on a stand-in of PYNQ whose other side is this simulation."""
    bench = await Bench(dut).begin()
    dma = engine(bench.source, bench.sink)
    sys.modules["pynq"] = pynq_module(bench.registers, f"{PLAN['name']}_0", axi_dma_0=dma)

    def drive():
        from pynq import Overlay

        accelerator = bench.driver.on_pynq(Overlay("design.bit"), seconds=600)  # the simulation may be slow
        found = {"compared": accelerator.self_test(PLAN["vectors_folder"]), "counters": accelerator.counters()}
        other = load_driver(PLAN["other_driver"], "driver_of_another_build")
        attempts = {
            "other build": lambda: other.on_pynq(Overlay("design.bit")),
            "other vectors": lambda: accelerator.self_test(PLAN["other_vectors"]),
            "no such block": lambda: accelerator.run(np.zeros((1, other.INPUT_WIDTH), int), 99),
            "no such ip": lambda: bench.driver.on_pynq(Overlay("design.bit"), ip="elsewhere"),
        }
        return {**found, **what_is_said(attempts)}

    found = await bridge(drive)()
    Path("found.json").write_text(json.dumps(found))
