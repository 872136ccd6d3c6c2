"""Ternary weight splitting: one ternary weight becomes the sum of two binary ones (BinaryBERT; BMT section 3.2).

With S_I, S_J, S_K the sums of magnitudes of the weights that ternarise to non-zero (I), and of the positive (J) and the
other (K) weights that ternarise to 0:

    I: W1 = a W,      W2 = (1 - a) W       a = (S_I + S_K - S_J) / (2 S_I)
    J: W1 = W + b,    W2 = -b              b = (n S_I / |I| - S_I - S_J - S_K) / (2 (|J| + |K|))
    K: W1 = b,        W2 = W - b

On I both copies have the sign of W, on J and K opposite signs, so that equal mean magnitudes of the copies (which give
a) cancel on J and K, and their sum (which gives b) is the ternary scale on I. BMT's Eq. 4 prints J and K exchanged in a
and |J| for |I| in b; the split is not exact with either.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lutra.errors import InputError
from lutra.models.bert import Bert
from lutra.nn.quantizers import quantise_weight
from lutra.recipes.bert_config import BertConfig


class Copies(NamedTuple):
    """Latent weights of the two binary copies; their sum is the ternary latent weight."""

    first: Tensor
    second: Tensor


def split_weight(weight: Tensor, name: str, per_row: bool = False) -> Copies:
    """Split a ternary latent weight (rows, columns), as a whole or row by row; computed in float64.

    `BWN(first) + BWN(second) = TWN(weight)` to the precision of the weight's type.

    Raises:
        InputError: a tensor or row of zeros or of no numbers, or one with so one-sided small weights that no exact
            split exists; with `name`.
    """
    groups = weight.detach().double()
    groups = groups if per_row else groups.reshape(1, -1)
    _require(groups.isfinite().all(dim=1), name, "values that are no numbers")
    _require((groups != 0).any(dim=1), name, "only zeros, so it has no ternary scale to split")
    magnitude, kept = groups.abs(), quantise_weight(groups, 2, per_row=True).integers != 0
    positive = ~kept & (groups > 0)
    rest = ~kept & ~positive
    sum_kept, sum_positive, sum_rest = ((magnitude * part).sum(dim=1, keepdim=True) for part in (kept, positive, rest))
    count, count_kept = groups.shape[1], kept.sum(dim=1, keepdim=True)
    a = (sum_kept + sum_rest - sum_positive) / (2 * sum_kept)
    _require(((a > 0) & (a < 1))[:, 0], name, "small weights of so unequal signs that no exact split exists")
    mean_excess = count * sum_kept / count_kept - (sum_kept + sum_positive + sum_rest)
    b = mean_excess / (2 * (count - count_kept).clamp_min(1))  # without zeros nobody reads b
    first = torch.where(kept, a * groups, torch.where(positive, groups + b, b))
    return Copies(*(copy.view(weight.shape).to(weight.dtype) for copy in (first, groups - first)))


def split_ternary(model: Bert, config: BertConfig) -> Bert:
    """The model with two binary copies of every weight that computes what the ternary `model` computes.

    Biases, norms, the float embeddings, the classifier and the quantisers' steps are copied; learned biases of elastic
    quantisers start at 0 and the column scales of WTWS at 1.

    Raises:
        InputError: `model` is not ternary, `config` has not two copies or another shape, or a weight can not be split.
    """
    source = model.config.quantisation
    if (source.weight_bits, source.embedding_bits) != (2, 2):
        bits = f"{source.weight_bits}-bit weights and a {source.embedding_bits}-bit word embedding"
        raise InputError(f"only a ternary model can be split, this one has {bits}")
    if config.quantisation.copies != 2 or config != model.config.model_copy(
        update={"quantisation": config.quantisation}
    ):
        raise InputError('a split needs the same model with quantisation method "binary" or "bmt"')
    if config.quantisation.activation_bits != source.activation_bits:
        wanted = config.quantisation.activation_bits
        raise InputError(
            f"the ternary model has {source.activation_bits}-bit activations, a split can not make {wanted}"
        )
    target = Bert(config).to(next(model.parameters()))
    state = model.state_dict()
    with torch.no_grad():
        for name, tensor in target.state_dict().items():
            if ".weights.1." in name:
                continue
            if ".weights.0." in name:
                copies = split_weight(state[name], name, per_row=name.startswith("embeddings."))
                tensor.copy_(copies.first)
                target.state_dict()[name.replace(".weights.0.", ".weights.1.")].copy_(copies.second)
            elif name in state:
                tensor.copy_(state[name])
    return target.train(model.training)


def _require(good: Tensor, name: str, problem: str) -> None:
    """`good`: one truth value per row, or a single one for the whole tensor."""
    if not good.all():
        where = name if len(good) == 1 else f"{name}, row {int((~good).nonzero()[0, 0])}"
        raise InputError(f"{where}: {problem}; fine-tune the ternary model again, or leave this weight out")
