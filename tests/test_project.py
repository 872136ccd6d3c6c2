"""What others see of the project: its metadata, the citation, and what their machines run of it."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

import lutra

yaml = pytest.importorskip("yaml")

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
WORKFLOWS = sorted(ROOT.glob(".github/workflows/*.yml"))


def supported() -> list[str]:
    """The versions of Python that the metadata names."""
    names = [name.rpartition(" ")[2] for name in PROJECT["classifiers"] if "Python ::" in name]
    return sorted(names, key=lambda name: int(name.partition(".")[2]))


def steps(path: Path) -> list[dict[str, Any]]:
    tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    return [step for job in tree["jobs"].values() for step in job["steps"]]


def test_versions_of_python_agree():
    assert PROJECT["requires-python"] == f">={supported()[0]}"
    (matrix,) = (
        job["strategy"]["matrix"]["python"]
        for path in WORKFLOWS
        for job in yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"].values()
        if "strategy" in job
    )
    assert matrix == supported()


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_runs_what_is_there(path):
    tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert tree[True].keys() >= {"push", "pull_request"}  # YAML 1.1 reads `on` as a truth value
    assert tree["permissions"] == {"contents": "read"}
    for step in steps(path):
        assert ("uses" in step) != ("run" in step), step
        assert re.fullmatch(r"[\w-]+/[\w-]+@v\d+", step.get("uses", "a/b@v1"))


def test_the_workflow_runs_ci():
    commands = [line.strip() for path in WORKFLOWS for step in steps(path) for line in step.get("run", "").splitlines()]
    assert ".ci/run" in commands
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_targets_that_ci_makes_are_there():
    made = re.findall(r"^\s*make ([\w -]+)$", (ROOT / ".ci" / "run").read_text(encoding="utf-8"), re.MULTILINE)
    phony = re.search(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert {"lint", "wheel", "site", "tutorials", "test"} <= set(" ".join(made).split()) <= set(phony[1].split())


def test_the_citation_is_of_this_version_and_names_its_sources():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["cff-version"] == "1.2.0"
    assert citation["version"] == PROJECT["version"] == lutra.__version__
    assert citation["license"] == PROJECT["license"]
    assert [author["name"] for author in citation["authors"]] == [each["name"] for each in PROJECT["authors"]]
    for reference in citation["references"]:
        assert {"type", "title", "authors", "year"} <= reference.keys()
        assert all({"family-names", "given-names"} <= author.keys() for author in reference["authors"])
        (arxiv,) = (each["value"].removeprefix("arXiv:") for each in reference["identifiers"])
        assert reference["url"] == f"https://arxiv.org/abs/{arxiv}"


def test_extras_are_explained():
    text = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8").lower()
    extras = PROJECT["optional-dependencies"].values()
    required = [*PROJECT["dependencies"], *(each for extra in extras for each in extra)]
    names = {re.match(r"[\w-]+", each)[0].lower() for each in required}
    assert {name for name in names if name not in text} == set()
