"""The packaged core, driven by models of AXI that are not ours, by its own drivers, and by other tools."""

from __future__ import annotations

import pytest

from ip_bench import Case, random_package, run_cocotb

pytest.importorskip("cocotb", reason="cocotb is not installed")

CASES = {
    # Rows of 13 bytes on a bus of 4, beats of 3 lanes; rows of 7 elements of 2 bytes.
    "odd": Case("odd_ip", 13, 7, 5, "accumulate", output_bits=12),
    # Two blocks, whole rows in one beat, buses of several words.
    "wide": Case("wide_ip", 16, 24, "all", "tree", blocks=2, output_bits=16),
    "narrow": Case("narrow_ip", 9, 5, 2, "tree", blocks=3, output_bits=8, bus_bits=(8, 8)),
}


@pytest.fixture(scope="module", params=CASES)
def built(request, tmp_path_factory):
    """A package, written into a folder."""
    folder = tmp_path_factory.mktemp(request.param)
    core, package = random_package(CASES[request.param])
    package.write(folder / "ip")
    return folder, core, package


def test_no_beat_is_lost_or_wrong_under_random_stalls(built):
    folder, core, _ = built
    found = run_cocotb(folder, core, folder / "ip", patterns=12, rows=8)
    assert (found["patterns"], found["wrong"]) == (12, [])
    assert min(found["stalls"]) > 0


@pytest.mark.slow
def test_no_beat_is_lost_or_wrong_under_a_thousand_patterns_of_stalls(built):
    folder, core, _ = built
    found = run_cocotb(folder, core, folder / "ip", patterns=1000, rows=8)
    print(core.name, found)
    assert (found["patterns"], found["wrong"]) == (1000, [])
    assert min(found["stalls"]) > 1000
