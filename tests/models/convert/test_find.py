"""What `find_mlps` finds in models of our own making, most of them traps: never a silent wrong answer."""

import copy
import json
import re

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lutra
from lutra.errors import ConversionError
from lutra.models.convert.plan import Plan
from own_models import (
    Attention,
    D,
    H,
    InlineLayer,
    Layer,
    LlamaMlp,
    Mlp,
    MoEFeedForward,
    Shared,
    WholeFeedForward,
    small,
    x,
)


def convert(model, *example, **options):
    plan = lutra.find_mlps(model, *example, **options)
    lutra.replace_mlp(model, plan, small())
    lutra.calibrate_(model, *example)
    return plan


def sequence(*modules):
    return Layer(nn.Sequential(*modules))


def forms(plan):
    return {row.path: row.form for row in plan.converted}


def test_a_transformer_is_never_taken_for_its_mlp():
    """A Sequential of linear layers at both ends and a layer with `linear1` and `linear2` hold attention."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(5, D), Layer(Mlp()), InlineLayer(activation=nn.GELU()), nn.LayerNorm(D), nn.Linear(D, 3)
    )
    holder = nn.ModuleDict({"net": model})
    holder.forward = lambda x: model(x)
    plan = convert(holder, torch.randn(2, 6, 5))
    assert forms(plan) == {"net.1.mlp": "module", "net.2.linear1": "pair"}
    assert plan.exact
    assert isinstance(model[1].attention, Attention) and isinstance(model[2].attention, Attention)


class KeepsSomeRows(nn.Module):
    """Another number of rows leaves the activation than came in, and how many may depend on their values."""

    def __init__(self, keep):
        super().__init__()
        self.up, self.down, self.keep = nn.Linear(D, H), nn.Linear(H, D), keep

    def forward(self, x):
        hidden = F.gelu(self.up(x.flatten(0, -2)))  # (rows, H)
        return x + self.down(hidden[self.keep(hidden)]).mean(dim=0)


@pytest.mark.parametrize(
    "keep",
    [
        lambda hidden: hidden.sum(dim=-1) > 0,
        lambda hidden: hidden.sum(dim=-1).topk(3).indices,
        lambda hidden: (hidden[:, 0] > hidden[:, 1]).nonzero()[:, 0],
        lambda hidden: slice(0, len(hidden) // 2),
        lambda hidden: torch.arange(len(hidden)).repeat(2),
    ],
)
def test_rows_that_come_and_go_are_a_reason_and_no_crash(keep):
    torch.manual_seed(0)
    plan = lutra.find_mlps(nn.Sequential(Layer(Mlp()), KeepsSomeRows(keep)), x(20), strict=False)
    assert forms(plan) == {"0.mlp": "module"} and plan.exact
    assert all(row.reason for row in plan.found) and plan.share_left_dense > 0


@pytest.mark.parametrize(
    ("layer", "path", "form"),
    [
        (lambda: Layer(Mlp()), "0.mlp", "module"),
        (lambda: Layer(LlamaMlp()), "0.mlp", "module"),
        (lambda: sequence(nn.LayerNorm(D), nn.Linear(D, H), nn.GELU(), nn.Linear(H, D)), "0.mlp.1", "sequential"),
        (lambda: sequence(nn.Linear(D, H), nn.ReLU(True), nn.Linear(H, D), nn.Sigmoid()), "0.mlp.0", "sequential"),
        (lambda: InlineLayer(activation=nn.ReLU()), "0.linear1", "pair"),
        (lambda: InlineLayer(), "0.linear1", "inline"),
        (lambda: InlineLayer(gated=True), "0.linear1", "inline"),
        (WholeFeedForward, "0.fc1", "pair"),
        (lambda: nn.TransformerEncoderLayer(D, 2, H, batch_first=True), "0.linear1", "inline"),
    ],
)  # fmt: skip
def test_the_form_and_widths_of_one_layer(layer, path, form):
    torch.manual_seed(0)
    model = nn.Sequential(layer(), nn.LayerNorm(D))
    plan = lutra.find_mlps(model, x())
    (row,) = plan.converted
    assert (row.path, row.form, row.inputs, row.hidden, row.outputs) == (path, form, D, H, D)
    assert plan.exact and plan.share_left_dense == 0
    names = dict(model.named_parameters())
    assert row.weights == sum(names[name].numel() for name in row.parameters if names[name].dim() == 2)
    assert row.macs == row.weights * 12
    lutra.replace_mlp(model, plan, small())
    lutra.calibrate_(model, x())
    for training in (True, False):
        assert model.train(training)(x()).shape == (2, 6, D)


@pytest.mark.parametrize("tail", [nn.Sigmoid(), nn.LayerNorm(D)])
def test_what_follows_the_last_linear_layer_stays(tail):
    model = nn.Sequential(Layer(nn.Sequential(nn.Linear(D, H), nn.ReLU(), nn.Linear(H, D), tail)), nn.LayerNorm(D))
    convert(model, x())
    seen = []
    model[0].mlp.register_forward_hook(lambda m, i, o: seen.append(o))
    model(x())
    assert model[0].mlp[3] is tail
    if isinstance(tail, nn.Sigmoid):
        assert seen[0].min() >= 0 and seen[0].max() <= 1
    else:
        assert seen[0].mean(dim=-1).abs().max() < 1e-5


def test_residual_and_norm_inside_stay():
    model = nn.Sequential(WholeFeedForward(), nn.LayerNorm(D))
    convert(model, x())
    with torch.no_grad():
        for parameter in model[0].fc1.parameters():
            parameter.zero_()
    assert torch.equal(model[0](x()), x())


def test_a_shared_module_becomes_one_block_in_all_its_places():
    model = Shared()
    plan = convert(model, x())
    (row,) = plan.converted
    assert row.calls == 3 and row.aliases == ("layers.1.mlp", "layers.2.mlp")
    blocks = {layer.mlp for layer in model.layers}
    assert len(blocks) == 1 and not isinstance(blocks.pop(), Mlp)


def test_a_shared_activation_is_not_taken_from_its_other_user():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.act, self.stem = nn.GELU(), nn.Linear(D, D)
            self.layer = InlineLayer(activation=self.act)

        def forward(self, x):
            return self.layer(self.act(self.stem(x)))

    model = nn.Sequential(Net(), nn.LayerNorm(D))
    plan = convert(model, x())
    assert forms(plan) == {"0.layer.linear1": "inline"}
    assert isinstance(model[0].act, nn.GELU)


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (nn.Sequential(nn.Linear(D, D), nn.Tanh(), nn.Dropout(0.1), nn.Linear(D, 3)), "a head"),
        (nn.Sequential(nn.Linear(D, H), nn.ReLU(), nn.Linear(H, D), nn.Sigmoid()), "a head"),
    ],
)
def test_heads_stay_unless_asked_for(head, words):
    model = nn.Sequential(Layer(Mlp()), head)
    plan = lutra.find_mlps(model, x())
    assert forms(plan) == {"0.mlp": "module"}
    row = next(row for row in plan.found if not row.convert)
    assert words in row.reason and row.path.startswith("1") and row.role == "head"
    asked = lutra.find_mlps(model, x(), include=["re:1.*"])
    assert len(asked.converted) == 2 and asked.exact


def test_nothing_found_is_an_error_with_the_nearest_candidates():
    with pytest.raises(ConversionError, match=r"nothing to convert. Nearest: 1.*a head.*include"):
        lutra.find_mlps(nn.Sequential(nn.Linear(5, D), nn.Linear(D, D), nn.Tanh(), nn.Linear(D, 3)), torch.randn(4, 5))
    with pytest.raises(ConversionError, match="no linear layer is followed"):
        lutra.find_mlps(nn.Sequential(nn.Linear(5, D), nn.LayerNorm(D)), torch.randn(4, 5))
    assert lutra.find_mlps(nn.Sequential(nn.Linear(5, D)), torch.randn(4, 5), strict=False).converted == ()


def test_a_pattern_that_names_nothing_is_an_error():
    model = nn.Sequential(Layer(Mlp()))
    for options in ({"exclude": ["re:.*head.*"]}, {"include": ["0.mpl"]}):
        with pytest.raises(ConversionError, match="matches nothing"):
            lutra.find_mlps(model, x(), **options)
    plan = lutra.find_mlps(model, x())
    with pytest.raises(ConversionError, match="matches nothing"):
        lutra.replace_mlp(model, plan, {"re:.*mpl": small()})
    with pytest.raises(ConversionError, match="not a regular expression"):
        plan.without("re:(")


def test_convolution_between_is_refused_and_counted():
    class MixFfn(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc1, self.conv, self.fc2 = nn.Linear(D, H), nn.Conv1d(H, H, 3, padding=1, groups=H), nn.Linear(H, D)

        def forward(self, x):
            return self.fc2(F.gelu(self.conv(self.fc1(x).transpose(1, 2)).transpose(1, 2)))

    plan = lutra.find_mlps(nn.Sequential(Layer(MixFfn()), Layer(Mlp()), nn.LayerNorm(D)), x())
    assert forms(plan) == {"1.mlp": "module"}
    (row,) = (row for row in plan.found if not row.convert)
    assert "convolution" in row.reason and plan.share_left_dense == 0.5 == plan.macs_left_dense


@pytest.mark.parametrize(
    ("between", "words"),
    [
        (lambda h: h.cumsum(dim=1).relu(), "cumsum"),
        (lambda h: (h + h.mean(dim=1, keepdim=True)).relu(), "mixes rows"),
        (lambda h: (h + torch.arange(float(h.shape[1]))[:, None]).relu(), "by their place"),
        (lambda h: h.flip(1).relu(), "mixes rows|by their place"),
    ],
)
def test_what_is_no_function_of_a_row_is_refused(between, words):
    model = nn.Sequential(InlineLayer(activation=between), Layer(Mlp()), nn.LayerNorm(D))
    plan = lutra.find_mlps(model, x())
    assert forms(plan) == {"1.mlp": "module"}
    (row,) = (row for row in plan.found if not row.convert)
    assert re.search(words, row.reason), row.reason
    assert plan.share_left_dense == 0.5


def test_an_adapter_that_reads_hidden_values_is_seen():
    class Lora(nn.Linear):
        def __init__(self, *sizes):
            super().__init__(*sizes)
            self.a, self.b = nn.Linear(sizes[0], 2, bias=False), nn.Linear(2, sizes[1], bias=False)

        def forward(self, x):
            return super().forward(x) + self.b(self.a(x))

    mlp = Mlp()
    mlp.fc2 = Lora(H, D)
    plan = lutra.find_mlps(nn.Sequential(Layer(mlp), Layer(Mlp()), nn.LayerNorm(D)), x())
    assert forms(plan) == {"1.mlp": "module"}
    assert any("read elsewhere" in row.reason for row in plan.found)


def test_experts_that_the_example_misses_are_converted_with_their_siblings():
    torch.manual_seed(0)
    model = nn.Sequential(Layer(MoEFeedForward()), nn.LayerNorm(D))
    plan = lutra.find_mlps(model, x(20))
    assert [row.path for row in plan.converted] == [f"0.mlp.experts.{number}" for number in range(4)]
    assert plan["0.mlp.experts.3"].calls == 0 and plan.exact and plan.share_left_dense == 0
    lutra.replace_mlp(model, plan, small())
    with pytest.raises(lutra.errors.InputError, match=r"experts\.3.*0 rows.*neighbours"):
        lutra.calibrate_(model, x(20))
    lutra.calibrate_(model, x(20), without_rows="neighbours")
    assert model(x(20)).isfinite().all()


def test_pointwise_convolutions_are_a_feed_forward_part_over_places():
    class ConvMlp(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc1, self.act, self.fc2 = nn.Conv2d(D, H, 1), nn.GELU(), nn.Conv2d(H, D, 1)

        def forward(self, x):
            return x + self.fc2(self.act(self.fc1(x)))

    model = nn.Sequential(ConvMlp(), nn.Conv2d(D, D, 3, padding=1))
    images = torch.randn(2, D, 5, 4)
    plan = convert(model, images)
    assert forms(plan) == {"0.fc1": "pair"} and plan.exact and plan.converted[0].channels_first
    assert model(images).shape == images.shape
    assert [graph.name for graph in lutra.freeze_model(model).graphs] == ["0.fc1.block"]


def test_weights_that_are_parameters_of_the_module_itself():
    class Bare(nn.Module):
        def __init__(self):
            super().__init__()
            self.up, self.down = nn.Parameter(torch.randn(D, H) / 4), nn.Parameter(torch.randn(H, D) / 4)

        def forward(self, x):
            return torch.relu(x @ self.up) @ self.down

    plan = lutra.find_mlps(nn.Sequential(Layer(Bare()), nn.LayerNorm(D)), x())
    assert forms(plan) == {"0.mlp": "module"} and plan.exact


def test_the_model_is_as_before_and_a_single_row_is_refused():
    model = nn.Sequential(Layer(Mlp()), nn.Dropout(0.5), nn.LayerNorm(D))
    model[0].mlp.eval()
    before, modes = copy.deepcopy(model.state_dict()), [module.training for module in model.modules()]
    modules = list(model.modules())
    lutra.find_mlps(model, x())
    assert list(model.modules()) == modules and [module.training for module in modules] == modes
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in modules)
    with pytest.raises(ConversionError, match="a single row"):
        lutra.find_mlps(model, torch.randn(1, 1, D))
    with pytest.raises(ConversionError, match="cannot run on the example"):
        lutra.find_mlps(model, torch.randn(1, 3, D + 1))


def test_examples_may_be_dictionaries_and_tuples():
    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.norm = Layer(Mlp()), nn.LayerNorm(D)

        def forward(self, hidden, mask=None):
            return {"out": self.norm(self.layer(hidden if mask is None else hidden * mask))}

    model = Named()
    plans = [
        lutra.find_mlps(model, x()),
        lutra.find_mlps(model, hidden=x()),
        lutra.find_mlps(model, {"hidden": x(), "mask": torch.ones(2, 6, 1)}),
        lutra.find_mlps(model, (x(), None)),
    ]
    assert len({str(plan) for plan in plans}) == 1


def test_a_plan_survives_json_and_prints_itself():
    model = nn.Sequential(Layer(Mlp()), nn.Linear(D, D), nn.Tanh(), nn.Linear(D, 3))
    plan = lutra.find_mlps(model, x())
    text = json.dumps(plan.to_json())
    again = Plan.from_json(json.loads(text))
    assert again == plan and json.dumps(again.to_json()) == text
    assert "0.mlp" in str(plan) and "a head" in str(plan) and "left dense: 0.0 %" in str(plan)
    with pytest.raises(ConversionError, match="not a plan"):
        Plan.from_json({"model": "x", "found": [{"path": 1}]})


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_types_are_found_exactly(dtype):
    plan = lutra.find_mlps(nn.Sequential(Layer(LlamaMlp()), nn.LayerNorm(D)).to(dtype), x().to(dtype))
    assert forms(plan) == {"0.mlp": "module"} and plan.exact
