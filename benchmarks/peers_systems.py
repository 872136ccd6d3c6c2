"""The systems that `peers.py` compares, each used as its own documents show, on the task of `peers_digits.py`.

A system is a function from a seed to `Trained`. It imports its package itself, so that a missing one is a row and no
error.
"""

from __future__ import annotations

import copy
import functools
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from peers_digits import CLASSES, FEATURES, STEPS, Call, digits, fit, luts, real
from torch import Tensor, nn
from whole_baselines import baselines

from lutra.accelerators.block.emit import block_design
from lutra.accelerators.block.plan import BlockPlan
from lutra.accelerators.block.simulate import simulate_graphs
from lutra.freeze.block import freeze_model
from lutra.frozen import golden
from lutra.nn.weightless import WeightlessBlock
from lutra.recipes.language import BlockConfig, LutLayerConfig
from lutra.runtime.engine import BlockRuntime
from lutra.sources import listed_sources
from lutra.train.parts import TrainingSchedule, parameter_groups

HIDDEN = 64
TABLES, THERMOMETER_BITS = 640, 4
GATES = (2000, 2000)
INPUT_BITS = 5
"""Of a pixel, for dwn2rtl."""
DWN_TEMPERATURE = 1 / 0.3
"""What counts of ones are divided by in training, as in the example of DWN."""


@dataclass(frozen=True)
class Hardware:
    """`lut` raw, as Yosys counts; `cycles` from a row's first input to its last output, 0 of combinational logic, None
    where it is not known."""

    lut: int
    ff: int
    cycles: int | None
    compared: str


@dataclass
class Trained:
    """Accuracy, in per cent, is that of what would be deployed."""

    accuracy: float
    train_s: float
    call: Callable[[int], Call] | None = None
    """Rows -> a call that classifies so many on one thread of this machine."""
    hardware: Callable[[], Hardware] | None = None


class Mlp(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(FEATURES, HIDDEN), nn.Linear(HIDDEN, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(torch.relu(self.up(x)))


def _classes(model: nn.Module) -> np.ndarray:
    with torch.no_grad():
        return model(real(digits().test)).argmax(dim=1).numpy()


def _dense(model: nn.Module, seed: int) -> Trained:
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-2)
    seconds = fit(model, real(digits().train), digits().train_labels, optimiser, seed)
    model.eval()

    def call(rows: int) -> Call:
        x = real(digits().test[:rows])
        return lambda: model(x)

    return Trained(digits().accuracy(_classes(model)), seconds, call)


def none(seed: int) -> Trained:
    """One linear layer: what the pixels say without any hidden part."""
    torch.manual_seed(seed)
    return _dense(nn.Linear(FEATURES, CLASSES), seed)


@functools.cache
def _mlp(seed: int) -> tuple[Mlp, Trained]:
    torch.manual_seed(seed)
    model = Mlp()
    return model, _dense(model, seed)


def mlp(seed: int) -> Trained:
    return _mlp(seed)[1]


def engine(name: str, package: str, seed: int) -> Trained:
    """The same MLP in an engine, by its name in `whole_baselines`; its accuracy is that of the engine's results."""
    __import__(package)
    model, dense = _mlp(seed)

    @functools.cache
    def calls(rows: int) -> dict[str, Call]:
        return baselines(copy.deepcopy(model), (real(digits().test[:rows]),), threads=1)

    found = calls(len(digits().test))[name]()
    scores = np.asarray(found[0] if isinstance(found, list) else next(iter(found.values())))
    return Trained(digits().accuracy(scores.argmax(axis=1)), dense.train_s, lambda rows: calls(rows)[name])


def lutra_block(seed: int) -> Trained:
    """A weightless block from 64 features to a score per class, as integers."""
    return _classifier(_block(seed), seed)


def _block(seed: int) -> WeightlessBlock:
    torch.manual_seed(seed)
    layer = LutLayerConfig(luts=TABLES, mapping="candidate", table_init="smooth")
    config = BlockConfig(
        thermometer_bits=THERMOMETER_BITS, thresholds="uniform", lut_layers=(layer,), groups=CLASSES, output_bits=12
    )
    block = WeightlessBlock(FEATURES, config, seed, CLASSES)
    block.calibrate_(real(digits().train))
    return block


def _train(block: WeightlessBlock, seed: int) -> float:
    model = nn.Sequential(block)
    optimiser = torch.optim.AdamW(parameter_groups(model, lr=3e-3))
    schedule = TrainingSchedule(model, optimiser, STEPS)
    return fit(model, real(digits().train), digits().train_labels, optimiser, seed, (schedule.step,))


def _classifier(block: WeightlessBlock, seed: int) -> Trained:
    data, seconds = digits(), _train(block, seed)
    (graph,) = freeze_model(nn.Sequential(block).eval()).graphs
    rows = golden.quantise(real(data.test).numpy(), graph.input_type).astype(np.int8)

    def call(count: int) -> Call:
        run, x = BlockRuntime(graph), np.ascontiguousarray(rows[:count])
        return lambda: run(x)

    def hardware() -> Hardware:
        plan = BlockPlan(graph, "block_0", "all", "tree")
        with tempfile.TemporaryDirectory() as folder:
            block_design([plan]).write(Path(folder))
            use = luts(Path(folder), listed_sources(Path(folder)), "block_0")
            (result,) = simulate_graphs([(graph, "all", rows)], Path(folder) / "simulation", "tree")
        wrong = result.mismatches + result.mismatches_with_stalls
        return Hardware(use.lut_raw, use.ff, plan.schedule.latency_cycles, f"{result.rows} rows, {wrong} wrong")

    return Trained(data.accuracy(golden.run(graph, rows).argmax(axis=1)), seconds, call, hardware)


class LUTLayer(nn.Module):
    """What dwn2rtl looks for in a DWN's layer: tables whose positive entries are ones, and what each input reads."""

    def __init__(self, tables: Tensor, connections: Tensor) -> None:
        super().__init__()
        self.luts = nn.Parameter(tables.clone(), requires_grad=False)
        self.mapping = nn.Parameter(connections.int().clone(), requires_grad=False)


class GroupSum(nn.Module):
    """And in its last one: ones counted for each class."""

    def __init__(self) -> None:
        super().__init__()
        self.k, self.tau = CLASSES, DWN_TEMPERATURE


@dataclass
class Thresholds:
    """And in its thermometer."""

    thresholds: Tensor


def dwn(seed: int) -> Trained:
    """A DWN: the same tables, but every one counts one for its class; trained here, because torch_dwn needs CUDA."""
    import dwn2rtl

    data, block = digits(), _block(seed)
    members = block.summation.mask.float() / DWN_TEMPERATURE
    with torch.no_grad():
        block.summation.encoded.copy_(members)
    block.summation.encoded.requires_grad_(False)
    block.summation.bias.requires_grad_(False)
    seconds = _train(block, seed)
    layer = block.lut_layers[0]
    with torch.no_grad():
        counts = block.bits(real(data.test)).view(CLASSES, -1, len(data.test)).sum(dim=1)  # (classes, N)
    model = nn.Sequential(LUTLayer(layer.tables.detach(), layer.mapping.connections()), GroupSum())
    encoder = Thresholds(block.thermometer.thresholds.detach().clone())

    def hardware() -> Hardware:
        with tempfile.TemporaryDirectory() as folder:
            rtl = Path(folder)
            dwn2rtl.build(dwn2rtl.from_model(model, encoder), folder, input_bits=INPUT_BITS, n_random=500)
            sources = [path.name for path in sorted(rtl.glob("*.v"))]
            use = luts(rtl, sources, "dwn_top")
            latency = re.search(r"DWN_TOP_LATENCY\s+(\d+)", (rtl / "dwn_top_params.vh").read_text(encoding="utf-8"))
            try:
                compared = "; ".join(dwn2rtl.verify(folder).lines()[-1:])
            except dwn2rtl.SimulatorNotFound:
                compared = "no simulator of its here"
        return Hardware(use.lut_raw, use.ff, int(latency[1]) if latency else 0, compared)

    return Trained(data.accuracy(counts.argmax(dim=0).numpy()), seconds, None, hardware)


def logic_gates(seed: int) -> Trained:
    """Two layers of two-input gates behind the same thermometer, ones counted for each class."""
    from torchlogix import Circuit
    from torchlogix.layers import GroupSum, LogicDense

    torch.manual_seed(seed)
    data, thresholds = digits(), _block(seed).thermometer.thresholds
    inputs = FEATURES * THERMOMETER_BITS

    def bits(codes: np.ndarray) -> Tensor:
        return (real(codes)[:, :, None] >= thresholds).flatten(1).float()  # (N, D * T)

    model = nn.Sequential(LogicDense(inputs, GATES[0]), LogicDense(*GATES), GroupSum(k=CLASSES, tau=GATES[1] / 200))
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    seconds = fit(model, bits(data.train), data.train_labels, optimiser, seed)
    model.eval()
    with torch.no_grad():
        found = model(bits(data.test)).argmax(dim=1).numpy()
    model[-1].tau = 1  # counts instead of shares: other classes come out of none of them
    circuit = Circuit.from_model(model, input_shape=(inputs,))
    circuit.simplify()
    rows = bits(data.test).bool().numpy()
    same = float((circuit(torch.from_numpy(rows)).numpy().argmax(axis=1) == found).mean())

    def call(count: int) -> Call:
        circuit.compile()
        x = np.ascontiguousarray(rows[:count])
        return lambda: circuit(x, use_compiled=True)

    def hardware() -> Hardware:
        codes = np.ceil(16 * thresholds.detach().numpy()).astype(int).reshape(-1)  # x / 16 >= t of whole x
        compares = "".join(
            f"  assign bits[{place}] = x[{8 * (place // THERMOMETER_BITS)} +: 8] >= 8'd{code};\n"
            for place, code in enumerate(codes)
        )
        verilog = circuit.get_verilog_code()
        width = re.search(r"output\s+\w+\s*\[(\d+):0\]", verilog)
        head = f"module top (input wire [{8 * FEATURES - 1}:0] x, output wire [{width[1]}:0] y);\n"
        port = re.search(r"output\s+\w+\s*\[\d+:0\]\s*(\w+)", verilog)[1]
        body = f"  wire [{inputs - 1}:0] bits;\n{compares}  circuit core (.inp(bits), .{port}(y));\nendmodule\n"
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "circuit.v").write_text(verilog, encoding="utf-8")
            (Path(folder) / "top.v").write_text(head + body, encoding="utf-8")
            use = luts(Path(folder), ["circuit.v", "top.v"], "top")
        return Hardware(use.lut_raw, use.ff, 0, f"its circuit gives {100 * same:.0f} % of its model's classes")

    return Trained(data.accuracy(found), seconds, call, hardware)


def distributed_arithmetic(seed: int) -> Trained:
    """The same MLP with weights rounded to 1/8 and activations to 1/16, as adders of alkaid."""
    from alkaid.codegen import RTLModel
    from alkaid.trace import FVArrayInput, trace
    from alkaid.trace.ops import quantize, relu

    model, dense = _mlp(seed)
    up, down = (np.round(layer.weight.detach().numpy().T * 8) / 8 for layer in (model.up, model.down))
    bias_up, bias_down = (np.round(layer.bias.detach().numpy() * 16) / 16 for layer in (model.up, model.down))
    symbols = FVArrayInput((FEATURES,))
    hidden = relu(quantize(symbols, 0, 1, 4) @ up + bias_up)
    logic = trace(symbols, quantize(hidden, 0, 3, 4, "SAT", "RND") @ down + bias_down)
    x = real(digits().test).numpy().astype(np.float64)
    scores = np.asarray(logic.predict(x)).reshape(len(x), CLASSES)

    def hardware() -> Hardware:
        with tempfile.TemporaryDirectory() as folder:
            rtl = RTLModel(logic, folder, "model", flavor="verilog", latency_cutoff=5, print_latency=False)
            rtl.write()
            files = [path for path in sorted(Path(folder).rglob("*.v")) if "sim" not in path.parts]
            names = [path.relative_to(folder).as_posix() for path in files]
            use = luts(Path(folder), names, "model")
        return Hardware(use.lut_raw, use.ff, None, "not here")

    return Trained(
        digits().accuracy(scores.argmax(axis=1)), dense.train_s, lambda rows: lambda: logic.predict(x[:rows]), hardware
    )
