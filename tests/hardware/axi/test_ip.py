"""The packaged core, driven by models of AXI that are not ours, by its own drivers, and by other tools."""

from __future__ import annotations

import dataclasses

import pytest

from ip_bench import (
    Case,
    build_cocotb,
    build_simulation,
    compile_strictly,
    ip_xact_problems,
    random_package,
    run_cocotb,
    run_fusesoc,
    run_simulation,
)

CASES = {
    # Rows of 13 bytes on a bus of 4, beats of 4 lanes; rows of 7 elements of 2 bytes.
    "odd": Case("odd_ip", 13, 7, 5, "accumulate", output_bits=12),
    # Two blocks, whole rows in one beat, buses of several words.
    "wide": Case("wide_ip", 16, 24, "all", "tree", blocks=2, output_bits=16),
    "bytes": Case("byte_ip", 9, 5, 2, "tree", blocks=3, bus_bits=(8, 8)),
}


def packaged(case, folder):
    core, package = random_package(case)
    package.write(folder / "ip")
    return core, folder / "ip"


def run(simulated, **plan):
    folder, core, package = simulated
    return run_cocotb(folder, core.name, package, **plan)


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    """The odd case in a simulation for cocotb: its folder, core and package."""
    pytest.importorskip("cocotbext.axi", reason="cocotb and cocotbext-axi are not installed")
    folder = tmp_path_factory.mktemp("odd")
    core, package = packaged(CASES["odd"], folder)
    build_cocotb(folder, core.name, package)
    return folder, core, package


def test_no_beat_is_lost_or_wrong_under_random_stalls(simulated):
    found = run(simulated, patterns=12, rows=8)
    assert (found["patterns"], found["wrong"]) == (12, [])
    assert min(found["stalls"]) > 0


def test_what_is_done_wrong_is_said_and_the_next_packet_is_right(simulated):
    assert run(simulated, errors=True) == {
        "short_row": ["row"],
        "holes": ["row", "keep"],
        "twice": ["start"],
        "no_such_block": ["block"],
        "late_last": [],
        "no_rows": [],
        "give_up": [],
    }


def test_blocks_keep_their_cycles_and_packets_follow_each_other(simulated):
    core, package_hash = simulated[1], random_package(CASES["odd"])[1].build_hash
    found = run(simulated, timing=[1, 2, 4, 8, 12])
    (member,) = core.members
    cycles = {int(rows): count for rows, count in found["cycles"].items()}
    lone = cycles.pop(1)  # whose last beat on the bus is not full
    assert {rows: count - cycles[2] for rows, count in cycles.items()} == {
        rows: (rows - 2) * member.interval_cycles for rows in cycles
    }
    assert lone <= member.latency_cycles + 4
    registers = found["registers"]
    assert f"{registers['build_hash_high']:08x}{registers['build_hash_low']:08x}" == package_hash
    assert (registers["identity"], registers["map_version"], registers["blocks"]) == (0x4C555452, 1, 1)


def test_the_packaged_driver_runs_on_pynq_and_refuses_another_build(simulated, tmp_path):
    _, core, package = simulated
    _, other = packaged(dataclasses.replace(CASES["odd"], seed=1), tmp_path)
    found = run(
        simulated,
        pynq=True,
        vectors_folder=str(package / "vectors"),
        other_driver=str(other / f"driver/python/{core.name}.py"),
        other_vectors=str(other / "vectors"),
    )
    assert found["compared"] == found["counters"]["rows"] == 12
    assert "the hardware is of build" in found["other build"] and "\n" not in found["other build"]
    assert "vectors of build" in found["other vectors"]
    assert found["no such block"] == "odd_ip: block 99 is not there; there are 1"
    assert found["no such ip"] == "odd_ip: no elsewhere in this overlay; it has odd_ip_0"


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_no_beat_is_lost_or_wrong_under_a_thousand_patterns_of_stalls(name, tmp_path):
    pytest.importorskip("cocotbext.axi", reason="cocotb and cocotbext-axi are not installed")
    core, package = packaged(CASES[name], tmp_path)
    build_cocotb(tmp_path, core.name, package)
    found = run_cocotb(tmp_path, core.name, package, patterns=1000, rows=4)
    assert (found["patterns"], found["wrong"]) == (1000, [])
    assert min(found["stalls"]) > 1000


def test_the_c_driver_runs_against_the_rtl_and_refuses_another_build(tmp_path):
    core, package = packaged(CASES["odd"], tmp_path)
    compile_strictly(tmp_path, core.name, package)
    program = build_simulation(tmp_path / "right", core.name, package)
    ran = run_simulation(program, package, "20")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.endswith(f"{20 * 12} rows, 0 differ\n")

    damaged = tmp_path / "damaged.bin"
    content = bytearray((package / "vectors/odd_ip_block_0.bin").read_bytes())
    content[-1] ^= 1
    damaged.write_bytes(content)
    ran = run_simulation(program, package, "1", str(damaged))
    assert ran.returncode == 1
    assert "block 0, stall pattern 0: row 11, element 6: RTL" in ran.stderr

    header = package / f"driver/c/{core.name}.h"
    text = header.read_text()
    low = next(line for line in text.splitlines() if "BUILD_HASH_LOW_VALUE" in line)
    header.write_text(text.replace(low, "#define ODD_IP_BUILD_HASH_LOW_VALUE 0x12345678u"))
    ran = run_simulation(build_simulation(tmp_path / "wrong", core.name, package), package, "1")
    assert ran.returncode == 1
    assert (
        ran.stderr.startswith("odd_ip: the hardware is of another build than this driver")
        and ran.stderr.count("\n") == 1
    )


@pytest.mark.slow
def test_fusesoc_builds_and_runs_the_simulation(tmp_path):
    core, package = packaged(CASES["odd"], tmp_path)
    assert f"{4 * 12} rows, 0 differ" in run_fusesoc(tmp_path, core.name, package)


def test_ip_xact_is_valid_by_its_schema(tmp_path):
    for case in CASES.values():
        _, package = packaged(case, tmp_path / case.name)
        text = (package / "component.xml").read_text()
        assert ip_xact_problems(text) == ""
        assert ip_xact_problems(text.replace("<spirit:bitOffset>0", "<spirit:bitOffset>x", 1)) != ""
