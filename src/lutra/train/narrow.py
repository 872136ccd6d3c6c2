"""Cut a float BERT to fewer heads and feed-forward neurons, the important ones first (DynaBERT).

The residual width and the depth stay. BMT's half-size model has half the heads and half the neurons; splitting it into
two binary copies brings the number of weights back.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from lutra.data.glue import EncodedSplit
from lutra.errors import InputError
from lutra.models.bert import Bert, FeedForward
from lutra.train.distill import label_loss, to_device_of


class Importance(NamedTuple):
    """How much the loss changes, to first order, without a head or a neuron; one tensor per layer."""

    heads: list[Tensor]  # (H,)
    neurons: list[Tensor]  # (intermediate,)


def measure_importance(model: Bert, data: EncodedSplit, batch: int = 32) -> Importance:
    """First-order importance over the whole of `data`: training data, where DynaBERT takes the development set.

    A head counts by the gradient of a mask on it, a neuron by weight times gradient of its rows, bias and column.

    Raises:
        InputError: the model's weights are not float.
    """
    _require_float(model)
    config, was_training = model.config, model.training
    device = next(model.parameters()).device
    heads = [torch.zeros(config.heads, device=device) for _ in model.layers]
    neurons = [torch.zeros(config.intermediate, device=device) for _ in model.layers]
    contexts: list[Tensor] = []

    def keep_context(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        inputs[0].retain_grad()
        contexts.append(inputs[0])

    hooks = [layer.attention.output.register_forward_pre_hook(keep_context) for layer in model.layers]
    model.eval()
    try:
        for each in data.batches(batch):
            each = to_device_of(model, each)
            contexts.clear()
            model.zero_grad()
            label_loss(data.task, model(*each[:3]).logits, each.labels).backward()
            for index, (layer, context) in enumerate(zip(model.layers, contexts, strict=True)):
                assert context.grad is not None
                of_mask = (context * context.grad).detach().unflatten(2, (config.heads, config.head_width))
                heads[index] += of_mask.sum(dim=(0, 1, 3)).abs()
                neurons[index] += _neuron_importance(layer.feed_forward)
    finally:
        for hook in hooks:
            hook.remove()
        model.zero_grad()
        model.train(was_training)
    return Importance(heads, neurons)


def narrowed(model: Bert, heads: int, intermediate: int, importance: Importance) -> Bert:
    """A copy of the float `model` with the most important `heads` and `intermediate` neurons of every layer.

    Raises:
        InputError: more heads or neurons than the model has, or weights that are not float.
    """
    _require_float(model)
    config = model.config.model_copy(update={"heads": heads, "intermediate": intermediate})
    if not (1 <= heads <= model.config.heads and 1 <= intermediate <= model.config.intermediate):
        raise InputError(
            f"{heads} heads and {intermediate} neurons can not be cut out of "
            f"{model.config.heads} and {model.config.intermediate}"
        )
    weights = model.state_dict()
    for layer in range(config.layers):
        kept_heads = importance.heads[layer].argsort(descending=True)[:heads]
        every_channel = torch.arange(model.config.attention_width, device=kept_heads.device)
        channels = every_channel.view(-1, config.head_width)[kept_heads].flatten()
        neurons = importance.neurons[layer].argsort(descending=True)[:intermediate]
        for part, kept in (
            ("attention.query", channels),
            ("attention.key", channels),
            ("attention.value", channels),
            ("feed_forward.intermediate", neurons),
        ):
            for kind in ("weight", "bias"):
                name = f"layers.{layer}.{part}.{kind}"
                weights[name] = weights[name][kept]
        for part, kept in (("attention.output", channels), ("feed_forward.output", neurons)):
            name = f"layers.{layer}.{part}.weight"
            weights[name] = weights[name][:, kept]
    narrow = Bert(config).to(next(model.parameters()))
    narrow.load_state_dict(weights)
    return narrow.train(model.training)


def _neuron_importance(feed_forward: FeedForward) -> Tensor:
    """(intermediate,): of the rows and biases of the first layer and the columns of the second."""
    first, second = feed_forward.intermediate, feed_forward.output
    assert isinstance(first, nn.Linear) and isinstance(second, nn.Linear)  # the model is float
    assert first.weight.grad is not None and first.bias.grad is not None and second.weight.grad is not None
    incoming = (first.weight * first.weight.grad).sum(dim=1) + first.bias * first.bias.grad
    outgoing = (second.weight * second.weight.grad).sum(dim=0)
    return (incoming.abs() + outgoing.abs()).detach()


def _require_float(model: Bert) -> None:
    if model.config.quantisation.method != "full":
        raise InputError(f"only a float BERT can be narrowed, this one is {model.config.quantisation.method}")
