"""Small models of our own making, each with a feed-forward part in another place."""

import torch
from torch import nn
from torch.nn import functional as F

import lutra

D, H = 16, 40


class Mlp(nn.Module):
    def __init__(self, width=D, hidden=H, output=None):
        super().__init__()
        self.fc1, self.act, self.fc2 = nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, output or width)

    def forward(self, x):
        return self.fc2(self.act(self.fc1(x)))


class LlamaMlp(nn.Module):
    """`w2` is the output, though `w3` is declared last."""

    def __init__(self):
        super().__init__()
        self.w1, self.w2, self.w3 = nn.Linear(D, H), nn.Linear(H, D), nn.Linear(D, H)

    def forward(self, x):
        return self.w2(F.silu(self.w1(x)) * self.w3(x))


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv, self.out = nn.Linear(D, 3 * D), nn.Linear(D, D)

    def forward(self, x):
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        return self.out(F.scaled_dot_product_attention(q, k, v))


class Layer(nn.Module):
    """A pre-norm layer with the feed-forward part that it is given."""

    def __init__(self, mlp):
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(D), Attention()
        self.norm2, self.mlp = nn.LayerNorm(D), mlp

    def forward(self, x):
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class InlineLayer(nn.Module):
    """Linear layers in the layer itself, functions between them."""

    def __init__(self, gated=False, activation=F.gelu):
        super().__init__()
        self.norm1, self.norm2, self.attention = nn.LayerNorm(D), nn.LayerNorm(D), Attention()
        self.linear1, self.linear2 = nn.Linear(D, H), nn.Linear(H, D)
        self.gate = nn.Linear(D, H) if gated else None
        self.activation = activation

    def forward(self, x):
        x = x + self.attention(self.norm1(x))
        z = self.norm2(x)
        h = self.activation(self.linear1(z))
        if self.gate is not None:
            h = h * self.gate(z)
        return x + self.linear2(h)


class WholeFeedForward(nn.Module):
    """Norm and residual inside."""

    def __init__(self):
        super().__init__()
        self.norm, self.fc1, self.act, self.fc2 = nn.LayerNorm(D), nn.Linear(D, H), nn.GELU(), nn.Linear(H, D)

    def forward(self, x):
        return x + self.fc2(self.act(self.fc1(self.norm(x))))


class Shared(nn.Module):
    def __init__(self):
        super().__init__()
        mlp = Mlp()
        self.layers = nn.Sequential(Layer(mlp), Layer(mlp), Layer(mlp))

    def forward(self, x):
        return self.layers(x)


class MoEFeedForward(nn.Module):
    def __init__(self, unused=True):
        super().__init__()
        self.router = nn.Linear(D, 4)
        self.experts = nn.ModuleList(Mlp() for _ in range(4))
        self.unused = unused

    def forward(self, x):
        rows = x.reshape(-1, D)
        scores = self.router(rows).softmax(dim=-1)
        if self.unused:
            scores = scores * torch.tensor([1.0, 1.0, 1.0, 0.0])  # nothing ever goes to expert 3
        best = scores.argmax(dim=-1)
        y = torch.zeros_like(rows)
        for number in best.unique():
            chosen = torch.where(best == number)[0]
            y[chosen] = self.experts[int(number)](rows[chosen]) * scores[chosen, number, None]
        return y.view(x.shape)


def x(rows=6):
    return torch.randn(2, rows, D, generator=torch.Generator().manual_seed(1))


def small(**changes):
    return lutra.BlockConfig(
        thermometer_bits=3, lut_layers=(lutra.LutLayerConfig(luts="2D", inputs=4),), groups=2, **changes
    )
