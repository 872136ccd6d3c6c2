"""The smallest files that once broke a reader, or would: each is refused in one line with status 2."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

import lutra
from fabricated_run import make_finished_run, small_recipe
from fuzz_forks import judged
from fuzz_readers import OTHER_TARGETS, RUN_TARGETS, others_of, sign
from hostile import canaries
from lutra.frozen import store
from lutra.runs.claim import save_recipe

CASES = json.loads((Path(__file__).parent / "corpus" / "cases.json").read_text())
RECORDED = Path(lutra.__file__).parent / "papers" / "recorded"


@pytest.fixture(scope="module")
def trees(tmp_path_factory) -> dict[str, Path]:
    """Sound files, made without PyTorch."""
    root = tmp_path_factory.mktemp("trees")
    make_finished_run(root / "fabricated")
    other = root / "other"
    (other / "explored").mkdir(parents=True)
    shutil.copytree(RECORDED, other / "results")
    shutil.copy(RECORDED / "explore" / "demo-block.json", other / "explored" / "explore.json")
    config = {"model_type": "gpt2", "n_layer": 2, "n_head": 2, "n_embd": 64, "n_positions": 128, "vocab_size": 99}
    (other / "config.json").write_text(json.dumps(config))
    save_recipe(small_recipe(), other / "base.toml")
    (other / "space.toml").write_text('name = "s"\nbase = "base.toml"\nseeds = [1]\n[[variant]]\nname = "a"\n')
    return {"fabricated": root / "fabricated", "other": other}


def changed(path: Path, case: dict) -> bytes:
    """What the case makes of a file."""
    if "hex" in case:
        return bytes.fromhex(case["hex"])
    if "text" in case:
        return re.sub(r"<(.)\*(\d+)>", lambda found: found[1] * int(found[2]), case["text"]).encode()
    document = json.loads(path.read_text())
    *parents, last = case["set"][0] if "set" in case else case["delete"]
    node = document
    for part in parents:
        node = node[part]
    if "set" in case:
        node[last] = case["set"][1]
    else:
        del node[last]
    if path.name == store.MODEL_FILE:
        document.pop("content_hash")
        tensors = store.read_tensors(path.parent / store.TENSOR_FILE)
        document["content_hash"] = store._content_hash(document, tensors)
    return json.dumps(document).encode()


def readers(case: dict) -> list:
    (target,) = [each for each in (*RUN_TARGETS, *OTHER_TARGETS) if Path(case["file"]).match(each.pattern)][:1]
    return [target.read, *(look for look, _ in others_of(target) if look.__name__ != "verify_run")]


@pytest.mark.parametrize("case", CASES, ids=[f"{case['file']}: {case['why']}" for case in CASES])
def test_it_is_refused_in_one_line(trees, tmp_path, monkeypatch, case):
    root = tmp_path / "tree"
    shutil.copytree(trees[case["tree"]], root)
    path = root / case["file"]
    content = changed(path, case)
    path.write_bytes(content)
    sign(root, {path: content})
    monkeypatch.chdir(tmp_path)
    verdict, detail = judged(lambda: readers(case)[0](root, path))
    assert verdict == "refused", detail
    assert canaries(tmp_path) == []


@pytest.mark.parametrize("tree", ["fabricated", "other"])
def test_sound_files_are_taken(trees, tmp_path, tree):
    shutil.copytree(trees[tree], tmp_path / "tree")
    for file in dict.fromkeys(case["file"] for case in CASES if case["tree"] == tree):
        for look in readers({"file": file}):
            assert judged(lambda: look(tmp_path / "tree", tmp_path / "tree" / file)) == ("taken", ""), (file, look)  # noqa: B023
