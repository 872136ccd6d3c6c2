"""Forward and backward of the weightless block on a CPU, beside the MLP it replaces and the published algorithm.

Single-thread rows are CPU time, others wall time; medians of alternating runs. Prints one JSON object: the machine and
all rows; every row also goes to stderr as soon as it is measured.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from harness import alternate, machine
from torch import Tensor, nn

from lutra.kernels.cpu.library import ISA_FLAGS, pointer, supported_isas
from lutra.native import library as native
from lutra.nn.weightless import WeightlessBlock
from lutra.recipes.language import BlockConfig, LutLayerConfig

SIZES = {"D128": (128, 768), "D192": (192, 64 * 197), "D384": (384, 64 * 256)}
PUBLISHED_ROWS = 512  # its time is proportional to the rows; all of them would take minutes
REFERENCE_ROWS = 2048
DEFAULT = "default"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=SIZES, nargs="+", default=["D192", "D384"])
    parser.add_argument("--tokens", type=int, help="rows; default: as in the papers")
    parser.add_argument(
        "--block", choices=("paper", "default"), default="paper", help="two layers, dense; or what a recipe gets"
    )
    parser.add_argument("--mapping", nargs="+", default=["random", "candidate", "learnable"], help="of the paper's")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--json", action="store_true", help="accepted for symmetry: the output is always JSON")
    arguments = parser.parse_args()
    rows = []
    mappings = arguments.mapping if arguments.block == "paper" else [DEFAULT]
    for size in arguments.size:
        width, tokens = SIZES[size]
        for mapping in mappings:
            for threads in arguments.threads:
                row = measure(width, arguments.tokens or tokens, mapping, threads, arguments.repeats)
                rows.append({"case": "train", "size": size, **row})
                print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    print(json.dumps({"machine": {"isa": supported_isas()[-1], **machine()}, "rows": rows}, indent=1))


def measure(width: int, tokens: int, mapping: str, threads: int, repeats: int) -> dict[str, Any]:
    torch.manual_seed(0)
    torch.set_num_threads(threads)
    config = block_config(mapping)
    block = WeightlessBlock(width, config, seed=0)
    mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
    x = torch.randn(tokens, width, requires_grad=True)
    block.calibrate_(x)
    few = x[:REFERENCE_ROWS].detach().requires_grad_()
    variants: dict[str, Callable[[], Any]] = {
        "ours_ms": step(block, x),
        "mlp_fp32_ms": step(mlp, x),
        "mlp_bf16_ms": step(mlp, x, torch.bfloat16),
    }
    clock = time.process_time if threads == 1 else time.perf_counter
    times = alternate(variants, repeats, clock)
    with engine("reference"):
        scaled = alternate({"reference_ms": step(block, few)}, 3, clock)
        times["reference_ms"] = scaled["reference_ms"] * tokens / len(few)
        saved_reference = saved_bytes(block, few) * tokens // len(few)
    if mapping == "random" and threads == 1:  # it has no learnable mapping on a CPU
        once = alternate({"cpp": published_step(block, x.detach()[:PUBLISHED_ROWS])}, 3, clock)
        times["reference_cpp_ms"] = once["cpp"] * tokens / PUBLISHED_ROWS
    return {
        "tokens": tokens,
        "mapping": mapping,
        "threads": threads,
        **{name: round(value, 3) for name, value in times.items()},
        "int_mm_ms": None,  # integer products have no backward pass
        "torch_dwn_ms": None,  # needs a GPU
        "saved_bytes_ours": saved_bytes(block, x),
        "saved_bytes_reference": saved_reference,
        "saved_bytes_published": published_saved_bytes(block, tokens),
    }


def block_config(mapping: str) -> BlockConfig:
    """The paper's structure with a mapping of its first layer, or the block of recipes that say nothing of it."""
    if mapping == DEFAULT:
        return BlockConfig()
    return BlockConfig(lut_layers=(LutLayerConfig(luts="4D", mapping=mapping), LutLayerConfig(luts="D")), groups=1)


def step(module: nn.Module, x: Tensor, autocast: torch.dtype | None = None) -> Callable[[], None]:
    """One forward and backward pass, gradients of the input included."""
    grad = torch.randn(len(x), x.shape[1], dtype=autocast or torch.float32)
    leaves = [x, *module.parameters()]

    def run() -> None:
        with torch.autocast("cpu", autocast) if autocast else contextlib.nullcontext():
            y = module(x)
        torch.autograd.grad(y, leaves, grad)

    return run


def saved_bytes(module: nn.Module, x: Tensor) -> int:
    """Bytes that the forward pass keeps for the backward pass, parameters and buffers not counted."""
    own = {tensor.untyped_storage().data_ptr() for tensor in (*module.parameters(), *module.buffers())}
    saved: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        if len(tensor.shape) == 2 and tensor.untyped_storage().data_ptr() not in own and depends_on_rows(tensor):
            saved[tensor.untyped_storage().data_ptr()] = tensor.numel() * tensor.element_size()
        return tensor

    def depends_on_rows(tensor: Tensor) -> bool:
        return bool({len(x), (len(x) + 63) // 64} & set(tensor.shape))

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        y = module(x)
        total = sum(saved.values())
    del y
    return total


@contextlib.contextmanager
def engine(isa: str) -> Iterator[None]:
    before = os.environ.get("LUTRA_ISA")
    os.environ["LUTRA_ISA"] = isa
    yield
    if before is None:
        del os.environ["LUTRA_ISA"]
    else:
        os.environ["LUTRA_ISA"] = before


def published_step(block: WeightlessBlock, x: Tensor) -> Callable[[], None]:
    """Both LUT layers with the published algorithm; thermometer and summation in PyTorch."""
    library = native.load_library(
        "published-efd",
        [Path(__file__).parent / "native" / "published_efd.cpp"],
        [*ISA_FLAGS[supported_isas()[-1]], "-fopenmp-simd"],
    )
    tables = [layer.tables.detach() for layer in block.lut_layers]
    connections = [layer.mapping.connections().int().contiguous() for layer in block.lut_layers]
    grad_y = torch.randn(len(x), block.output_width)
    encoded = block.summation.encoded.detach()

    def shape(values: Tensor, k: int) -> tuple[int, ...]:
        return (len(values), values.shape[1], pointer(tables[k]), pointer(connections[k]), *connections[k].shape)

    def run() -> None:
        bits = (x[:, :, None] >= block.thermometer.thresholds).float().flatten(1)  # (N, D * T)
        activations = [bits]
        for k in range(len(tables)):
            y = torch.empty(len(x), len(tables[k]))
            library.published_forward(*_arguments(pointer(activations[k]), *shape(activations[k], k), pointer(y)))
            activations.append(y)
        torch.addmm(block.summation.bias.detach(), activations[-1] - 0.5, encoded)
        grad = grad_y @ encoded.t()
        _ = (activations[-1] - 0.5).t() @ grad_y
        for k in reversed(range(len(tables))):
            below = activations[k]
            grad_x, grad_tables = torch.zeros_like(below), torch.zeros_like(tables[k])
            library.published_backward(
                *_arguments(pointer(below), pointer(grad), *shape(below, k), pointer(grad_x), pointer(grad_tables))
            )
            grad = grad_x
        inside = (x[:, :, None] - block.thermometer.thresholds).abs() < block.thermometer.window
        (grad.view(inside.shape) * inside).sum(dim=2)

    return run


def published_saved_bytes(block: WeightlessBlock, tokens: int) -> int:
    """What DWN's layers keep: the input of the thermometer, of every LUT layer and of the sum, in float32."""
    widths = [block.width, block.thermometer.output_width, *(len(layer.tables) for layer in block.lut_layers)]
    return 4 * tokens * sum(widths)


def _arguments(*values: Any) -> list[Any]:
    return [np.ctypeslib.as_ctypes_type(np.int64)(value) for value in values]


if __name__ == "__main__":
    main()
