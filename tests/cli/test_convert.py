"""`lutra plan` and `lutra convert` from the command line."""

import json
import sys

import pytest
from typer.testing import CliRunner

from lutra.cli.commands import app

pytest.importorskip("transformers")

from tiny_text import write_model, write_text


def lutra(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_plan_of_a_folder(tmp_path):
    write_model(tmp_path / "model")
    told = lutra("plan", tmp_path / "model")
    assert told.exit_code == 0 and "2 of 2 places" in told.stdout and "structure alone" in told.stdout
    first, second = (lutra("plan", tmp_path / "model", "--json").stdout for _ in range(2))
    assert first == second
    plan = json.loads(first)
    assert [row["path"] for row in plan["found"]] == [f"encoder.layer.{i}.intermediate.dense" for i in range(2)]
    assert plan["weights_left_dense"] == 0 and plan["feedforward_weights"] == 2 * 2 * 16 * 40
    kept = json.loads(lutra("plan", tmp_path / "model", "--json", "--exclude", "re:.*layer.0.*").stdout)
    assert kept["weights_left_dense"] == 0.5


def test_plan_of_a_function(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(
        "import torch\nfrom torch import nn\n"
        "class Net(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.mlp, self.norm = nn.Sequential(nn.Linear(8, 20), nn.ReLU(), nn.Linear(20, 8)), nn.LayerNorm(8)\n"
        "    def forward(self, x):\n"
        "        return self.norm(x + self.mlp(x))\n"
        "def build():\n    return Net(), torch.randn(4, 8)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    plan = json.loads(lutra("plan", "mine:build", "--json").stdout)
    assert plan["exact"] is True and plan["found"][0]["path"] == "mlp"
    sys.modules.pop("mine")


@pytest.mark.parametrize(
    ("name", "words"), [("no/such-folder", "no Hugging Face model"), ("json:nothing", "has no attribute")]
)
def test_plan_of_nothing(name, words):
    told = lutra("plan", name)
    assert told.exit_code == 2 and words in told.stderr and "Traceback" not in told.stderr


def test_convert_resumes_and_says_what_it_needs(tmp_path):
    model, text = write_model(tmp_path / "model"), write_text(tmp_path / "text.txt")
    settings = [
        "data.tokens=12", "data.batch=8", "data.held_out=24", "block.groups=2", "block.thermometer_bits=3",
        "fit.texts=64", "fit.local_steps=0", "heal.steps=4", "hardware.rows=32",
    ]  # fmt: skip
    options = [part for setting in settings for part in ("--set", setting)]
    out = tmp_path / "run"
    first = lutra("convert", model, "--data", text, "--out", out, "--to", "fit", *options)
    assert first.exit_code == 0, first.stderr
    again = lutra("convert", model, "--data", text, "--out", out, "--to", "evaluate", "--json", *options)
    assert again.exit_code == 0, again.stderr
    told = json.loads(again.stdout)
    assert told["steps"]["fit"] == {"status": "up to date"} and told["steps"]["heal"]["steps"] == 4
    assert told["summary"]["evaluate"]["scores"]["golden"].keys() == {"cosine", "spearman"}
    assert lutra("convert", model, "--out", tmp_path / "other").exit_code == 2
    other = lutra("convert", model, "--data", text, "--out", out, "--set", "heal.steps=5")
    assert other.exit_code == 2 and "another recipe" in other.stderr
