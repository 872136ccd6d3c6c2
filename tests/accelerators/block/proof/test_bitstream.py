"""Tables in a bitstream: every entry, input and multiplexer is compared; the tools themselves in a slow test."""

from __future__ import annotations

import copy
import itertools
import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from frozen_blocks import random_rows
from lutra.accelerators.block.bitstream import bitstream_run
from lutra.accelerators.block.plan import BlockPlan
from lutra.accelerators.block.proof.bitstream import prove_bitstream
from lutra.errors import InputError, MismatchError, ToolError
from lutra.frozen import store
from lutra.frozen.graph import FrozenModel
from lutra.frozen.random_block import random_block
from lutra.recipes.language import Recipe
from lutra.runs.files import RunFiles
from lutra.synth.tools.ecp5 import BOARDS, find_tools, lpf, lut_contents, place_of

PATH = "u_axi.u_blocks.u_block_0"


class Fabricated:
    """What synthesis, place and route, and unpacking would give for a block: tables as cells, each at its own place."""

    def __init__(self, plan):
        self.plan, self.number = plan, itertools.count(2)
        self.netlist = {"cells": {}, "netnames": {}}
        self.placed, self.contents = {"cells": {}}, {}
        self.nets = {"1'b0": "0", "1'b1": "1"}
        for layer in range(len(plan.layers)):
            if plan.existing(layer):
                bits = [next(self.number) for _ in plan.existing(layer)]
                name = f"{PATH}.layer_0" if layer == 0 else f"{PATH}.u_network.layer_{layer}"
                self.netlist["netnames"][name] = {"bits": bits}
                self.nets |= {plan.wire(layer, bit): net for bit, net in zip(plan.existing(layer), bits, strict=True)}
        for layer in range(1, len(plan.layers)):
            for bit in plan.existing(layer):
                op = plan.layers[layer]
                sources = [self.nets[plan.wire(layer - 1, int(source))] for source in op.connections[bit]]
                top = self.nets[plan.wire(layer, bit)]
                self.table(op.tables[bit], sources, f"{PATH}.u_network.u_lut_{layer}_{bit}", top)
        self.lut("u_axi.something", np.arange(16) % 3 == 0, [2, 3, 2, 3], next(self.number))

    def table(self, table, sources, path, output):
        inputs = len(sources)
        if inputs <= 4:
            return self.lut(f"{path}.gen_lut4.u_lut4", np.tile(table, 16 // len(table)), sources, output)
        half, low, high = len(table) // 2, next(self.number), next(self.number)
        self.table(table[:half], sources[:-1], f"{path}.gen_halves.u_low", low)
        self.table(table[half:], sources[:-1], f"{path}.gen_halves.u_high", high)
        if inputs > 6:
            return None
        kind, name, ports = {5: ("PFUMX", "pair", "BLUT ALUT C0"), 6: ("L6MUX21", "four", "D0 D1 SD")}[inputs]
        read = dict(zip(ports.split(), ([low], [high], [sources[-1]]), strict=True))
        self.netlist["cells"][f"{path}.gen_halves.gen_{name}.u_mux"] = {
            "type": kind,
            "connections": {**read, "Z": [output]},
        }
        return None

    def lut(self, name, table, sources, output):
        word, place = int((table.astype(int) << np.arange(16)).sum()), len(self.contents)
        read = dict(zip("ABCD", ([net] for net in [*sources, "0", "0", "0"]), strict=False))
        self.netlist["cells"][name] = {
            "type": "LUT4",
            "parameters": {"INIT": f"{word:016b}"},
            "connections": {**read, "Z": [output]},
        }
        self.placed["cells"][name] = {"attributes": {"NEXTPNR_BEL": f"X{place}/Y7/SLICEC.K1"}}
        self.contents[place, 7, "C.K1"] = word

    def prove(self):
        return prove_bitstream([self.plan], [PATH], self.netlist, self.placed, self.contents)


@pytest.fixture(params=[(6, 4), (5, 3), pytest.param((8, 7), marks=pytest.mark.slow), (2, 6)], ids=str)
def made(request):
    graph = random_block(np.random.default_rng(5), luts=(20, 12), inputs=request.param)
    return Fabricated(BlockPlan(graph, "core_block_0", 1))


def test_a_faultless_bitstream_is_proved(made):
    proof = made.prove()
    assert proof.tables == sum(len(made.plan.existing(layer)) for layer in (1, 2)) > 20
    assert proof.table_luts + 1 == len(made.contents)
    assert proof.other_luts == 1


def test_every_wrong_bit_is_found_and_named(made):
    rng = np.random.default_rng(0)
    for place in made.contents:
        wrong = copy.copy(made)
        wrong.contents = {**made.contents, place: made.contents[place] ^ 1 << int(rng.integers(16))}
        with pytest.raises(
            MismatchError, match=r"table \d+ of layer [12]: LUT \S+ has entry \d+ = [01]|LUT u_axi.something"
        ):
            wrong.prove()


def test_every_swapped_input_and_multiplexer_is_found(made):
    for name, cell in made.netlist["cells"].items():
        if name == "u_axi.something":
            continue
        for port in set(cell["connections"]) - {"Z"}:
            if cell["connections"][port] == ["0"]:
                continue
            wrong = copy.copy(made)
            wrong.netlist = copy.deepcopy(made.netlist)
            wrong.netlist["cells"][name]["connections"][port] = [1_000_000]
            with pytest.raises(MismatchError, match=r"input \d is not|reads other cells"):
                wrong.prove()


def test_missing_cells_and_signals_are_said(made):
    name = next(name for name in made.netlist["cells"] if "u_lut" in name)
    wrong = copy.deepcopy(made)
    del wrong.netlist["cells"][name]
    with pytest.raises(ToolError, match="the netlist has no"):
        wrong.prove()
    wrong = copy.deepcopy(made)
    wrong.placed["cells"] = {}
    with pytest.raises(ToolError, match="the placed design has no LUT"):
        wrong.prove()


def test_configurations_and_places_are_read():
    text = (
        ".device LFE5U-25F\n\n.tile R17C50:PLC2\narc: A0 S1_V02N0701\nword: SLICEA.K0.INIT 1010100110101001\n"
        "word: SLICED.K1.INIT 0000000000000001\nenum: SLICEA.MODE LOGIC\n\n.tile R18C50:CIB\n"
        "word: SLICEA.K0.INIT 1111000011110000\n"
    )
    assert lut_contents(text) == {(50, 17, "A.K0"): 0b1010100110101001, (50, 17, "D.K1"): 1}
    assert place_of({"attributes": {"NEXTPNR_BEL": "X50/Y17/SLICED.K1"}}) == (50, 17, "D.K1")
    assert place_of({"attributes": {"NEXTPNR_BEL": "X50/Y17/SLICED.FF1"}}) is None
    assert place_of({"attributes": {}}) is None


@pytest.mark.parametrize("board", BOARDS.values(), ids=lambda board: board.name)
def test_a_board_has_a_pin_for_every_port(board):
    text = lpf(board, {"clock": "clk_i", "receive": "serial_i", "send": "serial_o", "led": "led_o"})
    assert f'LOCATE COMP "clk_i" SITE "{board.clock_pin}";' in text
    assert 'FREQUENCY PORT "clk_i" 25 MHZ;' in text
    assert text.count("LOCATE") == text.count("IOBUF") == 4


@pytest.fixture
def run(tmp_path):
    files, rng = RunFiles(tmp_path / "run"), np.random.default_rng(11)
    graph = random_block(rng, width=8, luts=(16, 8), inputs=(6, 4), output_bits=8, name="h.0.mlp")
    store.save(FrozenModel((graph,)), files.frozen)
    save_file({graph.name: random_rows(rng, graph, 20).astype(np.int8)}, files.samples)
    return files, Recipe(name="tiny", hardware={"fold_factors": (1,), "synthesise_fold_factors": (1,)})


def test_boards_and_devices_that_are_not_there_are_refused(run):
    with pytest.raises(InputError, match="--board icebreaker: unknown; the boards are ulx3s, colorlight-i5"):
        bitstream_run(*run, "icebreaker")
    with pytest.raises(InputError, match="--device 85k: the colorlight-i5 comes with 25k"):
        bitstream_run(*run, "colorlight-i5", device="85k")


@pytest.mark.slow
def test_a_bitstream_for_a_board_holds_the_trained_tables(run):
    try:
        find_tools()
    except ToolError as error:
        pytest.skip(str(error))
    result = bitstream_run(*run, "colorlight-i5", clock_hz=50e6)
    out = run[0].root / "bitstream" / "colorlight-i5"
    assert result["fmax_hz"] >= result["clock_hz"] == 50e6
    assert result["proof"]["tables"] == 22 and result["proof"]["other_luts"] > 500
    assert (out / "tiny_ip.bit").stat().st_size > 50_000
    assert json.loads((out / "bitstream.json").read_text())["build_hash"] == result["build_hash"]
    assert result["build_hash"] in (out / "driver/python/tiny_ip.py").read_text()
