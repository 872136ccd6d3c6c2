"""Explorations on a Ray cluster: the record of local processes, also when a node dies, and refusals in one line.

A cluster of two nodes is started on this machine, each with a processor of its own.
"""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lutra.cli.commands import app
from lutra.cli.exploration import with_address
from lutra.errors import InputError, RunDirectoryError, ToolError
from lutra.explore import ray_jobs
from lutra.explore.processes import Job, exclusive
from lutra.explore.space import load_space
from lutra.explore.sweep import load_exploration
from lutra.recipes.language import load_recipe
from lutra.runs.claim import claim_run
from lutra.runs.files import HOLDER_NAME, LOCK_NAME, RunFiles
from lutra.version import __version__
from tiny_training import tiny_recipe

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason='needs Ray; pip install "lutra[ray]"')
STAND_IN = (sys.executable, str(Path(__file__).parent / "stand_in.py"))
SHORT_LUTRA = (sys.executable, str(Path(__file__).parents[1] / "fuzz" / "short_lutra.py"))
WITH_A_FAILURE = """
seeds = [1, 2]
[[variant]]
name = "slow"
set = { "block.window" = 77 }
[[variant]]
name = "bad"
set = { "block.window" = 13 }
"""
REAL = """
seeds = [1]
set = { "hardware.rows" = 64, "train.iterations" = 160, "train.evaluate_every" = 4 }
[[variant]]
name = "paper"
"""
EXPLORES = """
import sys
from pathlib import Path
from lutra.explore.ray_jobs import connected
from lutra.explore.space import load_space
from lutra.explore.sweep import explore
space, out, address, *command = sys.argv[1:]
try:
    with connected(address, Path(out)) as cluster:
        explore(load_space(Path(space)), Path(out), cluster.cpus, command=command, runner=cluster)
except KeyboardInterrupt:
    sys.exit(130)
"""


def test_an_address_may_be_left_out():
    assert with_address(["space.toml", "--ray"]) == ["space.toml", "--ray", "auto"]
    assert with_address(["--ray", "space.toml", "--jobs", "2"]) == ["--ray", "auto", "space.toml", "--jobs", "2"]
    assert with_address(["--ray", "10.0.0.1:6379", "a.toml"]) == ["--ray", "10.0.0.1:6379", "a.toml"]
    assert with_address(["--ray", "local", "a.toml"]) == ["--ray", "local", "a.toml"]


def test_what_cannot_work_is_refused_in_a_line(write_space, tmp_path, monkeypatch):
    space = str(write_space('seeds = [1]\n[[variant]]\nname = "plain"\n'))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"  # bound, and nobody listens
        ran = CliRunner().invoke(app, ["explore", space, "--out", str(tmp_path / "out"), "--ray", address])
    assert ran.exit_code == 2
    assert f"lutra: --ray {address}: no cluster there (" in ran.stderr and "ray start --head" in ran.stderr
    with pytest.raises(InputError, match="give HOST:PORT of the head"), ray_jobs.connected("ray://x:1", tmp_path):
        pass
    monkeypatch.setitem(sys.modules, "ray", None)
    ran = CliRunner().invoke(app, ["explore", space, "--out", str(tmp_path / "out"), "--ray"])
    assert (ran.exit_code, ran.stderr) == (1, 'lutra: Ray is not installed; pip install "lutra[ray]"\n')
    ran = CliRunner().invoke(app, ["explore", "spaces/bmt-table-3.toml", "--ray"])
    assert ran.exit_code == 2 and "--ray: only for explorations of trainings" in ran.stderr


def test_a_node_says_what_it_lacks(tmp_path):
    probe = ray_jobs.make_probe()
    with exclusive(tmp_path):
        note = tmp_path / HOLDER_NAME
        text = note.read_text()
        assert probe(str(note), text, str(tmp_path), __version__) == ("", False)
        problem, is_folder = probe(str(note), "another", str(tmp_path), __version__)
        assert is_folder and f"{tmp_path} is not there, or another folder" in problem
        problem, is_folder = probe(str(note), text, str(tmp_path / "away"), __version__)
        assert is_folder and "no folder" in problem
        problem, is_folder = probe(str(note), text, str(tmp_path), "0.0.7")
        assert not is_folder and f"Lutra {__version__} there, 0.0.7 here" in problem
    problem, is_folder = probe(str(tmp_path / "away" / HOLDER_NAME), text, str(tmp_path), __version__)
    assert is_folder and "away is not there" in problem


def task_of(root, **changes):
    recipe = tiny_recipe("weightless").model_copy(update={"baselines": (), **changes})
    files = RunFiles(root)
    claim_run(files, recipe)
    return ray_jobs._task(Job("a run", files, load_recipe(files.recipe), "evaluate"), STAND_IN)


def test_a_task_runs_a_job_once_its_folder_is_free(tmp_path, starts, monkeypatch):
    monkeypatch.setattr(ray_jobs, "GRACE_S", 0.1)
    task = task_of(tmp_path / "run")
    error, seconds = ray_jobs.run_task(task)
    assert error is None and seconds > 0
    assert starts.by_name() == {"tiny": 1}
    with exclusive(tmp_path / "run"):
        error, _ = ray_jobs.run_task(task)
        assert error is not None and f"process {os.getpid()}" in error and "works there" in error
    assert starts.by_name() == {"tiny": 1}
    assert (tmp_path / "run" / LOCK_NAME).exists()
    (tmp_path / "run").rename(tmp_path / "away")
    error, _ = ray_jobs.run_task(task)
    assert error is not None and error.endswith("run is not there")


@pytest.fixture
def cluster(monkeypatch):
    """Two nodes with a processor each; the second one may be killed."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_worker_niceness", "0")  # 15 by default, which takes long where much else runs
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    made.second = made.add_node(num_cpus=1)
    made.wait_for_nodes()
    yield made
    made.shutdown()


@pytest.fixture
def start(tmp_path, write_space, starts, cluster):
    """Explores a space on the cluster in a process of its own; returns the process."""
    processes = []

    def start(text, out, command):
        arguments = [str(write_space(text)), str(tmp_path / out), cluster.address, *command]
        with (tmp_path / f"{out}.log").open("wb") as log:
            processes.append(subprocess.Popen([sys.executable, "-c", EXPLORES, *arguments], stderr=log))
        return processes[-1]

    yield start
    (tmp_path / "go").touch()
    for process in processes:
        process.kill()
        process.wait()


def wait_for(condition, seconds=240):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def pids_below(ancestor):
    """Processes that a process has started, and those that they have started."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:  # it has just ended
            continue
    found = {ancestor}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def pids_on(node):
    (raylet,) = node.all_processes["raylet"]
    return pids_below(raylet.process.pid)


def without_times(record):
    """What must be equal of two records."""
    runs = [*record["runs"], *record["baselines"], *record["variants"]]
    for each in runs:
        each.pop("training_seconds", None)
    record.pop("environment")
    return record


@needs_ray
@pytest.mark.slow
def test_two_nodes_give_the_record_of_local_processes_and_a_dead_node_costs_time_only(
    tmp_path, cluster, start, starts, run_space
):
    process = start(WITH_A_FAILURE, "cluster", STAND_IN)
    wait_for(lambda: starts.by_name()["slow"] == 2)
    slow = {int(line[-1]) for line in starts.lines() if line[0] == "slow"}
    (on_second,) = slow & pids_on(cluster.second)
    before = starts.by_name()
    cluster.remove_node(cluster.second, allow_graceful=False)
    wait_for(lambda: not Path(f"/proc/{on_second}").exists())
    (tmp_path / "go").touch()
    assert process.wait(600) == 0, (tmp_path / "cluster.log").read_text()[-2000:]
    again = starts.by_name() - before
    assert again["slow"] == 1  # the one whose node died
    record = load_exploration(tmp_path / "cluster")
    assert {run["error"] for run in record["runs"]} == {None, "train: the loss is nan; try smaller learning rates"}
    assert starts.by_name() == {"mlp": 2, "none": 2, "slow": 3, "bad": 2}
    local = run_space(WITH_A_FAILURE)
    assert without_times(record) == without_times(local)


@needs_ray
@pytest.mark.slow
def test_a_stop_ends_every_run_of_the_cluster_and_the_next_call_goes_on(tmp_path, cluster, start, starts):
    process = start(WITH_A_FAILURE, "cluster", STAND_IN)
    wait_for(lambda: starts.by_name()["slow"] == 2)
    process.terminate()
    assert process.wait(300) == 130
    wait_for(lambda: not any(Path(f"/proc/{line[-1]}").exists() for line in starts.lines()))
    assert not load_exploration(tmp_path / "cluster")["finished"]
    (tmp_path / "go").touch()
    assert start(WITH_A_FAILURE, "cluster", STAND_IN).wait(600) == 0
    assert load_exploration(tmp_path / "cluster")["finished"]
    assert starts.by_name()["slow"] == 4


@needs_ray
@pytest.mark.slow
def test_a_training_goes_on_at_its_checkpoint_on_another_node(tmp_path, cluster, start, write_space, monkeypatch):
    from lutra.explore.sweep import explore

    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    process = start(REAL, "cluster", SHORT_LUTRA)

    def trained_on_second():
        """The log of a run that is in the middle of its training on the second node."""
        for pid in pids_on(cluster.second):
            try:
                arguments = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
                run = RunFiles(Path(arguments[arguments.index("--out") + 1])) if "--out" in arguments else None
                if run and run.last_checkpoint.exists() and run.train_log.read_text().count("\n") >= 2:
                    return run.train_log
            except OSError:  # the process has ended, or has no log yet
                continue
        return None

    training = wait_for(trained_on_second)
    lines = training.read_text().splitlines()
    cluster.remove_node(cluster.second, allow_graceful=False)
    assert process.wait(900) == 0, (tmp_path / "cluster.log").read_text()[-2000:]
    assert training.read_text().splitlines()[: len(lines) - 1] == lines[:-1]  # it went on, and did not begin again
    local = explore(load_space(write_space(REAL)), tmp_path / "local", 2, command=SHORT_LUTRA)
    assert without_times(load_exploration(tmp_path / "cluster")) == without_times(local)


@needs_ray
@pytest.mark.slow
def test_a_folder_that_a_node_lacks_is_refused(tmp_path, cluster, monkeypatch, write_space):
    monkeypatch.setattr(ray_jobs, "__version__", "0.0.7")
    with ray_jobs.connected(cluster.address, tmp_path) as runner, exclusive(tmp_path):
        with pytest.raises(ToolError, match=r"node \S+: Lutra .* there, 0.0.7 here; install the same version"):
            runner._require_nodes()
        monkeypatch.undo()
        away = ray_jobs.RayRunner(runner._ray, tmp_path)
        away._root = tmp_path / "away"
        (tmp_path / "away").mkdir()
        (tmp_path / "away" / HOLDER_NAME).write_text("here")
        away._require_nodes()
        monkeypatch.setattr(ray_jobs.Path, "read_text", lambda *_, **__: "another")
        with pytest.raises(RunDirectoryError, match=r"node \S+: .* is not there, or another folder"):
            away._require_nodes()
