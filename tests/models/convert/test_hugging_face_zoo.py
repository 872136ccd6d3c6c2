"""Tiny models of Hugging Face's architectures: every feed-forward part converted exactly, or named with a reason."""

import inspect

import pytest
import torch

import lutra
from lutra.frozen import golden
from own_models import small

transformers = pytest.importorskip("transformers")

SMALL = {
    **dict.fromkeys(("hidden_size", "d_model", "n_embd", "dim", "word_embed_proj_dim"), 32),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers", "num_layers", "encoder_layers", "decoder_layers"), 2),
    **dict.fromkeys(("num_decoder_layers", "num_encoder_layers"), 2),
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "num_heads", "num_key_value_heads"), 4),
    **dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), 4),
    **dict.fromkeys(("intermediate_size", "ffn_dim", "encoder_ffn_dim", "decoder_ffn_dim", "d_ff", "n_inner"), 88),
    **dict.fromkeys(("hidden_dim", "d_inner", "ffn_hidden_size", "moe_intermediate_size"), 88),
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts"), 4),
    **dict.fromkeys(("head_dim", "d_kv", "d_head"), 8),
    **dict.fromkeys(("max_position_embeddings", "n_positions"), 64),
    "num_experts_per_tok": 2, "vocab_size": 99, "embedding_size": 16, "image_size": 32, "patch_size": 8,
    "pad_token_id": 0, "rotary_dim": 4,
}  # fmt: skip
"""Tiny widths under all the names that configurations give them; the feed-forward width, 88, is nowhere else."""

OVERRIDES = {
    "funnel": {"num_hidden_layers": None, "block_sizes": [1, 1], "n_head": 4, "d_inner": 88},
    "gpt_neo": {"attention_types": [[["global"], 2]]},
    "mobilebert": {"true_hidden_size": 16, "intra_bottleneck_size": 16},
    "squeezebert": {"embedding_size": 32},
    "swin": {"window_size": 4, "patch_size": 4, "embed_dim": 16, "depths": [1, 1], "num_heads": [2, 2]},
    "whisper": {"max_source_positions": 20, "num_mel_bins": 8},
    "wav2vec2": {"conv_dim": [16, 16], "conv_kernel": [3, 3], "conv_stride": [2, 2], "num_conv_pos_embeddings": 4,
                 "num_conv_pos_embedding_groups": 2},
    "segformer": {"depths": [1, 1], "num_encoder_blocks": 2, "hidden_sizes": [16, 32], "sr_ratios": [2, 1],
                  "num_attention_heads": [2, 2], "mlp_ratios": [2, 2], "patch_sizes": [7, 3], "strides": [4, 2]},
    "t5": {"feed_forward_proj": "gated-gelu"},
}  # fmt: skip

WEIGHTS = 2 * 2 * 32 * 88  # two layers, up and down
EXPECTED = {
    "gpt2": ("module", WEIGHTS), "gpt_neo": ("module", None), "gptj": ("module", WEIGHTS),
    "gpt_neox": ("module", WEIGHTS), "opt": ("pair", WEIGHTS), "bloom": ("pair", None), "mpt": ("pair", None),
    "falcon": ("module", WEIGHTS), "llama": ("module", 3 * WEIGHTS // 2), "mixtral": ("fused_experts", 6 * WEIGHTS),
    "qwen2_moe": ("fused_experts", None), "gpt_oss": ("fused_experts", 6 * WEIGHTS),
    "phi3": ("module", 3 * WEIGHTS // 2),
    "gemma2": ("module", 3 * WEIGHTS // 2), "rwkv": ("inline", None), "bert": ("pair", WEIGHTS),
    "distilbert": ("module", WEIGHTS), "albert": ("pair", WEIGHTS // 2), "electra": ("pair", WEIGHTS),
    "deberta-v2": ("pair", WEIGHTS), "mobilebert": ("pair", 4 * WEIGHTS // 2), "modernbert": ("module", None),
    "squeezebert": ("pair", None), "xlnet": ("pair", WEIGHTS), "funnel": ("pair", None), "t5": ("module", 3 * WEIGHTS),
    "bart": ("pair", 2 * WEIGHTS), "vit": ("module", WEIGHTS), "swin": ("module", None),
    "clip_vision_model": ("module", WEIGHTS), "whisper": ("pair", 2 * WEIGHTS), "wav2vec2": ("module", WEIGHTS),
}  # fmt: skip
"""By model type: the form that its feed-forward parts are replaced in, and the weights that they hold together."""

NOTHING_TO_FIND = {
    "falcon_mamba", "fastspeech2_conformer", "mamba", "mobilenet_v1", "mobilenet_v2", "resnet", "textnet",
    "vits",
}  # fmt: skip
"""Convolutions over the sequence, or state spaces: no feed-forward part of rows."""


def build(name):
    """A tiny random model of a model type, and an example of its input."""
    kind = transformers.CONFIG_MAPPING[name]
    known = set(inspect.signature(kind.__init__).parameters) | set(vars(kind()))
    values = {key: value for key, value in SMALL.items() if key in known}
    values = {**values, **OVERRIDES.get(name, {})}
    config = kind(**{key: value for key, value in values.items() if value is not None})
    model = transformers.MODEL_MAPPING[kind]
    model = model[0] if isinstance(model, (tuple, list)) else model
    torch.manual_seed(0)
    net = model(config).eval()
    ids = torch.randint(1, 90, (2, 7))
    example = {
        "pixel_values": lambda: {"pixel_values": torch.randn(2, 3, 32, 32)},
        "input_values": lambda: {"input_values": torch.randn(2, 200)},
        "input_features": lambda: {"input_features": torch.randn(2, getattr(config, "num_mel_bins", 80), 40)},
    }.get(net.main_input_name, lambda: {"input_ids": ids})()
    if getattr(config, "is_encoder_decoder", False):
        example["decoder_input_ids"] = ids
    return net, example


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_every_feed_forward_part_is_converted_exactly(name):
    model, example = build(name)
    plan = lutra.find_mlps(model, **example)
    form, weights = EXPECTED[name]
    assert form in {row.form for row in plan.converted}
    assert plan.exact and plan.share_left_dense == 0, str(plan)
    if weights is not None:
        assert plan.feedforward_weights == weights, str(plan)


@pytest.mark.parametrize("name", ["bert", "gpt2", "mixtral"])
def test_a_converted_model_freezes_to_what_it_computes(name):
    model, example = build(name)
    lutra.replace_mlp(model, lutra.find_mlps(model, **example), small())
    lutra.calibrate_(model, example, without_rows="neighbours")
    frozen = lutra.freeze_model(model)
    caught = {}
    for graph in frozen.graphs:
        model.get_submodule(graph.name).register_forward_hook(
            lambda m, i, o, name=graph.name: caught.update({name: (i[0].reshape(-1, 32), o.reshape(-1, 32))})
        )
    with torch.no_grad():
        model(**example)
    assert caught
    for graph in (graph for graph in frozen.graphs if graph.name in caught):
        x, y = (tensor.numpy() for tensor in caught[graph.name])
        expected = golden.dequantise(golden.run(graph, golden.quantise(x, graph.input_type)), graph.output_type)
        assert (expected == y).all()


def test_convolutions_inside_are_named_and_counted():
    model, example = build("segformer")
    plan = lutra.find_mlps(model, strict=False, **example)
    assert plan.converted == () and plan.share_left_dense == 1
    assert all("convolution" in row.reason for row in plan.found) and len(plan.found) == 2


def test_experts_that_run_one_after_the_other_on_split_rows_are_named_and_counted():
    model, example = build("jetmoe")
    plan = lutra.find_mlps(model, strict=False, **example)
    assert plan.converted == () and plan.share_left_dense == 1 and plan.feedforward_weights == 6 * WEIGHTS
    assert len(plan.found) == 2 and all("rows are split" in row.reason for row in plan.found)


@pytest.mark.slow
def test_all_architectures_that_can_be_built_small():
    """At least 200; each is converted exactly or says for every feed-forward part why not."""
    done, problems = [], []
    for name in sorted(transformers.CONFIG_MAPPING.keys()):
        try:
            kind = transformers.CONFIG_MAPPING[name]
            with torch.device("meta"):
                known = set(vars(kind()))
                model = transformers.MODEL_MAPPING[kind]
                model = model[0] if isinstance(model, (tuple, list)) else model
                tiny = kind(**{k: v for k, v in {**SMALL, **OVERRIDES.get(name, {})}.items() if k in known and v})
                if sum(p.numel() for p in model(tiny).parameters()) > 3e7:
                    continue
            net, example = build(name)
            with torch.no_grad():
                net(**example)
        except Exception:  # not to be built or run with these few values
            continue
        plan = lutra.find_mlps(net, strict=False, **example)
        done.append(name)
        if plan.converted and not plan.exact:
            problems.append(f"{name}: not exact")
        problems += [f"{name}: {row.path} without a reason" for row in plan.found if not row.reason]
        if (plan.found == ()) != (name in NOTHING_TO_FIND):
            problems.append(f"{name}: {len(plan.found)} places found")
    assert problems == [] and len(done) >= 200, (len(done), problems)
