"""Random weightless blocks, and the engines that compute them: plain PyTorch, C++ per instruction set, Triton."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lutra.kernels import BlockParameters, LayerParameters, reference, weightless_block
from lutra.kernels.cpu.library import ISA_FLAGS, supported_isas

CPU_ENGINES = ("reference", *ISA_FLAGS)


def select_engine(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if name == "triton":
        pytest.importorskip("triton", reason="Triton is not installed")
    elif name not in ("reference", *supported_isas()):
        pytest.skip(f"this machine cannot run {name} kernels")
    monkeypatch.setenv("LUTRA_ISA", name)


def compose(x: Tensor, block: BlockParameters) -> Tensor:
    """The definition: the reference operations one after the other."""
    bits = [reference.thermometer(x, block.thresholds, block.gradient, block.window)]
    for layer in block.layers:
        tables, connections, *mapping, _ = layer
        bits.append(reference.lut_layer(bits[-1], tables, connections, block.efd, *mapping))
    read = torch.cat([bits[source] for source in block.sum_sources])
    return reference.conditional_sum(read, block.encoded, block.bias, block.centred)


def run(engine: str, x: Tensor, block: BlockParameters) -> Tensor:
    return compose(x, block) if engine == "reference" else weightless_block(x, block)


def random_block(
    seed: int = 0,
    *,
    rows: int = 70,
    features: int = 5,
    thermometer_bits: int = 3,
    per_feature: bool = True,
    luts: tuple[int, ...] = (11, 7),
    inputs: tuple[int, ...] = (6, 4),
    mappings: tuple[str, ...] = ("random", "random"),
    temperature: float = 0.05,
    gradient: reference.InputGradient = "window",
    efd: reference.EfdForm = "exponential",
    sum_sources: tuple[int, ...] = (2,),
    outputs: int = 6,
    centred: bool = True,
) -> tuple[Tensor, BlockParameters]:
    """Inputs and a block in which everything that can be trained requires a gradient."""
    generator = torch.Generator().manual_seed(seed)
    thresholds = torch.randn(features if per_feature else 1, thermometer_bits, generator=generator).sort().values
    widths, layers = [features * thermometer_bits], []
    for tables, n, mapping in zip(luts, inputs, mappings, strict=True):
        layers.append(_random_layer(widths[-1], tables, n, mapping, temperature, generator))
        widths.append(tables)
    summed = sum(widths[source] for source in sum_sources)
    block = BlockParameters(
        thresholds.requires_grad_(),
        torch.tensor(0.5),
        gradient,
        layers,
        efd,
        sum_sources,
        torch.randn(summed, outputs, generator=generator).requires_grad_(),
        torch.randn(outputs, generator=generator).requires_grad_(),
        centred,
    )
    return torch.randn(rows, features, generator=generator).requires_grad_(), block


def _random_layer(
    below: int, luts: int, inputs: int, mapping: str, temperature: float, generator: torch.Generator
) -> LayerParameters:
    slots = luts * inputs
    tables = (2 * torch.rand(luts, 2**inputs, generator=generator) - 1).requires_grad_()
    if mapping == "random":
        return LayerParameters(tables, torch.randint(below, (luts, inputs), generator=generator))
    candidates = torch.randint(below, (4, slots), generator=generator) if mapping == "candidate" else None
    scores = torch.rand(below if candidates is None else 4, slots, generator=generator)
    chosen = scores.argmax(dim=0)
    if candidates is not None:
        chosen = candidates.gather(0, chosen[None])[0]
    return LayerParameters(tables, chosen.view(luts, inputs), scores.requires_grad_(), candidates, temperature)


def leaves(x: Tensor, block: BlockParameters) -> dict[str, Tensor]:
    """Everything that receives a gradient, by name."""
    named = {"x": x, "thresholds": block.thresholds, "encoded": block.encoded, "bias": block.bias}
    named |= {f"tables{k}": layer.tables for k, layer in enumerate(block.layers)}
    return named | {f"scores{k}": layer.scores for k, layer in enumerate(block.layers) if layer.scores is not None}


def gradients(engine: str, x: Tensor, block: BlockParameters, grad_y: Tensor) -> dict[str, Tensor]:
    named = leaves(x, block)
    found = torch.autograd.grad(run(engine, x, block), list(named.values()), grad_y)
    return dict(zip(named, found, strict=True))
