"""The steps of a run: their order, what is skipped, what runs again, and what is refused."""

from __future__ import annotations

import pytest

from fabricated_run import make_started_run, small_recipe
from lutra.errors import InputError, LutraError, RecipeError, RunDirectoryError
from lutra.recipes.kinds import LANGUAGE
from lutra.recipes.language import load_recipe
from lutra.runs import steps as run_module
from lutra.runs.files import RunFiles, write_text
from lutra.runs.record import write_steps
from lutra.runs.steps import finished_steps, load_run, open_run, run_step, run_steps

OUTPUTS = {
    "train": ("train/log.jsonl", "train/best.safetensors"),
    "baselines": ("baselines/mlp/train/best.safetensors", "baselines/none/train/best.safetensors"),
    "freeze": ("frozen/model.json", "frozen/tensors.safetensors"),
    "evaluate": ("evaluate.json",),
    "rtl": ("rtl/block.sv", "rtl/lib/fifo.sv"),
    "simulate": ("simulate.json",),
    "synth": ("synth.json",),
    "cost": ("cost.json",),
    "report": ("report.html",),
}


class FakeSteps:
    """Stands in for the real steps: each writes its files from `contents`, so that a test decides what changes."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.options: dict[str, dict] = {}
        self.contents = dict.fromkeys([step.name for step in LANGUAGE.steps], "first")
        self.results: dict[str, dict] = {}
        self.failing: str | None = None

    def load(self, function: str):
        name = next(step.name for step in LANGUAGE.steps if step.function == function)

        def step(files, recipe, **options):
            self.calls.append(name)
            self.options[name] = options
            if name == self.failing:
                raise LutraError(f"{name} failed")
            for path in OUTPUTS[name]:
                write_text(files.root / path, self.contents[name])
            return self.results.get(name, {})

        return step

    def calls_of(self, function, *args, **kwargs) -> list[str]:
        self.calls = []
        function(*args, **kwargs)
        return self.calls


@pytest.fixture
def steps(monkeypatch):
    fake = FakeSteps()
    monkeypatch.setattr(run_module, "load_function", fake.load)
    return fake


@pytest.fixture
def started(tmp_path):
    return make_started_run(tmp_path / "run")


def test_every_step_runs_once_in_order(steps, started):
    assert steps.calls_of(run_steps, *started) == [step.name for step in LANGUAGE.steps]
    assert steps.calls_of(run_steps, *started) == []
    assert list(finished_steps(started[0])) == [step.name for step in LANGUAGE.steps]


def test_every_step_reads_only_earlier_steps_and_exists_in_the_table_of_outputs():
    for position, step in enumerate(LANGUAGE.steps):
        assert set(step.reads) <= set([step.name for step in LANGUAGE.steps][:position])
    assert set(OUTPUTS) == {step.name for step in LANGUAGE.steps}


def test_a_failed_step_leaves_the_earlier_ones_and_the_next_run_starts_there(steps, started):
    steps.failing = "rtl"
    with pytest.raises(LutraError, match="rtl failed"):
        run_steps(*started)
    assert list(finished_steps(started[0])) == ["train", "baselines", "freeze", "evaluate"]
    steps.failing = None
    assert steps.calls_of(run_steps, *started) == ["rtl", "simulate", "synth", "cost", "report"]


def test_changed_outputs_run_again_with_what_depends_on_them(steps, started):
    files, recipe = started
    run_steps(files, recipe)
    steps.contents["freeze"] = "second"
    files.frozen.joinpath("model.json").write_text("damaged")
    redone = ["freeze", "evaluate", "rtl", "simulate", "synth", "cost", "report"]
    steps.contents.update(dict.fromkeys(redone, "second"))
    assert steps.calls_of(run_steps, files, recipe) == redone


def test_a_step_that_writes_the_same_again_does_not_disturb_those_after_it(steps, started):
    files, recipe = started
    run_steps(files, recipe)
    files.synth.unlink()
    assert steps.calls_of(run_steps, files, recipe) == ["synth"]


def test_a_copied_run_is_up_to_date(steps, started, tmp_path):
    run_steps(*started)
    moved = started[0].root.rename(tmp_path / "elsewhere")
    assert steps.calls_of(run_steps, *load_run(moved)) == []


def test_from_and_to_choose_the_steps_and_run_them_again(steps, started):
    run_steps(*started)
    assert steps.calls_of(run_steps, *started, first="rtl", last="synth") == ["rtl", "simulate", "synth"]
    assert steps.calls_of(run_steps, *started, last="freeze") == []
    with pytest.raises(InputError, match="--from cost comes after --to train"):
        run_steps(*started, first="cost", last="train")
    with pytest.raises(InputError, match="no step named quantise; the steps are train, baselines"):
        run_steps(*started, first="quantise")


def test_a_narrowed_step_does_not_count_as_finished(steps, started):
    run_steps(*started)
    run_step(*started, "simulate", fold_factors=[1], rows=None)
    assert steps.options["simulate"] == {"fold_factors": [1]}
    assert steps.calls_of(run_steps, *started) == ["simulate"]
    run_step(*started, "synth", liberty="cells.lib", jobs=2)
    assert steps.calls_of(run_steps, *started) == []


def test_training_that_hits_the_time_limit_ends_the_run_and_is_taken_up_again(steps, started):
    steps.results["train"] = {"finished": False, "stopped": "time limit", "iterations": 10}
    with pytest.raises(LutraError, match=r"train stopped after --max-minutes 0\.5"):
        run_steps(*started, max_minutes=0.5)
    assert 0 < steps.options["train"]["max_minutes"] <= 0.5
    assert finished_steps(started[0]) == {}
    steps.results["train"] = {"finished": True, "stopped": None, "iterations": 20}
    assert steps.calls_of(run_steps, *started)[:2] == ["train", "baselines"]


def test_a_stopped_baseline_is_not_finished(steps, started):
    steps.results["baselines"] = {
        "mlp": {"finished": True, "stopped": None},
        "none": {"finished": False, "stopped": "time limit"},
    }
    assert run_step(*started, "baselines", max_minutes=1)["finished"] is False
    assert "baselines" not in finished_steps(started[0])


def test_interrupted_training_interrupts_the_run(steps, started):
    steps.results["train"] = {"finished": False, "stopped": "interrupt"}
    with pytest.raises(KeyboardInterrupt):
        run_steps(*started)
    assert steps.calls == ["train"]
    assert finished_steps(started[0]) == {}


def test_a_model_without_weightless_blocks_has_no_hardware_steps(steps, started):
    recipe = small_recipe(model={"ffn": "mlp"}, baselines=[])
    files = open_run(recipe, started[0].root.with_name("another"))
    assert steps.calls_of(run_steps, files, recipe) == ["train", "baselines", "freeze", "evaluate", "report"]


def test_the_recipe_is_kept_and_another_one_is_refused(tmp_path):
    recipe, root = small_recipe(), tmp_path / "run"
    assert load_recipe(open_run(recipe, root).recipe) == recipe
    assert open_run(recipe, root).root == root
    other = small_recipe(train={"batch": 3})
    with pytest.raises(RunDirectoryError, match=r"run: belongs to another recipe, train.batch is 12 there and 3 here"):
        open_run(other, root)
    layer = recipe.block.lut_layers[0].model_dump()
    with pytest.raises(RunDirectoryError, match=r"block.lut_layers.0.inputs is 6 there and 4 here"):
        open_run(small_recipe(block={"lut_layers": [{**layer, "inputs": 4}]}), root)
    assert load_recipe(RunFiles(root).recipe) == recipe


def test_a_folder_with_other_files_is_left_alone(tmp_path):
    tmp_path.joinpath("thesis.tex").write_text("mine")
    with pytest.raises(RunDirectoryError, match="not a run directory"):
        open_run(small_recipe(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_folder_without_a_run_is_named(tmp_path):
    with pytest.raises(RunDirectoryError, match="no run there"):
        load_run(tmp_path / "nothing")
    tmp_path.joinpath("recipe.toml").write_text("name = ")
    with pytest.raises(RecipeError, match="not TOML"):
        load_run(tmp_path)


def test_a_time_beyond_what_a_record_can_hold_is_refused_when_it_is_read(tmp_path):
    files, _ = make_started_run(tmp_path / "run")
    step = '{"seconds": 1e300, "ended": "now", "environment": {}}'
    write_text(files.steps, f'{{"format_version": 2, "finished": {{"train": {step}}}, "failed": {{}}}}')
    with pytest.raises(RunDirectoryError, match=r"steps\.json.*finished\.train\.seconds: .*less than or equal"):
        finished_steps(files)


@pytest.mark.parametrize(
    "path", ["../other/evaluate.json", "/etc/hostname", "a\\rmodule evil; endmodule", "rtl//a.sv", ""]
)
def test_evidence_lies_below_the_run_and_has_a_harmless_path(tmp_path, path):
    files, _ = make_started_run(tmp_path / "run")
    step = f'{{"seconds": 1, "ended": "now", "environment": {{}}, "outputs": {{"{path}": "0123"}}}}'
    write_text(files.steps, f'{{"format_version": 2, "finished": {{"train": {step}}}, "failed": {{}}}}')
    with pytest.raises(RunDirectoryError, match=r"steps\.json: finished\.train\.outputs") as caught:
        finished_steps(files)
    assert str(caught.value).isprintable()


def test_files_of_ones_own_beside_evidence_are_recorded_and_a_name_of_two_lines_is_refused(tmp_path):
    files, _ = make_started_run(tmp_path / "run")
    step = {"seconds": 1.0, "ended": "now", "environment": {}}
    own = {"rtl/fold_1/my notes (1).txt": "0123", "rtl/_draft/Größe.sv": "4567"}
    write_steps(files, {"rtl": {**step, "outputs": own}}, {})
    assert finished_steps(files)["rtl"]["outputs"] == own
    with pytest.raises(RunDirectoryError, match=r"steps\.json: not written, .*rename or move that file"):
        write_steps(files, {"rtl": {**step, "outputs": {"rtl/two\nlines": "0123"}}}, {})
    assert finished_steps(files)["rtl"]["outputs"] == own
