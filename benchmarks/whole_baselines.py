"""What a user would run a small transformer on: PyTorch, ONNX Runtime and OpenVINO, each with the dense model.

`baselines` returns calls by name; an engine that is not installed is left out with one line on stderr.
"""

from __future__ import annotations

import contextlib
import copy
import io
import logging
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lutra.models.gpt import GPT

Call = Callable[[], Any]
CALIBRATION_RUNS = 8


class DecodeStep(nn.Module):
    """One token of a GPT beside the keys and values of those before it, as exported models do it.

    Takes the token (B, 1), its position (1,), and keys and values (B, H, T, W) of every layer; returns logits and the
    keys and values of every layer with those of the token behind them.
    """

    def __init__(self, model: GPT) -> None:
        super().__init__()
        self.model = model

    def forward(self, token: Tensor, position: Tensor, *kept: Tensor) -> tuple[Tensor, ...]:
        parts: Any = self.model.transformer
        x = parts.wte(token) + parts.wpe(position)
        extended: list[Tensor] = []
        for index, block in enumerate(parts.h):
            attention = block.attn
            query, key, value = (
                part.unflatten(2, (attention.heads, -1)).transpose(1, 2)  # (B, H, 1, W)
                for part in attention.c_attn(block.ln_1(x)).chunk(3, dim=2)
            )
            keys, values = torch.cat([kept[2 * index], key], 2), torch.cat([kept[2 * index + 1], value], 2)
            context = (query @ keys.transpose(2, 3) * query.shape[-1] ** -0.5).softmax(dim=-1) @ values
            x = x + attention.c_proj(context.transpose(1, 2).flatten(2))
            x = x + block.mlp(block.ln_2(x))
            extended += [keys, values]
        return self.model.lm_head(parts.ln_f(x)), *extended


def baselines(model: nn.Module, inputs: tuple[Tensor, ...], threads: int) -> dict[str, Call]:
    """Calls of the dense `model` on `inputs`: fp32, bf16, and int8 with ONNX Runtime and OpenVINO."""
    model.eval()
    narrow = _as_bf16(model)
    bf16_inputs = tuple(x.bfloat16() if x.is_floating_point() else x for x in inputs)
    calls: dict[str, Call] = {"torch_fp32": lambda: model(*inputs), "torch_bf16": lambda: narrow(*bf16_inputs)}
    with tempfile.TemporaryDirectory() as folder:
        try:
            files = _onnx_files(model, inputs, Path(folder))
            calls |= _onnx_runtime(files, inputs, threads)
        except ImportError as error:
            print(f"left out: ONNX Runtime ({error})", file=sys.stderr)
            return calls
        try:
            calls |= _openvino(files, inputs, threads)
        except ImportError as error:
            print(f"left out: OpenVINO ({error})", file=sys.stderr)
    return calls


def _as_bf16(model: nn.Module) -> nn.Module:
    return copy.deepcopy(model).bfloat16()


def _onnx_files(model: nn.Module, inputs: tuple[Tensor, ...], folder: Path) -> dict[str, Path]:
    """The model as ONNX: float32, with int8 weights (dynamic), and with int8 everywhere (QDQ, calibrated)."""
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_dynamic, quantize_static
    from onnxruntime.quantization.calibrate import CalibrationDataReader
    from onnxruntime.quantization.shape_inference import quant_pre_process

    files = {name: folder / f"{name}.onnx" for name in ("exported", "fp32", "dynamic", "qdq")}
    logging.getLogger().setLevel(logging.ERROR)
    with contextlib.redirect_stdout(io.StringIO()):
        torch.onnx.export(model, inputs, str(files["exported"]), dynamo=True, external_data=False)
    quant_pre_process(str(files["exported"]), str(files["fp32"]), skip_symbolic_shape=True)
    quantize_dynamic(str(files["fp32"]), str(files["dynamic"]), weight_type=QuantType.QInt8, per_channel=True)

    class Reader(CalibrationDataReader):
        """The same inputs a few times, of other values where they are real."""

        def __init__(self) -> None:
            names = _input_names(files["fp32"])
            arrays = [x.numpy() for x in inputs]
            self.runs = iter([dict(zip(names, arrays, strict=True)) for _ in range(CALIBRATION_RUNS)])

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self.runs, None)

    quantize_static(
        str(files["fp32"]), str(files["qdq"]), Reader(), quant_format=QuantFormat.QDQ, per_channel=True,
        activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
    )  # fmt: skip
    return files


def _input_names(file: Path) -> list[str]:
    import onnx

    return [each.name for each in onnx.load(str(file)).graph.input]


def _onnx_runtime(files: dict[str, Path], inputs: tuple[Tensor, ...], threads: int) -> dict[str, Call]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0" if threads == 1 else "1")
    calls: dict[str, Call] = {}
    for name in ("fp32", "dynamic", "qdq"):
        session = onnxruntime.InferenceSession(str(files[name]), options, providers=["CPUExecutionProvider"])
        feed = {each.name: x.numpy() for each, x in zip(session.get_inputs(), inputs, strict=True)}
        calls[f"onnxruntime_{name}"] = lambda session=session, feed=feed: session.run(None, feed)
    return calls


def _openvino(files: dict[str, Path], inputs: tuple[Tensor, ...], threads: int) -> dict[str, Call]:
    import openvino

    core, calls = openvino.Core(), {}
    settings = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
    for name, label in (("fp32", "fp"), ("qdq", "int8")):
        request = core.compile_model(core.read_model(str(files[name])), "CPU", settings).create_infer_request()
        arrays = [x.numpy() for x in inputs]
        calls[f"openvino_{label}"] = lambda request=request, arrays=arrays: request.infer(arrays)
    return calls
