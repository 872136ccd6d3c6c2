"""Carrying out a plan, calibration, number types, faults that must show."""

import copy

import pytest
import torch
from torch import nn

import lutra
from lutra.errors import ConversionError, InputError
from lutra.freeze.engines import install
from lutra.frozen import golden
from lutra.nn.weightless import WeightlessBlock, weightless_blocks
from own_models import D, Layer, Mlp, Shared, small, x


def model():
    torch.manual_seed(0)
    return nn.Sequential(Layer(Mlp()), Layer(Mlp()), Layer(Mlp()), nn.LayerNorm(D))


def converted(net=None, config=None):
    net = net or model()
    lutra.replace_mlp(net, lutra.find_mlps(net, x()), config or small())
    lutra.calibrate_(net, x())
    return net


def test_overrides_go_by_path_then_expression_then_default():
    net, five = model(), lutra.BlockConfig(thermometer_bits=5)
    seven = lutra.BlockConfig(thermometer_bits=7)
    rows = lutra.replace_mlp(
        net, lutra.find_mlps(net, x()), {"_default": small(), "re:[12].mlp": five, "re:2.*": None, "2.mlp": seven}
    )
    assert [row.path for row in rows] == ["0.mlp", "1.mlp", "2.mlp"]
    assert [net[i].mlp.thermometer.bits for i in range(3)] == [3, 5, 7]
    other = model()
    rows = lutra.replace_mlp(other, lutra.find_mlps(other, x()), {"1.mlp": None})
    assert [row.path for row in rows] == ["0.mlp", "2.mlp"] and isinstance(other[1].mlp, Mlp)


def test_a_plan_is_for_one_model_once():
    net = model()
    plan = lutra.find_mlps(net, x())
    with pytest.raises(ConversionError, match="does not fit"):
        lutra.replace_mlp(nn.Sequential(Layer(Mlp())), plan)
    with pytest.raises(ConversionError, match="needs a plan"):
        lutra.replace_mlp(net, lutra.BlockConfig())
    lutra.replace_mlp(net, plan, small())
    with pytest.raises(ConversionError, match="does not fit"):
        lutra.replace_mlp(net, plan, small())
    with pytest.raises(ConversionError, match="nothing"):
        lutra.replace_mlp(model(), plan.without("re:.*"))
    lutra.calibrate_(net, x())
    with pytest.raises(ConversionError, match="nothing to convert"):
        lutra.find_mlps(net, x())


def test_a_failure_half_way_leaves_the_model_whole():
    net = model()
    before = list(net.modules())
    plan = lutra.find_mlps(net, x())
    with pytest.raises(ValueError):
        lutra.replace_mlp(
            net,
            plan,
            {
                "2.mlp": lutra.BlockConfig.model_construct(
                    lut_layers=(lutra.LutLayerConfig.model_construct(luts="zero"),)
                )
            },
        )
    assert list(net.modules()) == before


def test_mode_and_seeds_follow():
    net = model().eval()
    converted(net)
    blocks = list(weightless_blocks(net).values())
    assert not any(module.training for block in blocks for module in block.modules())
    assert not torch.equal(blocks[0].lut_layers[0].tables, blocks[1].lut_layers[0].tables)
    again = converted(model())
    assert torch.equal(blocks[1].lut_layers[0].tables, weightless_blocks(again)["1.mlp"].lut_layers[0].tables)
    assert net.lutra_conversion.converted[1].row.path == "1.mlp"


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("cast_first", [True, False])
def test_types_go_through_and_integers_are_the_golden_model(dtype, cast_first):
    net = model()
    net = converted(net) if not cast_first else net
    net = net.to(dtype)
    data = x().to(dtype)
    if cast_first:
        lutra.replace_mlp(net, lutra.find_mlps(net, data), small())
        lutra.calibrate_(net, data)
    for block in weightless_blocks(net).values():
        assert {t.dtype for t in block.parameters()} == {torch.float32}
    optimiser = torch.optim.SGD(net.parameters(), 1e-3)
    net(data).float().square().mean().backward()
    optimiser.step()
    assert net(data).dtype == dtype
    frozen = lutra.freeze_model(net)
    caught = {}
    for name, block in weightless_blocks(net).items():
        block.register_forward_hook(lambda m, i, o, name=name: caught.update({name: (i[0], o)}))
    y = net.eval()(data)
    assert y.dtype == dtype
    for graph in frozen.graphs:
        given, returned = caught[graph.name]
        rows = golden.quantise(given.reshape(-1, D).float().detach().numpy(), graph.input_type)
        expected = torch.from_numpy(golden.dequantise(golden.run(graph, rows), graph.output_type))
        assert returned.dtype == dtype and torch.equal(returned.reshape(-1, D), expected.to(dtype))
    install(net, frozen)
    assert torch.equal(net(data), y)


@pytest.mark.parametrize("fault", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("quantised", [True, False])
def test_faults_show(fault, quantised):
    net = nn.Sequential(Mlp(), nn.LayerNorm(D))
    lutra.replace_mlp(net, lutra.find_mlps(net, x(), include=["0"]), small())
    lutra.calibrate_(net, x())
    if quantised:
        net[0].quantise_()
    bad = x()
    bad[0, 2, 3] = fault
    y = net[0](bad)
    assert y[0, 2].isnan().all() and y.isnan().sum() == D
    with pytest.raises(InputError, match=r"^0: 1 of 12 rows hold NaN or infinity"):
        net.eval()(bad)
    compiled = torch.compile(net[0], backend="eager", fullgraph=True)
    assert compiled(bad)[0, 2].isnan().all() and torch.equal(compiled(x()), net[0](x()))


def test_a_wrong_width_names_the_block():
    net = converted()
    with pytest.raises(InputError, match=r"0\.mlp: made for 16 features, got 32"):
        net[0].mlp(torch.randn(4, 32))
    lutra.replace_mlp(other := model(), lutra.find_mlps(other, x()), small())
    with pytest.raises(InputError, match=r"0\.mlp has no thresholds yet"):
        other(x())


def thresholds(net):
    return torch.cat([block.thermometer.thresholds.flatten() for block in weightless_blocks(net).values()])


def fresh(net=None):
    net = net or model()
    lutra.replace_mlp(net, lutra.find_mlps(net, x()), small())
    return net


def test_many_batches_are_one_union():
    whole, parts = fresh(), fresh()
    data = torch.randn(6, 5, D, generator=torch.Generator().manual_seed(3))
    lutra.calibrate_(whole, data)
    lutra.calibrate_(parts, [(data[:2],), (data[2:3],), (data[3:],)])
    assert torch.allclose(thresholds(whole), thresholds(parts), atol=1e-6)
    lutra.calibrate_(parts, (batch for batch in [(data,), (100 * data,)]), batches=1)
    assert torch.allclose(thresholds(whole), thresholds(parts), atol=1e-6)
    lutra.calibrate_(parts, torch.utils.data.DataLoader(data, batch_size=2))
    assert torch.allclose(thresholds(whole), thresholds(parts), atol=1e-6)


def test_all_calls_of_a_shared_block_count():
    net = fresh(Shared())
    given = []
    lutra.calibrate_(net, x())
    block = net.layers[0].mlp
    handle = block.register_forward_pre_hook(lambda m, i: given.append(i[0].detach().reshape(-1, D)))
    net.eval()(x())
    handle.remove()
    assert len(given) == 3
    first = copy.deepcopy(block)
    first.calibrate_(given[0])
    union = copy.deepcopy(block)
    union.calibrate_(torch.cat(given))
    # The later calls were seen behind thresholds from the first, so the union is near, and the first alone is not.
    gap = (union.thermometer.thresholds - block.thermometer.thresholds).abs().max()
    assert gap < 0.5 * (first.thermometer.thresholds - block.thermometer.thresholds).abs().max()


def test_calibration_is_in_evaluation_mode_and_restores():
    net = nn.Sequential(nn.Dropout(0.5), *model())
    net[1].eval()
    fresh(net)
    modes = [module.training for module in net.modules()]
    lutra.calibrate_(net, x())
    plain = fresh()
    lutra.calibrate_(plain, x())
    assert torch.equal(thresholds(net), thresholds(plain)) and [m.training for m in net.modules()] == modes


def test_masked_tokens_do_not_count():
    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.norm = Mlp(), nn.LayerNorm(D)

        def forward(self, hidden, attention_mask=None):
            return self.norm(hidden + self.layer(hidden))

    def net():
        torch.manual_seed(0)
        made = Named()
        lutra.replace_mlp(made, lutra.find_mlps(made, x()), small())
        return made

    short, padded, counted = net(), net(), net()
    data = x()
    mask = torch.ones(2, 6, dtype=torch.long)
    mask[:, 4:] = 0
    spoilt = torch.where(mask[..., None] == 1, data, 1e3)
    lutra.calibrate_(short, data[:, :4])
    lutra.calibrate_(padded, {"hidden": spoilt, "attention_mask": mask})
    assert torch.equal(thresholds(short), thresholds(padded))
    lutra.calibrate_(counted, hidden=spoilt, attention_mask=mask, mask=None)
    assert not torch.allclose(thresholds(short), thresholds(counted))


def test_calibration_names_what_is_wrong():
    with pytest.raises(InputError, match="no weightless block"):
        lutra.calibrate_(model(), x())
    with pytest.raises(InputError, match="no batch"):
        lutra.calibrate_(fresh(), iter([]))
    with pytest.raises(InputError, match=r"^0\.mlp: .*finite"):
        lutra.calibrate_(fresh(), x() * torch.nan)
    net = fresh()
    with pytest.raises(InputError, match=r"^0\.mlp: .*finite"):
        lutra.calibrate_(net, [(x(),), (x() * torch.inf,)])
    assert all(block.instead is None for block in weightless_blocks(net).values())
    with pytest.raises(InputError, match="one iterable"):
        lutra.calibrate_(net, x(), batches=2)


def test_copies_and_pickles_of_a_converted_model_are_equal(tmp_path):
    layers = nn.Sequential(nn.TransformerEncoderLayer(D, 2, 40, batch_first=True), Layer(Mlp()), nn.LayerNorm(D))
    net = converted(layers).eval()
    clone = copy.deepcopy(net)
    torch.save(net, tmp_path / "net.pt")
    loaded = torch.load(tmp_path / "net.pt", weights_only=False)  # a user's own pickle; Lutra itself reads none
    assert torch.equal(clone(x()), net(x())) and torch.equal(loaded(x()), net(x()))
    for block in weightless_blocks(net).values():
        with torch.no_grad():
            block.summation.encoded.zero_()
    assert not torch.equal(clone(x()), net(x()))


def test_frozen_blocks_stand_in_every_place_of_a_shared_one():
    net = fresh(Shared())
    lutra.calibrate_(net, x())
    frozen = lutra.freeze_model(net)
    y = net.eval()(x())
    install(net, frozen)
    assert not any(isinstance(module, WeightlessBlock) for module in net.modules())
    assert torch.equal(net(x()), y)
