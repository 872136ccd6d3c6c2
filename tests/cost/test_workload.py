"""Parameters and MACs: every number that the papers' workload tables rest on, and published sizes of known models."""

from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lutra.cost.huggingface import shape_of_huggingface
from lutra.cost.shapes import PRESETS, preset, shape_of_recipe, vision_shape
from lutra.cost.workload import ENCODER, TransformerShape, workload
from lutra.errors import InputError
from lutra.recipes.language import Recipe


def test_table_1_of_quweit_is_gpt3_with_a_context_of_4096():
    shape = preset("gpt3-4096")
    model = workload(shape)
    expected = {
        "QKV": (43_486_543_872, 43_486_543_872),
        "QK^T": (0, 4_831_838_208),
        "softmax V": (0, 4_831_838_208),
        "projection": (14_495_514_624, 14_495_514_624),
        "MLP 1": (57_982_058_496, 57_982_058_496),
        "MLP 2": (57_982_058_496, 57_982_058_496),
    }
    counted = {name: (model[name].weights, model[name].macs_per_sequence // shape.tokens) for name in expected}
    assert counted == expected
    assert model.mlp_share_of_macs(ENCODER) == pytest.approx(0.632, abs=5e-4)
    assert workload(preset("gpt3")).mlp_share_of_macs(ENCODER) == pytest.approx(0.649, abs=5e-4)


def test_mlp_share_of_deit_t_encoder_with_196_tokens():
    model = workload(dataclasses.replace(preset("deit-t"), tokens=196))
    assert model.macs_per_sequence(("mlp",)) == pytest.approx(693.6e6, rel=1e-4)
    assert model.macs_per_sequence(ENCODER) == pytest.approx(1217.5e6, rel=1e-4)
    assert model.mlp_share_of_macs(ENCODER) == pytest.approx(0.570, abs=5e-4)


@pytest.mark.parametrize(
    ("shape", "mlp_gmacs", "all_gmacs", "share"),
    [
        (vision_shape("deit-t, 10 classes", 192, 3, classes=10), 0.6972, 1.2535, 0.556),
        (preset("deit-s"), 2.789, 4.599, 0.606),
        (preset("deit-b"), 11.155, 17.564, 0.635),
        (preset("gpt-baby"), 1.812, 3.026, 0.599),
    ],
)
def test_mlp_share_of_macs_of_whole_models(shape, mlp_gmacs, all_gmacs, share):
    model = workload(shape)
    assert model.macs_per_sequence(("mlp",)) / 1e9 == pytest.approx(mlp_gmacs, abs=6e-4)
    assert model.macs_per_sequence() / 1e9 == pytest.approx(all_gmacs, abs=6e-4)
    assert model.mlp_share_of_macs() == pytest.approx(share, abs=5e-4)


def test_mlp_share_of_macs_of_language_models():
    gpt2 = workload(preset("gpt2"))
    assert gpt2.macs_per_sequence(("mlp",)) / 1e9 == pytest.approx(57.98, abs=0.005)
    assert gpt2.macs_per_sequence(ENCODER) / 1e9 == pytest.approx(106.3, abs=0.05)
    assert gpt2.mlp_share_of_macs(ENCODER) == pytest.approx(0.545, abs=5e-4)
    assert gpt2.mlp_share_of_macs() == pytest.approx(0.398, abs=5e-4)
    bert = workload(preset("bert-base"))
    assert bert.macs_per_sequence(("mlp",)) / 1e9 == pytest.approx(7.248, abs=5e-4)
    assert bert.macs_per_sequence() / 1e9 == pytest.approx(11.174, abs=5e-4)
    assert bert.mlp_share_of_macs() == pytest.approx(0.649, abs=5e-4)
    longer = workload(dataclasses.replace(preset("bert-base"), tokens=512))
    assert longer.mlp_share_of_macs() == pytest.approx(0.600, abs=5e-4)
    assert workload(preset("gpt-baby")).mlp_share_of_macs(ENCODER) == pytest.approx(0.600, abs=5e-4)


@pytest.mark.parametrize(
    ("shape", "mlp", "all_parameters", "share"),
    [
        (preset("deit-t"), 3_550_464, 5_717_416, 0.621),
        (vision_shape("deit-t, 10 classes", 192, 3, classes=10), 3_550_464, 5_526_346, 0.642),
        (preset("gpt-baby"), 7_077_888, 10_745_088, 0.659),
        (preset("gpt2"), 56_669_184, 124_439_808, 0.455),
        (preset("bert-base"), 56_669_184, 109_482_240, 0.518),
    ],
)
def test_mlp_share_of_parameters(shape, mlp, all_parameters, share):
    model = workload(shape)
    assert (model.parameters(("mlp",)), model.parameters()) == (mlp, all_parameters)
    assert model.mlp_share_of_parameters() == pytest.approx(share, abs=5e-4)
    assert model.mlp_share_of_weights() == pytest.approx(8 / 12)


@settings(deadline=None)
@given(st.integers(1, 4), st.integers(1, 8), st.integers(1, 32), st.integers(1, 64), st.integers(1, 4), st.booleans())
def test_closed_forms_of_table_1(layers, heads, head_width, tokens, ratio, gated):
    width = heads * head_width
    shape = TransformerShape("any", layers, width, heads, tokens, hidden=ratio * width, gated=gated)
    model = workload(shape)
    assert model["QKV"].macs_per_sequence == 3 * layers * tokens * width**2
    assert model["QK^T"].macs_per_sequence == model["softmax V"].macs_per_sequence == layers * tokens**2 * width
    assert model["MLP 1"].macs_per_sequence == (2 if gated else 1) * model["MLP 2"].macs_per_sequence
    if ratio == 4 and not gated:
        assert model.mlp_share_of_macs(ENCODER) == pytest.approx(8 * width / (12 * width + 2 * tokens))


LLAMA_2_7B = {
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 32,
    "max_position_embeddings": 4096,
    "vocab_size": 32000,
    "tie_word_embeddings": False,
}
HUGGINGFACE = [
    (LLAMA_2_7B, 6_738_415_616),
    (
        {
            **LLAMA_2_7B,
            "hidden_size": 2048,
            "intermediate_size": 5632,
            "num_hidden_layers": 22,
            "num_key_value_heads": 4,
        },
        1_100_048_384,  # TinyLlama
    ),
    (
        {
            "model_type": "qwen2",
            "hidden_size": 896,
            "intermediate_size": 4864,
            "num_hidden_layers": 24,
            "num_attention_heads": 14,
            "num_key_value_heads": 2,
            "max_position_embeddings": 32768,
            "vocab_size": 151936,
            "tie_word_embeddings": True,
        },
        494_032_768,  # Qwen2-0.5B
    ),
    (
        {
            "model_type": "gpt2",
            "n_embd": 768,
            "n_layer": 12,
            "n_head": 12,
            "n_positions": 1024,
            "n_inner": None,
            "vocab_size": 50257,
        },
        124_439_808,
    ),
    (
        {
            "model_type": "bert",
            "hidden_size": 768,
            "num_hidden_layers": 12,
            "num_attention_heads": 12,
            "intermediate_size": 3072,
            "vocab_size": 30522,
            "max_position_embeddings": 512,
            "type_vocab_size": 2,
        },
        109_482_240,
    ),
    (
        {
            "model_type": "vit",
            "hidden_size": 768,
            "num_hidden_layers": 12,
            "num_attention_heads": 12,
            "intermediate_size": 3072,
            "image_size": 224,
            "patch_size": 16,
            "num_labels": 1000,
        },
        86_567_656,  # ViT-B/16
    ),
]


@pytest.mark.parametrize(("config", "parameters"), HUGGINGFACE, ids=lambda value: str(value)[:40])
def test_huggingface_configurations_give_published_sizes(config, parameters):
    assert workload(shape_of_huggingface(config)).parameters() == parameters


def test_huggingface_configuration_from_a_file_with_another_length(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(LLAMA_2_7B))
    shape = shape_of_huggingface(path, tokens=100)
    assert shape.tokens == 100
    assert workload(shape)["MLP 1"].macs_per_sequence == 100 * 32 * 4096 * 11008 * 2


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "model_type None is not known; there are gpt2"),
        ({**LLAMA_2_7B, "hidden_size": "big"}, "hidden_size must be an integer, got 'big'"),
        ({"model_type": "gpt2", "n_embd": 768}, "the key n_positions or n_ctx is missing"),
        ({**LLAMA_2_7B, "num_key_value_heads": 5}, "multiple of kv_heads 5"),
    ],
)
def test_wrong_configurations_are_named(config, message):
    with pytest.raises(InputError, match=message):
        shape_of_huggingface(config)


def test_unreadable_configurations_are_named(tmp_path):
    with pytest.raises(InputError, match="cannot read the configuration"):
        shape_of_huggingface(tmp_path / "none.json")
    (tmp_path / "list.json").write_text("[]")
    with pytest.raises(InputError, match="must hold one JSON object"):
        shape_of_huggingface(tmp_path / "list.json")
    with pytest.raises(InputError, match="no model shape gpt5"):
        preset("gpt5")


def test_default_recipe_is_gpt_mini():
    ours, mini = workload(shape_of_recipe(Recipe(name="test"))), workload(PRESETS["gpt-mini"])
    assert ours.parts == mini.parts
