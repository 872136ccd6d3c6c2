"""The public parts of our training, alone and inside of Hugging Face's Trainer."""

import pytest
import torch
from torch import nn

import lutra
from lutra.errors import InputError
from lutra.nn.weightless import weightless_blocks
from lutra.recipes.language import Recipe
from lutra.train.optimiser import create_optimiser
from lutra.train.parts import TrainingSchedule
from own_models import D, Layer, Mlp, small, x


def converted():
    torch.manual_seed(0)
    net = nn.Sequential(Layer(Mlp()), Layer(Mlp()), nn.LayerNorm(D))
    lutra.replace_mlp(net, lutra.find_mlps(net, x()), small(thresholds="learned"))
    lutra.calibrate_(net, x())
    return net


def test_groups_are_those_of_our_own_loop():
    recipe = Recipe(name="r")
    model = lutra.create_model(recipe, 65)
    ours = create_optimiser(model, recipe.train).param_groups
    groups = lutra.parameter_groups(model, recipe.train.learning_rate, weight_decay=recipe.train.weight_decay)
    assert [group["name"] for group in groups] == [group["name"] for group in ours]
    for group, own in zip(groups, ours, strict=True):
        assert [id(p) for p in group["params"]] == [id(p) for p in own["params"]]
        assert (group["lr"], group["betas"]) == (own["peak"], own["betas"])
        assert group["weight_decay"] == own["weight_decay"] and group["floor"] == own["floor"]


def test_every_trained_parameter_is_in_one_group():
    net = converted()
    for parameter in net[0].attention.parameters():
        parameter.requires_grad_(False)
    grouped = [p for group in lutra.parameter_groups(net) for p in group["params"]]
    assert len({id(p) for p in grouped}) == len(grouped)
    assert {id(p) for p in grouped} == {id(p) for p in net.parameters() if p.requires_grad}
    with pytest.raises(InputError, match="no kind 'luts'"):
        lutra.parameter_groups(net, block_learning_rates={"luts": 1.0})
    with pytest.raises(InputError, match="positive and finite"):
        lutra.parameter_groups(net, lr=float("nan"))


def test_a_schedule_keeps_tables_in_range_and_ends_in_integers():
    net = converted()
    optimiser = torch.optim.AdamW(lutra.parameter_groups(net, block_learning_rates={"tables": 5.0, "thresholds": 5.0}))
    schedule = TrainingSchedule(net, optimiser, 20, quantised=0.25)
    rates, quantised = [], []
    for _ in range(20):
        rates.append([group["lr"] / group["peak"] for group in optimiser.param_groups])
        quantised.append(weightless_blocks(net)["0.mlp"].quantised)
        net(x()).square().mean().backward()
        optimiser.step()
        optimiser.zero_grad()
        schedule.step()
        for block in weightless_blocks(net).values():
            assert block.lut_layers[0].tables.abs().max() <= 1
            assert (block.thermometer.thresholds.diff(dim=1) >= 0).all()
    assert quantised == [False] * 15 + [True] * 5
    assert rates[0][0] == pytest.approx(1 / 3) and max(map(max, rates)) == 1
    assert [group["lr"] for group in optimiser.param_groups][2:] == pytest.approx([0, 0, 0], abs=1e-12)


def test_a_schedule_goes_on_from_its_state():
    def rates(stop):
        net = nn.Linear(2, 2)
        optimiser = torch.optim.AdamW(net.parameters())
        schedule, seen = TrainingSchedule(net, optimiser, 30), []
        for done in range(30):
            if done == stop:
                state = schedule.state_dict()
                schedule = TrainingSchedule(net, optimiser, 30)
                schedule.load_state_dict(state)
            seen.append(optimiser.param_groups[0]["lr"])
            schedule.step()
        return seen

    assert rates(stop=17) == rates(stop=None)


class Batches(torch.utils.data.IterableDataset):
    """The same rows of tokens in the same order for both loops."""

    def __init__(self, tokens):
        self.tokens = tokens

    def __iter__(self):
        return ({"input_ids": row, "labels": row} for row in self.tokens)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_hugging_face_trainer_does_what_a_plain_loop_does(tmp_path, seed):
    """GPT-2 with blocks: the same loss after the same steps, the last of them in integers."""
    transformers = pytest.importorskip("transformers")
    steps, size = 10, 4
    tokens = torch.randint(17, (steps * size, 9), generator=torch.Generator().manual_seed(seed))

    def start():
        torch.manual_seed(seed)
        config = transformers.GPT2Config(
            vocab_size=17, n_positions=16, n_embd=16, n_layer=2, n_head=2, resid_pdrop=0, embd_pdrop=0, attn_pdrop=0
        )
        net = transformers.GPT2LMHeadModel(config)
        lutra.replace_mlp(net, lutra.find_mlps(net, input_ids=tokens[:size]), small(), seed)
        lutra.calibrate_(net, input_ids=tokens[:size])
        return net, torch.optim.AdamW(lutra.parameter_groups(net))

    plain, optimiser = start()
    schedule = TrainingSchedule(plain, optimiser, steps, quantised=0.3)
    plain.train()
    for batch in tokens.split(size):
        plain(input_ids=batch, labels=batch).loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        schedule.step()

    net, optimiser = start()
    arguments = transformers.TrainingArguments(
        str(tmp_path), max_steps=steps, per_device_train_batch_size=size, report_to=[], save_strategy="no",
        use_cpu=True, disable_tqdm=True, max_grad_norm=0.0,
    )  # fmt: skip
    trainer = transformers.Trainer(
        net, arguments, train_dataset=Batches(tokens), callbacks=[lutra.trainer_callback(0.3)],
        optimizers=(optimiser, lutra.learning_rates(optimiser, steps)),
    )  # fmt: skip
    trainer.model_accepts_loss_kwargs = False  # else it sums and divides by a count: other roundings of the same loss
    trainer.train()
    assert all(block.quantised for each in (net, plain) for block in weightless_blocks(each).values())
    with torch.no_grad():
        ours, theirs = (each.eval()(input_ids=tokens, labels=tokens).loss for each in (plain, net))
    assert abs(ours - theirs) < 1e-2  # Adam makes much of the roundings of gradients that are nearly 0


def test_hugging_face_trainer(tmp_path):
    transformers = pytest.importorskip("transformers")

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head = converted(), nn.Linear(D, 2)

        def forward(self, inputs, labels):
            return {"loss": nn.functional.cross_entropy(self.head(self.body(inputs[None]))[0, :, :], labels)}

    net = Net()
    data = [{"inputs": row, "labels": torch.tensor(index % 2)} for index, row in enumerate(x(16).reshape(-1, D))]
    optimiser = torch.optim.AdamW(lutra.parameter_groups(net, block_learning_rates={"tables": 5.0}))
    seen = []
    net.register_forward_pre_hook(lambda m, i: seen.append(weightless_blocks(net)["body.0.mlp"].quantised))
    arguments = transformers.TrainingArguments(
        str(tmp_path), max_steps=8, per_device_train_batch_size=8, report_to=[], save_strategy="no", use_cpu=True,
        disable_tqdm=True,
    )  # fmt: skip
    trainer = transformers.Trainer(
        net, arguments, train_dataset=data, optimizers=(optimiser, None), callbacks=[lutra.trainer_callback(0.5)]
    )
    trainer.train()
    assert seen == [False] * 4 + [True] * 4
    assert all(block.lut_layers[0].tables.abs().max() <= 1 for block in weightless_blocks(net).values())
