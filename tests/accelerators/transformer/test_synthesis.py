"""What a whole machine takes: its modules counted up, kept by content, with its blocks and beside the dense MLP."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from frozen_transformers import random_gpt, random_vit
from lutra.accelerators.block.emit import block_files
from lutra.accelerators.transformer.compiler import compile_model, sized_for
from lutra.accelerators.transformer.emit import block_plans
from lutra.accelerators.transformer.synthesis import step
from lutra.accelerators.transformer.synthesis.cells import cell_modules
from lutra.accelerators.transformer.synthesis.machine import (
    BlockUse,
    block_ports,
    machine_without_blocks,
    modules_apart,
    part_of,
    parts_of,
    synthesise_machine,
)
from lutra.frozen import store
from lutra.frozen.graph import FrozenModel
from lutra.recipes.language import Recipe
from lutra.recipes.sections import validate
from lutra.report.machine.tables import machine_synth_tables
from lutra.runs.files import RunFiles
from lutra.runs.schemas.machine import MachineSynthesis
from lutra.runs.typed import read_record
from lutra.synth.tools.find import Tool, fpga_yosys
from lutra.synth.tools.hierarchy import ModuleUse
from lutra.synth.tools.yosys import FpgaUse

SMALL = {"layers": 1, "width": 6, "heads": 1, "context": 6, "vocabulary": 5}


def image_of(ffn, size=2, **settings):
    program = random_gpt(np.random.default_rng(1), ffn=ffn, **SMALL)
    image = compile_model(program, sized_for(program, size))
    return replace(image, config=replace(image.config, **settings))


def use(luts):
    return FpgaUse(luts, luts, 2 * luts, 0.5, 0, 0, 0, 0, 0, 0)


@pytest.mark.parametrize("ffn", ["mlp", "weightless"])
@pytest.mark.parametrize(("make", "overlap"), [(random_gpt, False), (random_vit, True)])
def test_every_module_of_a_machine_is_counted_with_a_part(make, overlap, ffn):
    program = make(np.random.default_rng(2), ffn=ffn, layers=1)
    image = compile_model(program, sized_for(program, 4, 2, overlap=overlap))
    design, ports = machine_without_blocks(image.config, image.blocks)
    apart = modules_apart(image.config, image.blocks)
    assert {f"{name}.sv" for name in apart} <= set(design.files)
    assert len(ports) == (ffn == "weightless")
    # What is not apart is flattened into what is: leaves of the library, root and reciprocal, and the memories' banks.
    inside = {name.removesuffix(".sv") for name in design.sources} - set(apart) - {"transformer"}
    flattened = {"root", "reciprocal", "banks", "wide", "left", "stream", "step"}
    flattened.add("controller" if overlap else "scoreboard")  # not in this machine
    unit = {name.removeprefix("lutra_transformer_") for name in inside if name.startswith("lutra_transformer_")}
    assert unit - {"pixels", "gearbox"} == flattened
    assert {part_of(name) for name in apart} >= {"array", "norm", "softmax", "memories", "wiring"}


def test_the_ports_of_a_block_are_those_of_its_module():
    image = image_of("weightless", fold_factor=2)
    (plan,) = block_plans(image.config, image.blocks)
    real = block_files(plan)[f"{plan.name}.sv"]

    def ports(text):
        head = text[text.index(f"module {plan.name}") : text.index(");")]
        found = re.findall(r"(input|output) +logic (?:\[(\d+):0\] )?(\w+)", head)
        return {(way, int(high or 0), name) for way, high, name in found}

    assert ports(block_ports(plan)) == ports(real)


def test_modules_and_blocks_are_counted_as_often_as_they_occur():
    modules = (
        ModuleUse("lutra_systolic_pe", 4, use(10)),
        ModuleUse("lutra_transformer_norm_lane", 2, use(7)),
        ModuleUse("transformer", 1, use(1)),
        ModuleUse("lutra_transformer_gearbox", 2, use(3)),
    )
    blocks = [BlockUse("block_0", "h.0", (ModuleUse("block_0", 1, use(5)), ModuleUse("block_0_lane_0", 3, use(2))))]
    parts = parts_of(modules, blocks)
    assert {name: part.lut_raw for name, part in parts.items()} == {"array": 40, "norm": 14, "wiring": 1, "blocks": 17}
    assert parts["array"].bram == 2
    with pytest.raises(AssertionError, match="lutra_uart_send belongs to no part"):
        part_of("lutra_uart_send")


def test_modules_in_cells_follow_the_configuration():
    config = image_of("mlp", size=8).config
    serial, found = (
        {module.name: module for module in cell_modules(replace(config, overlap=overlap))} for overlap in (False, True)
    )
    assert serial.keys() ^ found.keys() == {"lutra_transformer_controller", "lutra_transformer_scoreboard"}
    assert found["lutra_systolic_pe"].instances == 64
    assert (
        "parameter int unsigned Size = 8," in found["lutra_transformer_walk"].design.files["lutra_transformer_walk.sv"]
    )
    for module in (*serial.values(), *found.values()):
        assert not re.search(r"\blutra_(lut_)?memory\b", "".join(module.design.files.values())), module.name


def run_of(tmp_path):
    files = RunFiles(tmp_path / "run")
    for where, ffn in ((files, "weightless"), (files.baseline("mlp"), "mlp")):
        store.save(FrozenModel.of_whole(random_gpt(np.random.default_rng(1), ffn=ffn, **SMALL)), where.frozen)
    recipe = validate(
        Recipe,
        {"name": "small", "baselines": ["mlp"], "machine": {"size": 2, "fold_factor": 2, "synthesise": True}},
        "small",
    )
    return files, recipe


def stand_ins(monkeypatch, built):
    """Instead of Yosys: what is asked of it, and small numbers."""

    def machine(yosys, folder, config, blocks):
        built.append(("machine", len(blocks)))
        return (ModuleUse("transformer", 1, use(50 + config.tables)), ModuleUse("lutra_memory", 3, use(2)))

    def block(yosys, folder, plan):
        built.append(("block", plan.schedule.fold_factor))
        return BlockUse(plan.name, plan.graph.name, (ModuleUse(plan.name, 1, use(30)),))

    monkeypatch.setattr(step, "synthesise_machine", machine)
    monkeypatch.setattr(step, "synthesise_block", block)
    monkeypatch.setattr(step, "fpga_yosys", lambda: Tool(("none",), "Yosys of a test"))
    monkeypatch.setattr(step.block_synthesise, "synthesise_run", lambda *given: {"targets": [], "skipped": []})
    monkeypatch.delenv("LUTRA_LIBERTY", raising=False)


def test_a_run_synthesises_its_machine_and_that_of_its_baseline_once(tmp_path, monkeypatch):
    built = []
    stand_ins(monkeypatch, built)
    files, recipe = run_of(tmp_path)
    result = step.synthesise_run(files, recipe, jobs=1)
    assert built == [("machine", 1), ("block", 2), ("machine", 0)]
    found = read_record(files.machine_synth, MachineSynthesis, "synth")
    assert found == json.loads(json.dumps(result["machine"]))
    ours, dense = found["machines"]
    assert (ours["variant"], dense["variant"]) == ("model", "mlp")
    assert (ours["total"]["lut_raw"], dense["total"]["lut_raw"]) == (50 + 1 + 6 + 30, 50 + 1 + 6)
    assert [skip["target"] for skip in found["skipped"]] == ["asic"]
    (table,) = machine_synth_tables(found)
    assert table.rows[-1] == ("all", "87", "174", "2.5", "57", "114", "2")
    step.synthesise_run(files, recipe, jobs=1)
    assert len(built) == 3
    step.synthesise_run(files, recipe, fresh=True, jobs=1)
    assert len(built) == 6


def test_a_machine_is_left_out_where_the_recipe_does_not_ask(tmp_path, monkeypatch):
    built = []
    stand_ins(monkeypatch, built)
    files, recipe = run_of(tmp_path)
    plain = validate(Recipe, {"name": "small", "machine": {"size": 2}}, "small")
    assert "machine" not in step.synthesise_run(files, plain, jobs=1)
    assert (built, files.machine_synth.exists()) == ([], False)
    asked = recipe.model_copy(update={"machine": recipe.machine.model_copy(update={"synthesise": False})})
    assert asked.content_hash() != recipe.content_hash()


def test_without_a_baseline_the_machine_stands_alone_with_the_reason(tmp_path, monkeypatch):
    stand_ins(monkeypatch, [])
    files, recipe = run_of(tmp_path)
    (files.baseline("mlp").frozen / "model.json").write_text("{}")
    found = step.synthesise_run(files, recipe, jobs=1)["machine"]
    assert [machine["variant"] for machine in found["machines"]] == ["model"]
    assert found["skipped"][0]["target"] == "dense MLP"


@pytest.mark.slow
@pytest.mark.parametrize("ffn", ["mlp", "weightless"])
def test_yosys_counts_a_machine(tmp_path, ffn):
    yosys = fpga_yosys()
    if yosys is None:
        pytest.skip("Yosys is not installed")
    image = image_of(ffn, fold_factor=2)
    found = {each.name: each for each in synthesise_machine(yosys, tmp_path, image.config, image.blocks)}
    assert found["lutra_systolic_pe"].instances == 4
    assert found["lutra_transformer_requantise_lane"].instances == 2
    assert ("lutra_transformer_gearbox" in found) == (ffn == "weightless")
    parts = parts_of(tuple(found.values()), ())
    assert parts["requantise"].lut_packed > 2 * 400
    assert parts["memories"].bram > 5
    assert all(part.dsp == 0 for part in parts.values())
