"""Files are written whole or not at all."""

import errno
import json

import pytest

from lutra.errors import LutraError, RunDirectoryError
from lutra.runs.files import read_json, replacing, write_json, write_text


def test_a_full_disk_is_one_line_and_keeps_the_earlier_file(tmp_path):
    path = tmp_path / "result.json"
    write_json(path, {"kept": True})
    message = r"result\.json: cannot write \(No space left on device\); free some space"
    with pytest.raises(LutraError, match=message), replacing(path) as temporary:
        temporary.write_text("half of the")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert json.loads(path.read_text()) == {"kept": True}
    assert [file.name for file in tmp_path.iterdir()] == ["result.json"]


def test_an_interrupt_leaves_nothing_behind(tmp_path):
    with pytest.raises(KeyboardInterrupt), replacing(tmp_path / "new.json"):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(LutraError, match=r"below\.txt: cannot write"):
        write_text(tmp_path / "file" / "below.txt", "text")


def test_not_a_number_is_refused_and_keeps_the_earlier_file(tmp_path):
    path = tmp_path / "result.json"
    write_json(path, {"loss": 1.0})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"loss": float("nan")})
    assert json.loads(path.read_text()) == {"loss": 1.0}


@pytest.mark.parametrize("content", ["{", "\xff"])
def test_a_damaged_file_names_the_step_that_makes_it(tmp_path, content):
    path = tmp_path / "cost.json"
    path.write_text(content, encoding="latin-1")
    with pytest.raises(RunDirectoryError, match="run `lutra cost` again"):
        read_json(path, "cost")
    path.unlink()
    with pytest.raises(RunDirectoryError, match="run `lutra cost` first"):
        read_json(path, "cost")
