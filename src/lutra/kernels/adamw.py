"""AdamW with the clipping of the whole gradient and the range of parameters in its step; on a CPU one call of C++.

A model with weightless blocks has millions of table entries and scores in many tensors, which PyTorch's clipping, its
step and a clamp would read and write five times.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from lutra.kernels.cpu.library import Slice, library
from lutra.kernels.reference import adamw_numbers


class Region(NamedTuple):
    """Rows and columns of a matrix, `[first, last)` each."""

    first_row: int
    last_row: int
    first_column: int
    last_column: int


class AdamW(torch.optim.AdamW):
    """`torch.optim.AdamW`, whose state and formula it has, with three additions.

    `gradient_norm` is the norm of all gradients together, and `step(scale=...)` multiplies them first. A group's
    `limit` is the largest magnitude that its parameters may have. `regions` says which parts of a matrix are trained,
    where the others have no gradient and no decay: they may be left out, and stay as they are.
    """

    def __init__(
        self, params: Any, *, regions: Mapping[nn.Parameter, Sequence[Region]] | None = None, **defaults: Any
    ) -> None:
        self._regions = {id(parameter): list(parts) for parameter, parts in (regions or {}).items()}
        super().__init__(params, fused=True, **defaults)
        for group in self.param_groups:
            group.setdefault("limit", math.inf)

    @torch.no_grad()
    def gradient_norm(self) -> float:
        """Norm of all gradients as one vector; NaN or infinite if one of their elements is."""
        gradients = [parameter.grad for parameter in self._with_gradient()]
        if not self._in_one_call():
            norms = [
                torch.linalg.vector_norm(gradient, dtype=torch.float32)
                for gradient in gradients
                if gradient is not None
            ]
            return float(torch.linalg.vector_norm(torch.stack([norm.cpu() for norm in norms]))) if norms else 0.0
        kept = [gradient.contiguous() for gradient in gradients if gradient is not None]
        slices = [Slice(1, tensor.numel(), 0, None, tensor.data_ptr()) for tensor in kept]
        loaded = library()
        assert loaded is not None
        return float(loaded.lutra_gradient_norm((Slice * len(slices))(*slices), len(slices), torch.get_num_threads()))

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None, *, scale: float = 1.0) -> Any:
        """One update of all parameters that have a gradient, as if their gradients were `scale` times as large."""
        if closure is not None:
            raise TypeError("this optimiser takes no closure: compute the gradients before the step")
        if self._in_one_call():
            self._step_in_one_call(scale)
            return
        for parameter in self._with_gradient():
            assert parameter.grad is not None
            parameter.grad.mul_(scale)
        super().step()
        for group in self.param_groups:
            if math.isfinite(group["limit"]):
                for parameter in group["params"]:
                    parameter.clamp_(-group["limit"], group["limit"])

    def _with_gradient(self) -> list[nn.Parameter]:
        return [parameter for group in self.param_groups for parameter in group["params"] if parameter.grad is not None]

    def _in_one_call(self) -> bool:
        def plain(tensor: Tensor) -> bool:
            return tensor.device.type == "cpu" and tensor.dtype == torch.float32 and not tensor.is_sparse

        parameters = self._with_gradient()
        fits = all(plain(p) and p.is_contiguous() and p.grad is not None and plain(p.grad) for p in parameters)
        return fits and library() is not None

    def _step_in_one_call(self, scale: float) -> None:
        slices, alive = [], []
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self._state_of(parameter)
                state["step"] += 1
                numbers = adamw_numbers(
                    int(state["step"]), group["lr"], group["betas"], group["eps"], group["weight_decay"], group["limit"]
                )
                grad = parameter.grad.contiguous()
                alive.append(grad)
                tensors = (parameter, grad, state["exp_avg"], state["exp_avg_sq"])
                for rows, columns, stride, offset in self._parts_of(parameter):
                    pointers = [tensor.data_ptr() + 4 * offset for tensor in tensors]
                    slices.append(Slice(rows, columns, stride, *pointers, *numbers))
        loaded = library()
        assert loaded is not None
        loaded.lutra_adamw((Slice * len(slices))(*slices), len(slices), scale, torch.get_num_threads())

    def _state_of(self, parameter: nn.Parameter) -> dict[str, Tensor]:
        state: dict[str, Tensor] = self.state[parameter]
        if not state:
            state["step"] = torch.tensor(0.0)
            state["exp_avg"] = torch.zeros_like(parameter, memory_format=torch.contiguous_format)
            state["exp_avg_sq"] = torch.zeros_like(parameter, memory_format=torch.contiguous_format)
        return state

    def _parts_of(self, parameter: nn.Parameter) -> list[tuple[int, int, int, int]]:
        """Rows, columns, stride and offset, in elements, of each part that is trained."""
        regions = self._regions.get(id(parameter))
        if regions is None:
            return [(1, parameter.numel(), 0, 0)]
        stride = parameter.shape[1]
        return [
            (last_row - first_row, last_column - first_column, stride, first_row * stride + first_column)
            for first_row, last_row, first_column, last_column in regions
        ]
