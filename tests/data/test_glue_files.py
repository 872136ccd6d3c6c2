"""GLUE files as editors of Windows leave them, and archives without bound."""

from __future__ import annotations

import lzma

import pytest

from lutra.data import glue
from lutra.data.glue import find_task, read_split
from lutra.data.tokenizer import load_tokenizer
from lutra.errors import InputError
from tiny_glue import VOCABULARY

LINES = ["sentence1\tsentence2\tlabel", "the cat\tthe dog\t1", "sun\tsea\t0"]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("last", [True, False])
def test_marks_and_line_ends_of_windows(tmp_path, end, mark, last):
    (tmp_path / "MRPC-dev.tsv").write_bytes((mark + end.join(LINES) + (end if last else "")).encode())
    split = read_split(find_task("MRPC"), "dev", tmp_path)
    assert split.labels.tolist() == [1, 0] and split.texts[0] == ("the cat", "the dog")


def test_an_archive_is_unpacked_up_to_a_bound(tmp_path, monkeypatch):
    path = tmp_path / "MRPC-dev.tsv.xz"
    path.write_bytes(lzma.compress(("\n".join(LINES) + "\n").encode()))
    assert len(read_split(find_task("MRPC"), "dev", tmp_path).labels) == 2
    monkeypatch.setattr(glue, "TABLE_BYTES", 10)
    with pytest.raises(InputError, match="MRPC-dev"):
        read_split(find_task("MRPC"), "dev", tmp_path)
    monkeypatch.undo()
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match="cut off"):
        read_split(find_task("MRPC"), "dev", tmp_path)


@pytest.mark.parametrize(("text", "lower"), [('{"do_lower_case":false}', False), ("{}", True), (None, True)])
def test_options_of_a_tokenizer_are_read_as_json(tmp_path, text, lower):
    (tmp_path / "vocab.txt").write_text("\n".join([*VOCABULARY, "Cat"]) + "\n")
    if text is not None:
        (tmp_path / "tokenizer_config.json").write_text(text)
    assert load_tokenizer(tmp_path).encode("Cat").tokens[1:-1] == (["cat"] if lower else ["Cat"])
