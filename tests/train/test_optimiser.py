"""Which parameter learns how fast and decays, and the optimiser's state as tensors."""

import itertools

import pytest
import torch

from lutra.errors import CheckpointError
from lutra.models.zoo import create_model
from lutra.nn.calibrate import calibrate_
from lutra.recipes.language import BinaryAttentionConfig, TrainConfig
from lutra.train.optimiser import (
    create_optimiser,
    learning_rate_shape,
    load_optimiser_tensors,
    optimiser_tensors,
    set_learning_rates,
)
from tiny_training import tiny_recipe


def groups_by_name(model, config):
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = create_optimiser(model, config).param_groups
    return {group["name"]: (group, {names[id(parameter)] for parameter in group["params"]}) for group in groups}


def test_every_parameter_is_in_the_group_it_belongs_to():
    recipe = tiny_recipe("weightless", table_learning_rate=0.5, mapping_learning_rate=0.25)
    model = create_model(recipe, 65)
    groups = groups_by_name(model, recipe.train)
    assert set(groups) == {"decayed", "undecayed", "tables", "mapping", "thresholds", "encoded"}
    assert sum(len(names) for _, names in groups.values()) == len(list(model.parameters()))
    assert groups["decayed"][0]["weight_decay"] == 0.1
    assert groups["decayed"][1] == {"transformer.wte.weight", "transformer.wpe.weight"} | {
        f"transformer.h.{layer}.attn.{matrix}.weight" for layer in (0, 1) for matrix in ("c_attn", "c_proj")
    }
    for name in ("undecayed", "tables", "mapping", "thresholds", "encoded"):
        assert groups[name][0]["weight_decay"] == 0, name
    assert all(".tables" in name for name in groups["tables"][1]) and len(groups["tables"][1]) == 4
    assert (groups["tables"][0]["peak"], groups["mapping"][0]["peak"]) == (0.5, 0.25)
    memory = {name: group["betas"] for name, (group, _) in groups.items()}
    assert memory == dict.fromkeys(("decayed", "undecayed"), (0.9, 0.99)) | dict.fromkeys(
        ("tables", "mapping", "thresholds", "encoded"), (0.9, 0.999)
    )
    assert all(".summation." in name for name in groups["encoded"][1]) and len(groups["encoded"][1]) == 4


def test_dense_models_have_nanogpts_two_groups():
    groups = groups_by_name(create_model("gpt-mini", 65, ffn="mlp"), TrainConfig())
    assert set(groups) == {"decayed", "undecayed"}
    assert all(".ln_" in name for name in groups["undecayed"][1]) and len(groups["undecayed"][1]) == 9


def test_steps_and_column_scales_of_a_binary_attention_do_not_decay():
    recipe = tiny_recipe("none")
    binary = BinaryAttentionConfig(step_learning_rate=0.125)
    recipe = recipe.model_copy(update={"model": recipe.model.model_copy(update={"binary_attention": binary})})
    groups = groups_by_name(create_model(recipe, 65), recipe.train)
    assert set(groups) == {"decayed", "undecayed", "steps"}
    group, names = groups["steps"]
    assert (group["peak"], group["weight_decay"]) == (0.125, 0)
    assert len(names) == 2 * (6 + 4) and all(name.endswith((".step", ".column_scales")) for name in names)
    latents = {name for name in groups["decayed"][1] if ".attn." in name}
    assert len(latents) == 2 * 4 and all(name.endswith(".latent") for name in latents)


def test_warm_up_then_cosine():
    config = TrainConfig(iterations=1000, warmup_iterations=100)
    shape = [learning_rate_shape(config, iteration, 0.1) for iteration in range(1001)]
    assert shape[0] == pytest.approx(1 / 101) and shape[99] == pytest.approx(100 / 101)
    assert shape[100] == 1 and shape[550] == pytest.approx(0.55) and shape[1000] == pytest.approx(0.1)
    assert all(later < earlier for earlier, later in itertools.pairwise(shape[100:]))


def test_every_group_follows_the_schedule_from_its_own_peak():
    recipe = tiny_recipe("weightless", table_learning_rate=0.5)
    optimiser = create_optimiser(create_model(recipe, 65), recipe.train)

    def rates(iteration):
        set_learning_rates(optimiser, recipe.train, iteration)
        return {group["name"]: group["lr"] for group in optimiser.param_groups}

    assert rates(2)["tables"] == pytest.approx(0.5) and rates(2)["decayed"] == pytest.approx(1e-3)
    assert rates(8)["tables"] == pytest.approx(0) and rates(8)["decayed"] == pytest.approx(1e-4)


def test_state_goes_to_tensors_and_back(tmp_path):
    recipe = tiny_recipe("weightless")
    tokens = torch.randint(65, (4, 16), generator=torch.Generator().manual_seed(0))

    def made():
        model = create_model(recipe, 65).eval()
        calibrate_(model, tokens)
        return model, create_optimiser(model, recipe.train)

    def step(model, optimiser):
        set_learning_rates(optimiser, recipe.train, 2)
        model(tokens).logsumexp(-1).mean().backward()
        optimiser.step()
        optimiser.zero_grad()

    first, second = made(), made()
    step(*first)
    second[0].load_weights(first[0].weights())
    saved = {name: tensor.clone() for name, tensor in optimiser_tensors(first[1], first[0]).items()}
    for part, damage in (("/step", None), ("/exp_avg", torch.zeros(1)), ("/exp_avg", None)):
        key = next(name for name in saved if name.endswith(part))
        damaged = {name: tensor for name, tensor in saved.items() if name != key}
        with pytest.raises(CheckpointError, match=r"last: the optimiser's state of .* is damaged"):
            load_optimiser_tensors(
                second[1], second[0], damaged | ({} if damage is None else {key: damage}), tmp_path / "last"
            )
    load_optimiser_tensors(second[1], second[0], saved, tmp_path / "last")
    step(*first)
    step(*second)
    for name, tensor in first[0].weights().items():
        assert torch.equal(tensor, second[0].weights()[name]), name
