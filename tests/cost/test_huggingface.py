"""Configurations as transformers writes them, counted beside the models that transformers makes of them."""

from __future__ import annotations

import json
import re

import pytest

from lutra.cost.huggingface import shape_of_huggingface
from lutra.cost.shapes import PRESETS
from lutra.cost.workload import workload
from lutra.errors import InputError

DECODER = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 50}
GATED = {**DECODER, "intermediate_size": 40, "max_position_embeddings": 32, "num_key_value_heads": 2, "pad_token_id": 0}
ENCODER = {**DECODER, "intermediate_size": 40, "max_position_embeddings": 34}
VIT = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 40, "image_size": 32}
MODELS = {
    "gpt2": {"n_embd": 24, "n_layer": 2, "n_head": 4, "n_positions": 32, "vocab_size": 50},
    "gpt_neo": {
        "hidden_size": 24,
        "num_layers": 2,
        "num_heads": 4,
        "max_position_embeddings": 32,
        "vocab_size": 50,
        "attention_types": [[["global", "local"], 1]],
    },
    "gpt_neox": {**DECODER, "intermediate_size": 40, "max_position_embeddings": 32},
    "opt": {**DECODER, "ffn_dim": 40, "max_position_embeddings": 32, "word_embed_proj_dim": 24},
    "llama": GATED,
    "mistral": {**GATED, "head_dim": 10},
    "qwen2": {**GATED, "tie_word_embeddings": True},
    "qwen3": {**GATED, "head_dim": 10},
    "gemma": {**GATED, "head_dim": 10},
    "phi3": GATED,
    "bert": ENCODER,
    "roberta": {**ENCODER, "type_vocab_size": 1},
    "distilbert": {
        "dim": 24,
        "n_layers": 2,
        "n_heads": 4,
        "hidden_dim": 40,
        "vocab_size": 50,
        "max_position_embeddings": 32,
    },
    "vit": {**VIT, "patch_size": 8, "num_labels": 7},
    "deit": {**VIT, "patch_size": 8, "num_labels": 7, "num_channels": 1},
}
HEADS = {"bert": "AutoModel", "roberta": "AutoModel", "distilbert": "AutoModel"}
HEADS |= {"vit": "AutoModelForImageClassification", "deit": "AutoModelForImageClassification"}


@pytest.mark.parametrize("model_type", MODELS)
def test_parameters_are_those_of_the_model(model_type, tmp_path):
    transformers = pytest.importorskip("transformers")
    config = transformers.AutoConfig.for_model(model_type, **MODELS[model_type])
    config.save_pretrained(tmp_path)
    config.architectures = ["DeiTForImageClassification"]  # asked for where a type has several
    model = getattr(transformers, HEADS.get(model_type, "AutoModelForCausalLM")).from_config(config)
    counted = workload(shape_of_huggingface(tmp_path))
    assert counted.parameters() == sum(parameter.numel() for parameter in model.parameters())
    mlp = re.compile(r"mlp|fc1|fc2|ffn|c_fc|intermediate|(?<!attention\.)output\.dense|lin1|lin2")
    attention = re.compile(r"attention|attn")
    names = {name: p.numel() for name, p in model.named_parameters() if p.ndim == 2}
    matched = sum(n for name, n in names.items() if mlp.search(name) and not attention.search(name))
    assert counted.weights(("mlp",)) == matched


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("gpt2-medium", 354_823_168),
        ("gpt2-large", 774_030_080),
        ("gpt2-xl", 1_557_611_200),
        ("llama-2-7b", 6_738_415_616),
        ("llama-3-8b", 8_030_261_248),
    ],
)
def test_presets_have_their_published_sizes(name, parameters):
    assert workload(PRESETS[name]).parameters() == parameters


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"model_type": "llama", **GATED, "vocab_size": -1}, "vocab_size must be at least 1, got -1"),
        ({"model_type": "vit", **VIT, "patch_size": 0}, "patch_size must be at least 1"),
        ({"model_type": "vit", **VIT, "patch_size": [8]}, "patch_size must be one or two positive integers"),
        ({"model_type": "vit", **VIT, "patch_size": 64}, "patch_size must be at most image_size"),
        ({"model_type": "opt", **MODELS["opt"], "word_embed_proj_dim": 8}, "projected embeddings"),
        ({"model_type": "vit", **VIT, "patch_size": [True, 8]}, "patch_size must be one or two positive integers"),
        ({"model_type": "mixtral", **GATED}, "model_type 'mixtral' is not known"),
        ({"model_type": ["bert"], **GATED}, r"model_type \['bert'\] is not known"),
        (GATED, "model_type None is not known"),
    ],
)
def test_wrong_configurations_are_one_line(config, message, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=message) as error:
        shape_of_huggingface(tmp_path / "config.json")
    assert "\n" not in str(error.value)
