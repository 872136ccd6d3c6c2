"""What the steps `synth` and `cost` say of BAT: the units they need, what a device holds, engines below their peak."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

import bat_models
from lutra.accelerators.bat import compiler, measure, runs
from lutra.accelerators.bat.config import PAPER
from lutra.accelerators.bat.latency import Shape
from lutra.accelerators.bat.resources import Sizes, UnitFits, Use, module_use, total_use
from lutra.accelerators.bat.search import devices
from lutra.accelerators.bat.synthesise import UnitPoint, unit_points
from lutra.cost.accelerator import layer_steps, sentences_cost
from lutra.errors import InputError
from lutra.hardware.design import with_defaults
from lutra.recipes.bert_config import BertConfig
from lutra.report.bat.figures import gantt_picture, machine_picture

HALF_WIDTH_BERT = BertConfig.model_validate(
    {"heads": 6, "intermediate": 1536, "activation": "relu", "quantisation": {"method": "bmt"}}
)


def measured(point: UnitPoint) -> dict[str, object]:
    """A unit as a record has it, whose resources grow with its size."""
    use = {"lut_raw": 3 * point.size, "lut_packed": 2 * point.size, "ff": point.size, "dsp": 1, "bram": 0.0}
    return {"unit": point.unit, "size": point.size, "bits": point.bits, **use}


@pytest.mark.parametrize("sums", ["count", "pe"])
@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_the_units_of_a_configuration_are_enough_for_its_modules(sums, bits):
    config = replace(PAPER, activation_bits=bits, sums=sums)
    points = measure.needed_points([config])
    assert len(points) < len(unit_points()) / 2
    fits = UnitFits(map(measured, points))
    shape = replace(Shape.of(HALF_WIDTH_BERT, 128), bits=bits)
    for module, attention in zip(config.modules, (True, False), strict=True):
        use = total_use(module_use(fits, module, Sizes(shape, sums), attention, not attention))
        assert use.lut_packed > 0
    fewer = [point for point in points if point.unit != f"dpu_{sums}"]
    with pytest.raises(InputError, match=f"no synthesis of dpu_{sums}"):
        module_use(UnitFits(map(measured, fewer)), PAPER.attention, Sizes(shape, sums), True, False)


def test_several_methods_share_their_units():
    four, two = PAPER, replace(PAPER, activation_bits=2)
    names = [{point.name for point in measure.needed_points(configs)} for configs in ([four], [two], [four, two])]
    assert names[2] == names[0] | names[1] and len(names[2]) < len(names[0]) + len(names[1])


def test_an_engine_gets_the_parameters_that_a_tool_can_not_set():
    text = measure.library_files(measure.emit.RTL)["lutra_bat_engine.sv"]
    changed = with_defaults(text, {"Units": 2, "Elements": 32})
    assert "Units = 2," in changed and "Elements = 32," in changed and "Elements = 128" not in changed


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (Use(lut_packed=274_081), r"^m: BAT takes 274,081 LUTs, the ZCU102 \(XCZU9EG\) has 274,080; choose smaller"),
        (Use(ff=600_000), "flip-flops"),
        (Use(bram=913), "913 BRAMs"),
        (Use(dsp=2521), "2,521 DSPs"),
    ],
)
def test_a_machine_beyond_the_device_is_refused(use, message):
    device = devices()["zcu102"]
    runs.require_fits("m", Use(device.lut, device.lut, device.ff, device.dsp, device.bram), device)
    with pytest.raises(InputError, match=message) as refusal:
        runs.require_fits("m", use, device)
    assert "\n" not in str(refusal.value)


def test_memories_alone_exceed_a_small_device():
    use = runs._memories(PAPER, SimpleNamespace(config=HALF_WIDTH_BERT))
    runs.require_fits("bmt-w1a4", use, devices()["zcu102"])
    with pytest.raises(InputError, match=r"bmt-w1a4: BAT takes \d+ BRAMs, the PYNQ-Z2 .* has 140"):
        runs.require_fits("bmt-w1a4", use, devices()["pynq-z2"])


@pytest.mark.parametrize("seed", range(8))
def test_no_machine_is_above_its_peak_and_pictures_are_drawn(seed):
    config, accelerator = bat_models.draw(seed)
    image = compiler.compile_model(bat_models.untrained(config, seed), accelerator)
    lengths = [accelerator.positions] * image.sentences
    costs = [sentences_cost(image, lengths[:count]) for count in range(1, image.sentences + 1)]
    assert all(0 < cost["utilisation"] <= 1 for cost in costs)
    assert np.diff([cost["cycles"] for cost in costs]).min(initial=0) >= 0
    steps = layer_steps(image, lengths)
    assert {step["sentence"] for step in steps} == set(range(image.sentences))
    assert all(step["start"] <= step["end"] < costs[-1]["cycles"] for step in steps)
    if seed < 2:
        for narrow in (False, True):
            for picture in (
                gantt_picture(steps, accelerator.clock_hz, narrow),
                machine_picture(accelerator, narrow),
            ):
                assert "modul" in ElementTree.fromstring(picture).attrib["aria-label"].lower()
