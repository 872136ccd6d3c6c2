"""The verbs of `import lutra`: what a user writes."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

import lutra
from lutra.frozen import golden


def test_import_is_light():
    code = "import sys, lutra; lutra.Recipe; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_verb_is_there():
    assert set(lutra.__all__) == set(lutra._HOMES)
    assert all(callable(getattr(lutra, name)) for name in lutra.__all__)
    with pytest.raises(AttributeError, match="no attribute 'multiply'"):
        _ = lutra.multiply


def test_from_any_module_to_verified_rtl(tmp_path):
    model = nn.Sequential(nn.Linear(6, 8), nn.Sequential(nn.Linear(8, 32), nn.GELU(), nn.Linear(32, 8)))
    block = lutra.BlockConfig(thermometer_bits=3, lut_layers=(lutra.LutLayerConfig(luts=10, inputs=4),))
    plan = lutra.find_mlps(model, torch.randn(4, 6), include=["1"])
    (replaced,) = lutra.replace_mlp(model, plan, block)
    lutra.calibrate_(model, torch.randn(64, 6))
    (graph,) = lutra.freeze_model(model).graphs
    assert graph.name == replaced.path == "1"
    x = torch.randn(20, 6)
    rows = golden.quantise(model[0](x).detach().numpy(), graph.input_type)
    (result,) = lutra.simulate_graphs([(graph, 2, rows)], tmp_path)
    assert result.mismatches == 0 and result.cycles_measured == result.cycles_predicted
    expected = golden.dequantise(golden.run(graph, rows), graph.output_type)
    assert np.array_equal(model(x).detach().numpy(), expected)
