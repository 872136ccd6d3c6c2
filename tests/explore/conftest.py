import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from lutra.explore.space import load_space
from lutra.explore.sweep import explore
from lutra.runs.claim import save_recipe
from tiny_training import tiny_recipe

HERE = Path(__file__).parent
STAND_IN = (sys.executable, str(HERE / "stand_in.py"))
HEAD = 'name = "small"\nbase = "tiny.toml"\n'


@pytest.fixture
def write_space(tmp_path) -> Callable[[str], Path]:
    """Writes a space file beside a tiny base recipe; its name and base come first."""

    def write(text: str) -> Path:
        save_recipe(tiny_recipe("weightless"), tmp_path / "tiny.toml")
        path = tmp_path / "space.toml"
        path.write_text(HEAD + text, encoding="utf-8")
        return path

    return write


class Starts:
    """Which processes were started, as the stand-in wrote them down."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def lines(self) -> list[list[str]]:
        return [line.split() for line in self.path.read_text().splitlines()] if self.path.exists() else []

    def by_name(self) -> Counter[str]:
        return Counter(line[0] for line in self.lines())


@pytest.fixture
def starts(tmp_path, monkeypatch) -> Starts:
    path = tmp_path / "starts"
    monkeypatch.setenv("LUTRA_TEST_STARTS", str(path))
    return Starts(path)


@pytest.fixture
def run_space(tmp_path, write_space, starts):
    """Explores a space with the stand-in, two runs at a time; returns the record."""

    def run(text: str, **options):
        return explore(load_space(write_space(text)), tmp_path / "out", 2, command=STAND_IN, **options)

    return run


@pytest.fixture
def start_space(tmp_path, write_space, starts):
    """Explores a space with the stand-in in a process of its own, two runs at a time; returns the process."""
    source = (
        "import sys\nfrom pathlib import Path\nfrom lutra.explore.space import load_space\n"
        "from lutra.explore.sweep import explore\n"
        "space, out, *command = sys.argv[1:]\n"
        "try:\n    explore(load_space(Path(space)), Path(out), 2, command=command)\n"
        "except KeyboardInterrupt:\n    sys.exit(130)"
    )
    processes = []

    def start(text: str) -> subprocess.Popen:
        arguments = [str(write_space(text)), str(tmp_path / "out"), *STAND_IN]
        processes.append(subprocess.Popen([sys.executable, "-c", source, *arguments]))
        return processes[-1]

    yield start
    (tmp_path / "go").touch()  # whatever still waits may end
    for process in processes:
        process.wait(20)
