"""A vision transformer in DeiT's shapes, with an MLP, a weightless block, or nothing after the attention.

Parameter names and shapes are timm's (`deit_tiny_patch16_224` and its like), so that its weights load with
`strict=True` where ffn = "mlp"; `import_vit_weights` also takes Hugging Face's names. Shapes in comments: B images,
N patches, T rows (patches and class token), D width, H heads.
"""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lutra.errors import CheckpointError, InputError
from lutra.kernels.attention import attention
from lutra.nn.dropout import Dropout
from lutra.nn.weightless import WeightlessBlock
from lutra.recipes.language import BlockConfig
from lutra.recipes.vision import CHANNELS, VisionModelConfig

NORM_EPSILON = 1e-6


class Attention(nn.Module):
    """Multi-head attention over all rows: (B, T, D) -> (B, T, D)."""

    def __init__(self, config: VisionModelConfig) -> None:
        super().__init__()
        self.heads, self.dropout = config.heads, config.dropout
        self.qkv = _linear(config.width, 3 * config.width)
        self.proj = _linear(config.width, config.width)

    def forward(self, x: Tensor) -> Tensor:
        p = self.dropout if self.training else 0.0
        return self.proj(attention(self.qkv(x), self.heads, p, causal=False))  # type: ignore[no-any-return]


class Mlp(nn.Module):
    """The dense baseline of the weightless block: (..., D) -> (..., 4D) -> (..., D)."""

    def __init__(self, config: VisionModelConfig) -> None:
        super().__init__()
        self.fc1 = _linear(config.width, 4 * config.width)
        self.fc2 = _linear(4 * config.width, config.width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))  # type: ignore[no-any-return]


class Block(nn.Module):
    """One pre-norm layer; ffn = "none" has neither the second residual branch nor its norm."""

    def __init__(self, config: VisionModelConfig, weightless: BlockConfig, seed: int, drop_path: float) -> None:
        super().__init__()
        self.drop_path = drop_path
        self.norm1 = nn.LayerNorm(config.width, eps=NORM_EPSILON)
        self.attn = Attention(config)
        self.mlp: Mlp | WeightlessBlock | None = None
        if config.ffn != "none":
            self.norm2 = nn.LayerNorm(config.width, eps=NORM_EPSILON)
            self.mlp = Mlp(config) if config.ffn == "mlp" else WeightlessBlock(config.width, weightless, seed)
        self.dropout = Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self._some_images(self.dropout(self.attn(self.norm1(x))))
        if self.mlp is not None:
            x = x + self._some_images(self.dropout(self.mlp(self.norm2(x))))
        return x

    def _some_images(self, branch: Tensor) -> Tensor:
        """In training: the branch of some images is left out, that of the others enlarged (stochastic depth)."""
        if not self.training or not self.drop_path:
            return branch
        keep = 1 - self.drop_path
        mask = torch.rand(len(branch), 1, 1, device=branch.device, dtype=branch.dtype) < keep
        return branch * mask / keep


class PatchEmbed(nn.Module):
    """Images (B, 3, height, width) -> rows of patches (B, N, D)."""

    def __init__(self, config: VisionModelConfig) -> None:
        super().__init__()
        self.proj = nn.Conv2d(CHANNELS, config.width, config.patch, config.patch)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x).flatten(2).transpose(1, 2)  # type: ignore[no-any-return]


class VisionTransformer(nn.Module):
    """Normalised images (B, 3, image, image) to logits of the classes: (B, classes).

    Every random draw of the initialisation comes from `seed`; the global generator is left as it was.
    """

    def __init__(self, config: VisionModelConfig, classes: int, weightless: BlockConfig, seed: int) -> None:
        super().__init__()
        self.config, self.classes = config, classes
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.cls_token = None
            if config.pool == "class":
                self.cls_token = nn.Parameter(torch.randn(1, 1, config.width) * 1e-6)
            self.pos_embed = nn.Parameter(_truncated(torch.empty(1, config.tokens, config.width)))
            self.patch_embed = PatchEmbed(config)
            last = max(1, config.layers - 1)
            self.blocks = nn.ModuleList(
                # Seeds differ for every (seed, layer), so that no two blocks of any two seeds are wired alike.
                Block(config, weightless, seed * config.layers + layer, config.drop_path * layer / last)
                for layer in range(config.layers)
            )
            self.norm = nn.LayerNorm(config.width, eps=NORM_EPSILON)
            self.head = _linear(config.width, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Raises InputError for images of another size."""
        self.require_images(images)
        x = self.patch_embed(images)  # (B, N, D)
        if self.cls_token is not None:
            x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1)  # (B, T, D)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = self.norm(x)
        x = x[:, 0] if self.cls_token is not None else x.mean(dim=1)
        return self.head(x)  # type: ignore[no-any-return]

    def require_images(self, images: Tensor) -> None:
        """Raise InputError unless `images` is (B, 3, image, image)."""
        side = self.config.image
        if images.shape[1:] != (CHANNELS, side, side):
            raise InputError(f"images must be (B, {CHANNELS}, {side}, {side}), got {tuple(images.shape)}")

    def normalised(self, pixels: Tensor) -> Tensor:
        """Pixels in [0, 255], any type, (B, 3, image, image) -> what `forward` takes."""
        mean, std = (torch.tensor(values, device=pixels.device)[:, None, None] for values in self.statistics)
        return (pixels.float() / 255 - mean) / std

    @property
    def statistics(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation of the channels, of pixels in [0, 1]."""
        return self.config.mean, self.config.std

    def weights(self) -> dict[str, Tensor]:
        """Parameters and buffers by name."""
        return self.state_dict()

    def load_weights(self, weights: dict[str, Tensor]) -> None:
        """`load_state_dict` with strict names and shapes."""
        self.load_state_dict(weights)


_HUGGING_FACE_NAMES = (
    (r"^(vit|deit)\.", ""),
    (r"^embeddings\.cls_token$", "cls_token"),
    (r"^embeddings\.position_embeddings$", "pos_embed"),
    (r"^embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
    (r"^encoder\.layer\.(\d+)\.", r"blocks.\1."),
    (r"^layers\.(\d+)\.", r"blocks.\1."),
    (r"\.layernorm_before\.", ".norm1."),
    (r"\.layernorm_after\.", ".norm2."),
    (r"\.attention\.attention\.(query|key|value)\.", r".attn.\1."),
    (r"\.attention\.(q|k|v)_proj\.", r".attn.\1_proj."),
    (r"\.attention\.output\.dense\.", ".attn.proj."),
    (r"\.attention\.o_proj\.", ".attn.proj."),
    (r"\.intermediate\.dense\.", ".mlp.fc1."),
    (r"(blocks\.\d+)\.output\.dense\.", r"\1.mlp.fc2."),
    (r"^layernorm\.", "norm."),
    (r"^classifier\.", "head."),
)
_PARTS = (("query", "key", "value"), ("q_proj", "k_proj", "v_proj"))


def import_vit_weights(model: VisionTransformer, weights: dict[str, Tensor]) -> None:
    """Fill a model of ffn = "mlp" with weights in timm's names or in those of Hugging Face's ViT and DeiT.

    Raises:
        CheckpointError: a tensor is missing, unexpected (a distillation token), or of another shape.
    """
    renamed: dict[str, Tensor] = {}
    for name, tensor in weights.items():
        for pattern, replacement in _HUGGING_FACE_NAMES:
            name = re.sub(pattern, replacement, name)
        renamed[name] = tensor
    for query, key, value in _PARTS:
        for name in [name for name in renamed if f".attn.{query}." in name]:
            parts = [renamed.pop(name.replace(query, part)) for part in (query, key, value)]
            renamed[name.replace(query, "qkv")] = torch.cat(parts)
    expected = model.state_dict()
    for name in sorted(expected.keys() | renamed.keys()):
        there, wanted = (tuple(group[name].shape) if name in group else "missing" for group in (renamed, expected))
        if there != wanted:
            raise CheckpointError(f"weights of another model: {name} is {there} there, this one wants {wanted}")
    model.load_state_dict(renamed)


def _linear(inputs: int, outputs: int) -> nn.Linear:
    layer = nn.Linear(inputs, outputs)
    _truncated(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def _truncated(tensor: Tensor) -> Any:
    return nn.init.trunc_normal_(tensor, std=0.02)
