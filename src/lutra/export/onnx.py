"""A frozen graph as an ONNX model of standard operators, equal to the golden model in every value.

Integers stay integers: comparisons, gathers and integer products. Requantisation is a division by a power of two in
double precision and a floor, which is exact for what a frozen graph may hold.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from lutra.errors import FrozenModelError, InputError
from lutra.frozen.graph import Graph
from lutra.frozen.ops import ConditionalSum, LutLayer, MatMul, Requantise, Thermometer
from lutra.runs.files import replacing
from lutra.version import __version__

OPSET = 17
_EXACT = 2**53
"""Up to here double precision holds every integer."""


def graph_to_onnx(graph: Graph, real: bool = False) -> Any:
    """The graph as an `onnx.ModelProto`: x (N, D) -> y (N, D_out), int32.

    With `real`, x and y are float32, and quantisation and dequantisation are part of the model.

    Raises:
        InputError: onnx is not installed. FrozenModelError: an operation that this export does not know.
    """
    return _Writer(graph, real).model()


def save_onnx(graph: Graph, path: Path, real: bool = False) -> None:
    """Write `graph_to_onnx` to a file, whole or not at all."""
    content = graph_to_onnx(graph, real).SerializeToString()
    with replacing(path) as temporary:
        temporary.write_bytes(content)


class _Writer:
    """Nodes and constants of one model, in order."""

    def __init__(self, graph: Graph, real: bool) -> None:
        try:
            import onnx
        except ModuleNotFoundError:
            raise InputError('onnx is not installed; pip install "lutra[onnx]"') from None
        self.onnx, self.graph, self.real = onnx, graph, real
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def model(self) -> Any:
        helper, types = self.onnx.helper, self.onnx.TensorProto
        given = types.FLOAT if self.real else types.INT8
        returned = types.FLOAT if self.real else types.INT32
        values = {self.graph.input: self._quantised("x") if self.real else self._node("Cast", "x", to=types.INT32)}
        for op in self.graph.ops:
            values[op.output] = self._operation(op, [values[name] for name in op.inputs])
        self._finish(values[self.graph.output])
        graph = helper.make_graph(
            self.nodes,
            self.graph.name,
            [helper.make_tensor_value_info("x", given, ["rows", self.graph.input_width])],
            [helper.make_tensor_value_info("y", returned, ["rows", self.graph.output_width])],
            self.constants,
        )
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="lutra", producer_version=__version__
        )
        model.ir_version = 8  # what runtimes of opset 17 read
        for key, type_ in (("input", self.graph.input_type), ("output", self.graph.output_type)):
            entry = model.metadata_props.add()
            entry.key, entry.value = f"{key}_scale", repr(float(type_.scale))
        self.onnx.checker.check_model(model)
        return model

    def _operation(self, op: Any, inputs: list[str]) -> str:
        types = self.onnx.TensorProto
        x = inputs[0] if len(inputs) == 1 else self._node("Concat", *inputs, axis=1)
        if isinstance(op, Thermometer):
            column = self._node("Unsqueeze", x, self._constant(np.array([2])))
            bits = self._node("GreaterOrEqual", column, self._constant(op.thresholds.astype(np.int32)))  # (N, D, T)
            return self._node("Cast", self._node("Reshape", bits, self._shape(op.width)), to=types.UINT8)
        if isinstance(op, LutLayer):
            return self._lut_layer(op, x)
        if isinstance(op, ConditionalSum):
            product = self._node("MatMulInteger", x, self._constant(op.encoded.astype(np.int8)))
            return self._node("Add", product, self._constant(op.bias.astype(np.int32)))
        if isinstance(op, MatMul):
            product = self._node("MatMulInteger", self._narrow(x), self._constant(op.weights.astype(np.int8)))
            return self._node("Add", product, self._constant(op.bias.astype(np.int32)))
        if isinstance(op, Requantise):
            return self._requantise(op, x)
        raise FrozenModelError(f"{self.graph.name}: {op.kind} has no form in standard ONNX operators here")

    def _lut_layer(self, op: LutLayer, bits: str) -> str:
        luts, inputs = op.connections.shape
        read = self._node("Gather", bits, self._constant(op.connections.flatten()), axis=1)  # (N, L * n)
        shaped = self._node("Reshape", read, self._constant(np.array([-1, luts, inputs])))
        wide = self._node("Cast", shaped, to=self.onnx.TensorProto.INT64)
        powers = self._constant((1 << np.arange(inputs)).astype(np.int64))
        address = self._node("ReduceSum", self._node("Mul", wide, powers), self._constant(np.array([2])), keepdims=0)
        start = self._constant(np.arange(luts, dtype=np.int64) * (1 << inputs))
        return self._node(
            "Gather", self._constant(op.tables.flatten().astype(np.uint8)), self._node("Add", address, start)
        )

    def _requantise(self, op: Requantise, x: str) -> str:
        if int(op.multiplier.max()) * 2**31 + (1 << int(op.shift.max())) > _EXACT:
            raise FrozenModelError(f"{self.graph.name}: requantise is too wide for exact double precision")
        types = self.onnx.TensorProto
        rounding = np.where(op.shift > 0, 2.0 ** (op.shift - 1), 0.0)
        wide = self._node("Cast", x, to=types.DOUBLE)
        scaled = self._node("Mul", wide, self._constant(op.multiplier.astype(np.float64)))
        shifted = self._node("Mul", self._node("Add", scaled, self._constant(rounding)), self._constant(2.0**-op.shift))
        limits = (self._constant(np.array(float(bound))) for bound in (op.type.minimum, op.type.maximum))
        clipped = self._node("Clip", self._node("Floor", shifted), *limits)
        return self._node("Cast", clipped, to=types.INT32)

    def _quantised(self, x: str) -> str:
        """`clamp(floor(x * (1 / scale) + 0.5))`, every step in float32."""
        type_ = self.graph.input_type
        inverse = np.float32(1) / np.float32(type_.scale)
        moved = self._node("Add", self._node("Mul", x, self._constant(inverse)), self._constant(np.float32(0.5)))
        limits = (self._constant(np.float32(bound)) for bound in (type_.minimum, type_.maximum))
        clipped = self._node("Clip", self._node("Floor", moved), *limits)
        return self._node("Cast", clipped, to=self.onnx.TensorProto.INT32)

    def _finish(self, value: str) -> None:
        if self.real:
            value = self._node("Cast", value, to=self.onnx.TensorProto.FLOAT)
            scale = self._constant(np.float32(self.graph.output_type.scale))
            self.nodes.append(self.onnx.helper.make_node("Mul", [value, scale], ["y"]))
        else:
            self.nodes.append(self.onnx.helper.make_node("Identity", [value], ["y"]))

    def _narrow(self, x: str) -> str:
        return self._node("Cast", x, to=self.onnx.TensorProto.INT8)

    def _shape(self, width: int) -> str:
        return self._constant(np.array([-1, width]))

    def _node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        name = f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(self.onnx.helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def _constant(self, values: Any) -> str:
        array = np.asarray(values)
        if array.dtype == np.int64 or (array.dtype.kind == "i" and array.dtype.itemsize == 8):
            array = array.astype(np.int64)
        name = f"constant_{len(self.constants)}"
        self.constants.append(self.onnx.numpy_helper.from_array(array, name))
        return name
