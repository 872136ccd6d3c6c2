"""What Lutra starts ends with it, however it ends; temporary folders go."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from lutra import children

PARENT = """
import signal, sys, threading, time
from pathlib import Path
from lutra import children
# As in a terminal: these are ignored in what a shell starts in the background, and then stay so.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
folder = Path(sys.argv[1])
# A child that starts another, as Verilator's script and g++ do, each of which would go on for minutes.
script = f"echo $$ > {folder}/child; sleep 100 & echo $! > {folder}/grandchild; wait"
def work():
    with children.temporary_folder("test") as temporary:
        (folder / "temporary").write_text(str(temporary.parent))
        children.run(["/bin/sh", "-c", script])
with children.ending_cleanly():
    if sys.argv[2] == "thread":
        children.concurrently(lambda _: work(), range(3), 2)
    else:
        work()
"""


def alive(process: int) -> bool:
    try:
        status = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return status != "Z"


def wait_for(condition, seconds: float = 60.0) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def read_number(path: Path) -> int:
    assert wait_for(lambda: path.exists() and path.read_text().strip())
    return int(path.read_text())


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
@pytest.mark.parametrize("place", ["main", "thread"])
def test_children_end_with_their_parent(tmp_path, number, place):
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path), place], stderr=subprocess.DEVNULL)
    below = [read_number(tmp_path / name) for name in ("child", "grandchild")]
    assert all(map(alive, below))
    parent.send_signal(number)
    parent.wait(60)
    assert wait_for(lambda: not any(map(alive, below))), "an orphan goes on"
    temporary = Path((tmp_path / "temporary").read_text())
    if number != signal.SIGKILL:
        assert not temporary.exists()
        return
    # After a kill the folder is left; the next process that wants one removes it, but not while it may be young.
    os.utime(temporary, (0, 0))
    with children.temporary_folder("test"):
        assert not temporary.exists()


def test_a_folder_that_is_held_is_not_removed():
    with children.temporary_folder("test") as held:
        os.utime(held.parent, (0, 0))
        with children.temporary_folder("test"):
            assert held.exists()


def test_folders_of_others_are_left_alone():
    folder = Path(tempfile.mkdtemp(prefix="lutra-mine-"))  # without a lock in it: not one of ours
    os.utime(folder, (0, 0))
    with children.temporary_folder("test"):
        assert folder.exists()
    folder.rmdir()


def test_results_and_errors_of_programs():
    done = children.run(["/bin/sh", "-c", "echo out; echo error >&2; exit 3"])
    assert (done.returncode, done.stdout, done.stderr) == (3, "out\n", "error\n")
    assert children.run(["/bin/sh", "-c", "printf '\\377'"]).stdout == "\ufffd"
    with pytest.raises(OSError):
        children.run(["/nothing/here"])
    with pytest.raises(subprocess.TimeoutExpired):
        children.run(["/bin/sleep", "100"], timeout_s=0.1)


def test_programs_start_again_after_the_group_was_ended():
    process = children.start(["/bin/sleep", "100"])
    children._group.end(for_good=False)
    assert process.wait(60) == -signal.SIGKILL
    assert children.run(["/bin/echo", "x"]).stdout == "x\n"


def test_results_come_in_order_and_the_first_failure_rises():
    assert children.concurrently(lambda n: n * n, range(20), 3) == [n * n for n in range(20)]
    seen = []

    def fail(n):
        seen.append(n)
        if n in (2, 3):
            raise ValueError(n)
        time.sleep(0.01)

    with pytest.raises(ValueError, match="2"):
        children.concurrently(fail, range(1000), 1)
    assert len(seen) < 1000


def test_ignored_signals_stay_ignored():
    previous = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with children.ending_cleanly():
            os.kill(os.getpid(), signal.SIGHUP)
            assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    finally:
        signal.signal(signal.SIGHUP, previous)
