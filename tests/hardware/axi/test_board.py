"""A core behind a serial line, as the bitstream for a board has it: the packaged driver talks to it bit by bit."""

from __future__ import annotations

import select
import subprocess
from pathlib import Path

import numpy as np
import pytest

from ip_bench import Case, load_driver, random_package
from lutra.errors import InputError
from lutra.hardware.axi.board import bit_cycles, board_files
from lutra.hardware.bench import verilator
from lutra.hardware.bench.streams import DEFINES
from lutra.synth.tools.ecp5 import ECP5_MACRO

SUPPORT = Path(__file__).parents[2] / "support" / "axi"
CYCLES = 4
PATIENCE_S = 30


class Port:
    """What pyserial's Serial is to a driver, over the pipes of a simulation."""

    def __init__(self, program):
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)

    def write(self, data):
        self.process.stdin.write(data)

    def read(self, count):
        found = b""
        while len(found) < count and select.select([self.process.stdout], [], [], PATIENCE_S)[0]:
            if not (more := self.process.stdout.read(count - len(found))):
                break
            found += more
        return found


@pytest.fixture
def board(tmp_path):
    """The board in simulation, its core, and the folder of its package."""
    core, package = random_package(Case("byte_ip", 9, 5, 2, "tree", blocks=2, output_bits=12, bus_bits=(8, 8)))
    package.write(tmp_path / "ip")
    sources = board_files(core, package, 25e6, False, CYCLES, led_low=True)
    for name, text in sources.items():
        (tmp_path / name).write_text(text)
    files = [tmp_path / name for name in sources]
    assert verilator.lint(files, "byte_ip_board") == ""
    main = tmp_path / "main.cpp"
    main.write_text(f'#define BIT_CYCLES {CYCLES}\n#include "{SUPPORT / "serial_line.cpp"}"\n')
    port = Port(verilator.build(files, "byte_ip_board", main, tmp_path / "build", defines=(*DEFINES, ECP5_MACRO)))
    yield port, tmp_path / "ip"
    port.process.stdin.close()
    port.process.wait(timeout=30)


def test_the_packaged_driver_talks_to_a_board(board):
    port, package = board
    driver = load_driver(package / "driver/python/byte_ip.py", "driver_of_board")
    line = driver.SerialLine(port)
    port.write(b"\x00?")  # what is no command is passed over
    accelerator = driver.Accelerator(line, line.transfer)
    assert accelerator.self_test(package / "vectors") == 24
    assert accelerator.counters()["rows"] == 12
    assert accelerator.run(np.zeros((0, driver.INPUT_WIDTH), int)).shape == (0, driver.OUTPUT_WIDTH)
    driver.BUILD_HASH = "0123456789abcdef"
    with pytest.raises(
        driver.DriverError, match=r"the hardware is of build [0-9a-f]{16}, this driver of 0123456789abcdef"
    ):
        accelerator.check()


def test_clocks_that_do_not_divide_to_the_serial_line_are_refused():
    assert bit_cycles(25e6, 1_000_000) == 25
    assert bit_cycles(100e6, 115_200) == 868
    for clock_hz, baud in ((25e6, 12_000_000), (5e6, 921_600 * 2)):
        with pytest.raises(InputError, match="cannot be divided"):
            bit_cycles(clock_hz, baud)
