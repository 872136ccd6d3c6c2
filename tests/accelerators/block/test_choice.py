"""What sums a group of outputs is chosen by lookup tables, and everything that reads the schedule knows it."""

from __future__ import annotations

import json

import numpy as np
import pytest

from lutra.accelerators.block.choice import graph_of, group_sums, tree_luts
from lutra.accelerators.block.contents import BlockContents
from lutra.accelerators.block.emit import block_design, chosen_sums, generate_rtl
from lutra.accelerators.block.plan import BlockPlan
from lutra.errors import InputError
from lutra.frozen.graph import FrozenModel, as_weightless
from lutra.frozen.random_block import random_block
from lutra.runs.schemas.rtl import Manifest


def ternary(**shape):
    shape = {"width": 24, "luts": (96,), "inputs": (6,), "groups": 2, "encoded_values": "ternary", **shape}
    return random_block(np.random.default_rng(0), **shape)


def test_few_bits_of_many_outputs_are_a_graph_and_one_output_is_a_tree():
    assert {each.dataflow for each in group_sums(BlockContents(as_weightless(ternary())), forced=False)} == {"graph"}
    alone = BlockContents(as_weightless(ternary(luts=(24,), output_width=2, encoded_values="int8")))
    assert {each.dataflow for each in group_sums(alone, forced=False)} == {"tree"}
    assert {each.dataflow for each in group_sums(alone, forced=True)} == {"graph"}


def test_the_choice_is_what_takes_less():
    for kind in ("ternary", "int3", "int8"):
        for groups in (1, 4, 12):
            contents = BlockContents(as_weightless(ternary(groups=groups, encoded_values=kind)))
            for group, each in enumerate(group_sums(contents, forced=False)):
                assert each.graph_luts == graph_of(contents, group).luts
                assert (each.dataflow == "graph") == (each.graph_luts < each.tree_luts)


def test_trees_of_nothing_and_of_one_bit_take_nothing():
    assert tree_luts(np.zeros((12, 3), int), np.zeros(3, int), 8) == 0
    assert tree_luts(np.eye(1, dtype=int), np.zeros(1, int), 8) == 0
    assert tree_luts(np.ones((6, 1), int), np.zeros(1, int), 8) == 3  # a count of six bits
    assert tree_luts(np.ones((5, 1), int), np.zeros(1, int), 8) == 2  # of five: two tables in one


def test_graphs_are_part_of_the_schedule_and_of_the_manifest(tmp_path):
    plan = BlockPlan(ternary(), "block_0", "all", "auto")
    assert plan.schedule.dataflow == "graph"
    design = block_design([plan])
    assert {name for name in design.files if "_graph_" in name} == {"block_0_graph_0.sv", "block_0_graph_1.sv"}
    assert not any("_lane_" in name for name in design.files)
    design.write(tmp_path / "rtl")
    (block,) = Manifest.model_validate(json.loads((tmp_path / "rtl" / "rtl.json").read_text())).blocks
    assert (block.dataflow, block.drain_cycles) == ("graph", plan.schedule.drain_cycles)
    assert [each.model_dump() for each in block.sums] == design.manifest["blocks"][0]["sums"]
    (line,) = chosen_sums([plan])
    assert line.startswith("block_0: graphs for 2 of 2 groups of outputs, counted ")


def test_what_was_not_asked_for_changes_nothing():
    tree = BlockPlan(ternary(), "block_0", "all", "tree")
    assert tree.schedule.sums == () and "sums" not in block_design([tree]).manifest["blocks"][0]
    assert chosen_sums([tree]) == []
    # Nothing is gained by graphs: the design is that of trees.
    alone = ternary(luts=(24,), output_width=2, encoded_values="int8")
    auto, plain = (block_design([BlockPlan(alone, "block_0", "all", dataflow)]) for dataflow in ("auto", "tree"))
    assert auto.content_hash == plain.content_hash


def test_several_steps_leave_trees_and_say_why(tmp_path):
    plan = BlockPlan(ternary(), "block_0", 6, "auto")
    assert (plan.schedule.dataflow, plan.schedule.sums) == ("tree", ())
    assert plan.schedule.fallback == "a graph sums all outputs in one cycle, and fold factor 6 takes 4"
    assert chosen_sums([plan]) == [f"block_0: trees; {plan.schedule.fallback}"]
    assert block_design([plan]).content_hash == block_design([BlockPlan(ternary(), "block_0", 6, "tree")]).content_hash
    with pytest.raises(InputError, match='fold factor 6 takes 4; take fold factor "all", or dataflow tree or auto'):
        generate_rtl(FrozenModel((ternary(),)), tmp_path / "rtl", 6, "graph")
    assert not (tmp_path / "rtl").exists()
    assert BlockPlan(ternary(), "block_0", 24, "graph").schedule.dataflow == "graph"  # 24 outputs per cycle are all
