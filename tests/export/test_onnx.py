"""Frozen blocks and converted models as ONNX: every value equal to the golden model."""

import numpy as np
import pytest
import torch
from torch import nn

import lutra
from lutra.errors import FrozenModelError
from lutra.export.onnx import save_onnx
from lutra.freeze.block import freeze_block
from lutra.freeze.engines import install
from lutra.freeze.onnx import StandardBlock
from lutra.frozen import golden
from lutra.frozen.graph import Graph
from lutra.frozen.ops import ShiftGelu
from lutra.frozen.types import TensorType
from lutra.nn.weightless import WeightlessBlock
from lutra.train.healing.fit import fit_
from own_models import D, WholeFeedForward, small, x

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

KINDS = [
    {},
    {"encoded_scale": "output", "output_bits": 24},
    {"sum_reads": (0, 1), "groups": 1, "encoded_values": "power_of_two"},
    {"lut_layers": (lutra.LutLayerConfig(luts="2D", inputs=3), lutra.LutLayerConfig(luts="D", inputs=6))},
]


def frozen_block(**changes):
    torch.manual_seed(0)
    config = lutra.BlockConfig(**{**small().model_dump(), **changes})
    block = WeightlessBlock(12, config, 1, 10)
    block.calibrate_(torch.randn(100, 12))
    with torch.no_grad():
        block.summation.encoded.normal_()
    block.quantise_()
    return freeze_block("block", block)


def run(path, values):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: values})[0]


@pytest.mark.parametrize("kind", KINDS)
def test_ten_thousand_rows_equal_the_golden_model(tmp_path, kind):
    graph = frozen_block(**kind)
    draw = np.random.default_rng(1)
    rows = draw.integers(-128, 128, (10_000, 12), dtype=np.int8)
    save_onnx(graph, tmp_path / "integers.onnx")
    assert (run(tmp_path / "integers.onnx", rows) == golden.run(graph, rows)).all()
    real = draw.normal(0, 2, (10_000, 12)).astype(np.float32)
    save_onnx(graph, tmp_path / "real.onnx", real=True)
    expected = golden.dequantise(golden.run(graph, golden.quantise(real, graph.input_type)), graph.output_type)
    assert (run(tmp_path / "real.onnx", real) == expected).all()
    assert (StandardBlock(graph)(torch.from_numpy(real)).numpy() == expected).all()


def test_the_file_is_standard_and_says_its_scales(tmp_path):
    graph = frozen_block()
    save_onnx(graph, tmp_path / "block.onnx")
    model = onnx.load(tmp_path / "block.onnx")
    assert {node.domain for node in model.graph.node} == {""}
    scales = {entry.key: float(entry.value) for entry in model.metadata_props}
    assert scales == {"input_scale": graph.input_type.scale, "output_scale": graph.output_type.scale}
    assert model.graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.INT8


def test_an_operation_without_a_standard_form_is_refused(tmp_path):
    gelu = ShiftGelu(("x",), "y", 4, 8, 8)
    with pytest.raises(FrozenModelError, match="shift_gelu has no form"):
        save_onnx(Graph("g", "x", TensorType(True, 8, 0.1), 4, (gelu,)), tmp_path / "g.onnx")
    assert not list(tmp_path.iterdir())


def test_a_converted_model_runs_elsewhere(tmp_path):
    pytest.importorskip("onnxscript")
    torch.manual_seed(0)
    net = nn.Sequential(WholeFeedForward(), nn.LayerNorm(D))
    lutra.replace_mlp(net, lutra.find_mlps(net, x()), small())
    lutra.calibrate_(net, x())
    frozen = lutra.freeze_model(net)
    lutra.export_onnx(net, frozen, tmp_path / "model.onnx", x())
    install(net, frozen)
    with torch.no_grad():
        expected = net.eval()(x()).numpy()
    assert np.allclose(run(tmp_path / "model.onnx", x().numpy()), expected, atol=1e-4)
    kinds = {node.op_type for node in onnx.load(tmp_path / "model.onnx").graph.node}
    assert "MatMul" in kinds and not any(kind.startswith("lutra") for kind in kinds)


def test_a_converted_model_with_token_tables_runs_elsewhere(tmp_path):
    """The exporter follows the ids: tables must not become constants of the example."""
    pytest.importorskip("onnxscript")
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 40}
    teacher = transformers.BertModel(transformers.BertConfig(vocab_size=25, **sizes)).eval()
    first, second = torch.arange(14).view(2, 7), torch.arange(24, 10, -1).view(2, 7)
    net = transformers.BertModel(teacher.config).eval()
    net.load_state_dict(teacher.state_dict())
    lutra.replace_mlp(net, lutra.find_mlps(net, input_ids=first), small(), token_tables=True)
    fit_(net, teacher, [{"input_ids": first}, {"input_ids": second}])
    frozen = lutra.freeze_model(net)
    lutra.export_onnx(net, frozen, tmp_path / "model.onnx", input_ids=first)
    install(net, frozen)
    for ids in (first, second):
        with torch.no_grad():
            expected = net(input_ids=ids).last_hidden_state.numpy()
        assert np.allclose(run(tmp_path / "model.onnx", ids.numpy()), expected, atol=1e-4)
