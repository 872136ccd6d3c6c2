"""Text from files never becomes code: every string of every kind of file is refused in one line, or only ever text."""

from __future__ import annotations

import functools
import html.parser
import json
import re
import shutil
import subprocess
import tempfile
import tomllib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lutra
from fabricated_run import exploration, make_finished_run, small_recipe, spread
from frozen_berts import METHODS, small_config
from frozen_blocks import random_rows
from hostile import CANARY, KEY, STRINGS, canaries, replaced, string_places
from lutra import escape
from lutra.accelerators.block.emit import block_files
from lutra.accelerators.block.plan import BlockPlan
from lutra.accelerators.block.simulate import simulate_graphs
from lutra.errors import FrozenModelError, InputError, LutraError, RecipeError, RunDirectoryError
from lutra.explore.space import load_space
from lutra.frozen import store
from lutra.frozen.bert import FrozenBert, layout
from lutra.frozen.graph import FrozenModel, Graph
from lutra.frozen.random_block import random_block
from lutra.hardware.bench import verilator
from lutra.names import file_name_problem, name_problem, text_problem
from lutra.papers.table import PaperTable, Row
from lutra.recipes.kinds import load_any_recipe
from lutra.recipes.sections import dump_toml
from lutra.report.build import report_run
from lutra.report.record import add_exploration
from lutra.runs.claim import save_recipe
from lutra.sources import require_harmless

EVERY = pytest.mark.parametrize("text", STRINGS.values(), ids=STRINGS.keys())


@pytest.fixture(autouse=True)
def nothing_is_executed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    yield
    assert canaries(tmp_path) == []


def renamed(graph: Graph, name: str) -> Graph:
    return Graph(name, graph.input, graph.input_type, graph.input_width, graph.ops)


def signed(folder: Path, structure: dict, tensors: dict) -> Path:
    """Write a frozen model as it is, with the hash that belongs to it."""
    folder.mkdir(exist_ok=True)
    plain = {key: value for key, value in structure.items() if key != "content_hash"}
    (folder / store.MODEL_FILE).write_text(json.dumps({**plain, "content_hash": store._content_hash(plain, tensors)}))
    return folder


def refused(error: LutraError) -> None:
    """What every refusal is: one line, which does nothing to a terminal, and exit status 2."""
    assert error.exit_status == 2
    assert str(error).isprintable() and len(str(error)) < 2000


@EVERY
def test_a_frozen_model_with_hostile_text_is_refused_or_gives_the_same_rtl(tmp_path, text):
    graph = random_block(np.random.default_rng(0), name="h.0.mlp")
    store.save(FrozenModel((graph,), {"recipe": "r"}), tmp_path / "good")
    structure, tensors = store.read_files(tmp_path / "good")
    shutil.copytree(tmp_path / "good", tmp_path / "bad")
    places, taken = list(string_places(structure)), []
    assert len(places) > 40
    for place in places:
        signed(tmp_path / "bad", replaced(structure, place, text), tensors)
        try:
            taken.append((place, store.load(tmp_path / "bad")))
        except FrozenModelError as error:
            refused(error)
    # A note on the origin may be any line of text; it stands in no RTL.
    assert all(place[0] == "origin" for place, _ in taken), taken
    harmless = block_files(BlockPlan(graph, "block_0", 4))
    for _, model in taken:
        assert text_problem(model.origin["recipe"]) is None
        assert block_files(BlockPlan(model.graphs[0], "block_0", 4)) == harmless


@EVERY
def test_a_frozen_bert_with_hostile_text_is_refused(tmp_path, text):
    config = small_config(layers=1, quantisation=METHODS[1])
    tensors = {name: np.ones(what.shape, what.dtype) for name, what in layout(config).items()}
    FrozenBert(config, tensors, {"method": "bmt"}).save(tmp_path / "bert")
    structure, tensors = store.read_files(tmp_path / "bert")
    for place in string_places(structure):
        signed(tmp_path / "bert", replaced(structure, place, text), tensors)
        try:
            assert text_problem(FrozenBert.load(tmp_path / "bert").origin["method"]) is None
        except FrozenModelError as error:
            refused(error)
        else:
            assert place[0] == "origin"


@EVERY
@pytest.mark.parametrize("dataflow", ["accumulate", "tree"])
def test_templates_escape_names_that_nobody_checked(text, dataflow):
    graph = random_block(np.random.default_rng(0))

    def code(name: str) -> dict[str, str]:
        files = block_files(BlockPlan(renamed(graph, name), "block_0", 4, dataflow))
        return {file: re.sub(r"//[^\n]*", "//", content) for file, content in files.items()}

    assert code(text) == code("harmless")
    with pytest.raises(InputError, match="letters, digits and _"):
        BlockPlan(graph, text, 4, dataflow)


def test_the_injection_of_a_module_by_a_name_runs_nothing(tmp_path):
    graph = random_block(np.random.default_rng(0), luts=(6,), inputs=(3,))
    rows = random_rows(np.random.default_rng(1), graph, 2)
    with pytest.raises(LutraError, match=r"blocks\.0\.graph: is .*; a name has letters") as caught:
        simulate_graphs([(renamed(graph, STRINGS["line break and a module"]), 4, rows)], tmp_path)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "line",
    [
        f'initial $system("touch {CANARY}");',
        f'initial $c("system(\\"touch {CANARY}\\");");',
        'import "DPI-C" function int system(input string command);',
        '`include "/etc/passwd"',
        "`define word system",
        'initial $readmemh("/etc/passwd", memory);',
        "`systemc_implementation",
        "\0",
    ],
)
def test_edited_rtl_that_could_do_more_than_compute_is_refused(tmp_path, line):
    source = tmp_path / "edited.sv"
    source.write_text(f"module edited (input logic a_i, output logic b_o);\n  assign b_o = a_i;\n  {line}\nendmodule\n")
    for read in (lambda: verilator.lint([source], "edited"), lambda: require_harmless([source])):
        with pytest.raises(RunDirectoryError, match=r"edited\.sv: line 3 has") as caught:
            read()
        refused(caught.value)


def test_modules_of_the_working_directory_are_not_found(tmp_path):
    (tmp_path / "stranger.sv").write_text("module stranger; endmodule\n")
    source = tmp_path / "rtl" / "edited.sv"
    source.parent.mkdir()
    source.write_text("module edited; stranger u_stranger (); endmodule\n")
    assert "stranger" in verilator.lint([source], "edited")


def test_every_module_of_ours_is_harmless():
    files = list(Path(lutra.__file__).parent.rglob("*.sv"))
    assert len(files) > 30
    require_harmless(files)


def toml_of(document: dict) -> str:
    """TOML in which any string can be written; the writer under test is another."""
    lines = []
    for key, value in document.items():
        if isinstance(value, dict):
            lines.append(f"{json.dumps(key)} = {{ {', '.join(toml_of({k: v}).strip() for k, v in value.items())} }}")
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            inner = ", ".join(
                "{ " + ", ".join(toml_of({k: v}).strip() for k, v in item.items()) + " }" for item in value
            )
            lines.append(f"{json.dumps(key)} = [{inner}]")
        else:
            lines.append(f"{json.dumps(key)} = {json.dumps(value)}")
    return "\n".join(lines) + "\n"


BERT_RECIPE = {
    "name": "b",
    "kind": "bert",
    "task": "MRPC",
    "checkpoint": "some-bert",
    "methods": ["full", "bmt-w1a4"],
    "train_split": "train",
}


@EVERY
def test_recipes_with_hostile_text_are_refused_or_read_back_equal(tmp_path, text):
    for document in (small_recipe().model_dump(mode="json"), BERT_RECIPE):
        for place in string_places(document):
            path = tmp_path / "recipe.toml"
            path.write_text(toml_of(replaced(document, place, text)))
            try:
                recipe = load_any_recipe(path)
            except RecipeError as error:
                refused(error)
            else:
                assert place == ("checkpoint",) or text == "", place
                save_recipe(recipe, tmp_path / "again.toml")
                assert load_any_recipe(tmp_path / "again.toml") == recipe


@EVERY
def test_spaces_with_hostile_text_are_refused(tmp_path, text):
    base = tmp_path / "base.toml"
    save_recipe(small_recipe(), base)
    space = {"name": "s", "base": "base.toml", "seeds": [1], "variant": [{"name": "a", "group": "g", "set": {}}]}
    for place in string_places(space):
        path = tmp_path / "space.toml"
        path.write_text(toml_of(replaced(space, place, text)))
        with pytest.raises(RecipeError) as caught:
            load_space(path)
        refused(caught.value)


class Tags(html.parser.HTMLParser):
    """The tags of a page, with the names of their attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, tuple[str, ...]]] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, tuple(name for name, _ in attrs)))


@EVERY
def test_no_text_of_a_run_becomes_markup_of_its_page(tmp_path, text):
    files, recipe = make_finished_run(tmp_path / "run")
    expected = tags_of_the_page()
    for name in ("evaluate", "simulate", "synth", "cost", "steps"):
        path = getattr(files, name)
        document = json.loads(path.read_text())
        for place in string_places(document):
            if place[-1] is not KEY:
                document = replaced(document, place, text)
        if "frozen_hash" in document:
            document["frozen_hash"] = store.content_hash(files.frozen)
        path.write_text(json.dumps(document))
    try:
        report_run(files, recipe)
    except LutraError as error:
        refused(error)
    else:
        page = files.report.read_text()
        assert set(Tags(page).found) <= expected
        assert "\x1b" not in page


@functools.cache
def tags_of_the_page() -> set[tuple[str, tuple[str, ...]]]:
    with tempfile.TemporaryDirectory() as folder:
        files, recipe = make_finished_run(Path(folder) / "run")
        report_run(files, recipe)
        return set(Tags(files.report.read_text()).found)


@EVERY
def test_an_exploration_is_recorded_in_its_folder_or_not_at_all(tmp_path, text):
    folder = tmp_path / "a" / "b" / "exploration"
    folder.mkdir(parents=True)
    into = tmp_path / "a" / "b" / "results"
    document = exploration(name="good", variants=[{"variant": "v", "loss": spread(1.0)}])
    (folder / "explore.json").write_text(json.dumps(document))
    assert add_exploration(folder, into) == into / "explore" / "good.json"
    before = sorted(tmp_path.rglob("*"))
    (folder / "explore.json").write_text(json.dumps({**document, "name": text}))
    with pytest.raises(LutraError) as caught:
        add_exploration(folder, into)
    refused(caught.value)
    assert sorted(tmp_path.rglob("*")) == before


@EVERY
def test_names_are_refused_and_tables_stay_tables(text):
    assert name_problem(text) and file_name_problem(text)
    table = PaperTable("t", text, (Row(text, text, 1.0, 2.0, text),), (text,))
    lines = table.to_markdown().splitlines()
    assert len(lines) == len(PaperTable("t", "x", (Row("x", "x", 1.0, 2.0, "x"),), ("x",)).to_markdown().splitlines())
    assert len(re.findall(r"(?<!\\)\|", lines[4])) == 7
    assert "<script" not in table.to_markdown() and "\x1b" not in table.to_markdown()


@given(st.text())
def test_what_is_escaped_stays_in_its_place(text):
    assert re.fullmatch(r"[A-Za-z0-9 _.,:;()+=<>\[\]-]*", escape.comment(text))
    assert "<" not in re.sub(r"&\w+;", "", escape.html(text)) and '"' not in escape.html(text)
    assert "\n" not in escape.markdown(text) and "\x1b" not in escape.visible(text)
    literal = escape.quoted(text)
    inner = re.sub(r"\\[0-7]{3}", "", literal[1:-1])
    assert not set(inner) & set('"\\`$\n') and inner.isascii()
    assert tomllib.loads(f"a = {escape.toml(text)}") == {"a": text}
    assert load_back(dump_toml({"a": text, "b": {text: [text, 1]}})) == {"a": text, "b": {text: [text, 1]}}
    if "\0" not in text:
        word = escape.tcl(text)
        assert re.fullmatch(r'\{[^{}\\"$]*\}|"(?:[A-Za-z0-9_./:,+=@-]|\\u[0-9a-f]{4}|\\U[0-9a-f]{8})*"', word)


def load_back(text: str) -> dict:
    return tomllib.loads(text)


@pytest.mark.skipif(shutil.which("tclsh") is None, reason="no tclsh")
@EVERY
def test_tcl_reads_a_word_as_it_was(tmp_path, text):
    if "\0" in text or "\ud800" in text:
        return
    script = f"fconfigure stdout -encoding utf-8 -translation lf\nputs -nonewline {escape.tcl(text)}\n"
    (tmp_path / "script.tcl").write_text(script)
    assert subprocess.run(["tclsh", "script.tcl"], capture_output=True, check=True).stdout.decode() == text


@EVERY
def test_only_plain_paths_get_into_scripts_of_yosys(text):
    if text in ("/tmp/" + CANARY, "../../../escaped", "x" * 10_000):
        assert escape.yosys(text) == text
    else:
        with pytest.raises(InputError):
            escape.yosys(text)
