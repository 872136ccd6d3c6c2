"""What cocotb runs inside the simulator for a packaged transformer machine, which models of AXI of others drive.

`plan.json` in the working directory says what is to be done; `found.json` tells what was seen.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

import cocotb
import numpy as np
from cocotb.task import bridge
from cocotb.triggers import ClockCycles, with_timeout
from cocotbext.axi import AxiStreamFrame

from ip_bench import load_driver
from ip_cocotb import PLAN, Bench, pauses
from pynq_standin import engine, pynq_module, what_is_said

LIMIT_MS = 100
PATIENCE_S = 600
"""Of the driver: the simulation may be slow."""


class Machine(Bench):
    """A machine with its packaged driver, which reaches it through PYNQ's stand-in."""

    def __init__(self, dut):
        super().__init__(dut)
        dma = engine(self.source, self.sink)
        sys.modules["pynq"] = pynq_module(self.registers, f"{PLAN['name']}_0", axi_dma_0=dma)
        ((self.rows, self.golden),) = self.vectors.values()

    def opened(self):
        """The driver's accelerator; in a thread of its own."""
        from pynq import Overlay

        return self.driver.on_pynq(Overlay("design.bit"), seconds=PATIENCE_S)

    def stall(self, seed):
        """Stalls on every channel, as a seed has them."""
        rng = random.Random(seed)
        reads, writes = self.registers.read_if, self.registers.write_if
        channels = (writes.aw_channel, writes.w_channel, writes.b_channel, reads.ar_channel, reads.r_channel)
        for end in (self.source, self.sink, *channels):
            end.set_pause_generator(pauses(rng))


def same(found, golden):
    return bool(np.array_equal(found, golden))


@cocotb.test(skip="patterns" not in PLAN)
async def stalls(dut):
    """Calls of random lengths after random pasts, or images, under random stalls, through the packaged driver."""
    bench = await Machine(dut).begin()

    def drive():
        accelerator = bench.opened()
        bench.stall(PLAN["patterns"])
        accelerator.load(PLAN["image"])
        found = {"calls": 0, "beats": 0, "wrong": [], "stalls": [0, 0]}
        for seed in range(PLAN["patterns"]):
            rng = random.Random(seed)
            bench.stall(seed)
            if hasattr(accelerator, "past"):
                first = accelerator.past if rng.random() < 0.7 else 0
                first = first if first < len(bench.rows) else 0
                last = rng.randint(first + 1, len(bench.rows))
                accelerator.past = first
                good = same(accelerator.feed(bench.rows[first:last, 0]), bench.golden[first:last])
                found["beats"] += (last - first) * accelerator_beats(bench)
            else:
                number = rng.randrange(len(bench.rows))
                shape = bench.driver.HEIGHT, bench.driver.WIDTH, bench.driver.CHANNELS
                good = same(accelerator.run(bench.rows[number].reshape(shape)), bench.golden[number])
                found["beats"] += accelerator_beats(bench)
            counters = accelerator.counters()
            found["calls"] += 1
            found["wrong"] += [] if good else [seed]
            found["stalls"][0] += counters["input_stalls"]
            found["stalls"][1] += counters["output_stalls"]
        return found

    found = await bridge(drive)()
    assert bench.sink.empty(), "beats too many"
    Path("found.json").write_text(json.dumps(found))


def accelerator_beats(bench):
    """Beats of a row of logits on the bus."""
    return bench.driver.COLUMNS * 2 // len(bench.dut.m_axis_tkeep)


@cocotb.test(skip="errors" not in PLAN, timeout_time=LIMIT_MS, timeout_unit="ms")
async def errors(dut):
    """Everything that can be done wrong is said, and the next call is right again."""
    bench = await Machine(dut).begin()
    count = len(bench.rows)
    found = {}

    async def done():
        while not await bench.read("status.done"):
            pass

    async def call(rows, past=0, sent=None):
        await bench.write("call", rows | past << 16)
        await bench.write("control", 1)
        if sent is not None:
            await bench.source.send(sent)

    async def logits(rows):
        frame = await with_timeout(bench.sink.recv(), LIMIT_MS, "ms")
        await done()
        assert len(frame.tdata) == rows * bench.driver.COLUMNS * 2
        return frame.tdata

    def frame(tokens, keep=None):
        return AxiStreamFrame(np.asarray(tokens, "<u2").tobytes(), tkeep=keep)

    tokens = bench.rows[:, 0]

    async def unloaded():
        await bench.write("control", 1)
        assert not await bench.read("status.busy")

    async def broken_image():
        words = np.fromfile(PLAN["image"], "<u4", offset=bench.driver.IMAGE_HEADER.size)
        for wrong in (
            words[:-1],
            np.concatenate([words, words[:1]]),
            np.concatenate([words[:2], words[2:3] + 1, words[3:]]),
        ):
            await bench.write("control", 4)
            await bench.source.send(AxiStreamFrame(wrong.tobytes()))
            await done()
            assert not await bench.read("status.loaded")

    async def load():
        words = np.fromfile(PLAN["image"], "<u4", offset=bench.driver.IMAGE_HEADER.size)
        await bench.write("control", 4)
        await bench.source.send(AxiStreamFrame(words.tobytes()))
        await done()
        assert await bench.read("status.loaded") and await bench.read("image_sum") == bench.driver.IMAGE_SUM

    async def short():
        await call(3, sent=frame(tokens[:2]))
        await logits(3)

    async def long():
        await call(1, sent=frame(tokens[:count]))
        assert await logits(1) == (await right(1))

    async def holes():
        await call(1, sent=frame(tokens[:2], keep=[1, 1, 0, 1]))
        await logits(1)

    async def unknown_token():
        await call(1, sent=frame([bench.driver.TOKENS]))
        await logits(1)

    async def twice():
        await call(2)
        await bench.write("control", 1)
        await bench.source.send(frame(tokens[:2]))
        await logits(2)

    async def too_many():
        await call(count, past=bench.driver.ROWS - count + 1)
        await call(0)
        assert not await bench.read("status.busy")

    async def give_up():
        bench.sink.pause = True
        await call(2, sent=frame(tokens[:2]))
        while dut.m_axis_tvalid.value == 0:
            await ClockCycles(dut.aclk, 1)
        await bench.write("control", 2)
        await ClockCycles(dut.aclk, 4)
        assert dut.m_axis_tvalid.value == 0
        assert not await bench.read("status.busy") and await bench.read("status.loaded")
        bench.sink.pause = False

    async def right(rows):
        await call(rows, sent=frame(tokens[:rows]))
        return await logits(rows)

    # The logits of the first tokens, as the driver has them: rows of columns, the first of which are the model's.
    async def check():
        data = np.frombuffer(bytes(await right(count)), "<i2")
        size, columns = bench.driver.SIZE, bench.driver.COLUMNS
        for first in range(0, count, size):
            last = min(first + size, count)
            tile = data[first * columns : last * columns].reshape(columns // size, last - first, size)
            rows = np.concatenate(list(tile), axis=1)[:, : bench.driver.OUTPUT_WIDTH]
            assert same(rows, bench.golden[first:last])

    for action in (unloaded, broken_image, load, short, long, holes, unknown_token, twice, too_many, give_up):
        await bench.write("errors", 0xFFFFFFFF)
        await action()
        seen = await bench.read("errors")
        await bench.write("errors", seen)
        assert await bench.read("errors") == 0
        if await bench.read("status.loaded"):
            await check()
            assert await bench.read("errors") == 0
        found[action.__name__] = [name for name in bench.driver.ERRORS if seen & bench.driver.MASKS[f"errors.{name}"]]
    Path("found.json").write_text(json.dumps(found))


@cocotb.test(skip="pynq" not in PLAN, timeout_time=LIMIT_MS, timeout_unit="ms")
async def pynq(dut):
    """The driver's file as it was packaged: self-test, cycles without stalls, and what it refuses."""
    bench = await Machine(dut).begin()

    def drive():
        accelerator = bench.opened()
        accelerator.load(PLAN["image"])
        found = {"compared": accelerator.self_test(PLAN["vectors_folder"]), "cycles": []}
        for rows, past in PLAN["calls"]:
            if hasattr(accelerator, "past"):
                accelerator.past = past
                accelerator.feed(bench.rows[past : past + rows, 0])
            else:
                accelerator.run(bench.rows[0].reshape(bench.driver.HEIGHT, bench.driver.WIDTH, bench.driver.CHANNELS))
            found["cycles"].append(accelerator.counters()["cycles"])
        accelerator.write("config", bench.driver.MASKS["config.interrupt"])
        found["interrupt"] = [int(dut.irq.value)]
        accelerator.write("status", bench.driver.MASKS["status.done"])
        found["interrupt"].append(int(dut.irq.value))
        other = load_driver(PLAN["other_driver"], "driver_of_another_build")
        attempts = {
            "other build": lambda: other.on_pynq(__import__("pynq").Overlay("design.bit")),
            "other vectors": lambda: accelerator.self_test(PLAN["other_vectors"]),
            "other image": lambda: accelerator.load(PLAN["other_image"]),
        }
        return {**found, **what_is_said(attempts)}

    found = await bridge(drive)()
    Path("found.json").write_text(json.dumps(found))
