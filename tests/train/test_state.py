"""What a checkpoint remembers beside tensors is checked before a training goes on with it."""

import pytest

from lutra.errors import CheckpointError
from lutra.train import stage, trainer
from lutra.train.checkpoint import state_of


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({"iteration": -1}, "iteration"),
        ({"iteration": "3"}, "iteration"),
        ({"iteration": True}, "iteration"),
        ({"iteration": 2.5}, "iteration"),
        ({"loss_sum": float("nan")}, "loss_sum"),
        ({"x\nmodule evil; endmodule": 1}, "module evil"),
        (["iteration"], "mapping"),
    ],
)
def test_what_no_training_has_written_is_refused_in_one_line(tmp_path, state, words):
    with pytest.raises(CheckpointError, match=words) as refused:
        state_of({"state": state}, trainer._State, tmp_path / "last.safetensors")
    assert str(refused.value).isprintable()


def test_a_stage_needs_to_know_how_long_its_log_was(tmp_path):
    saved = state_of({"state": {"log_lines": 2, "lesson": 1}}, stage._SavedState, tmp_path)
    assert (saved.log_lines, saved.lesson, saved.ended) == (2, 1, [])
    for metadata in ({"state": {"lesson": 1}}, {}):
        with pytest.raises(CheckpointError, match=r"log_lines|state"):
            state_of(metadata, stage._SavedState, tmp_path)
