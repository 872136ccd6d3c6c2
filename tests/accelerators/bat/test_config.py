"""BAT's configuration: what it takes, and that each refusal says what and why on one line."""

from dataclasses import replace

import pytest

from lutra.accelerators.bat.config import PAPER, PAPER_MHA, BatConfig, ModuleConfig, check_model, config_for
from lutra.errors import InputError
from lutra.recipes.bert_config import BertConfig

HALF_WIDTH_BERT = BertConfig.model_validate(
    {"heads": 6, "intermediate": 1536, "activation": "relu", "quantisation": {"method": "bmt"}}
)


def test_the_papers_point_is_that_of_its_section_6_3():
    chosen = [(m.p_dpu, m.p_quan, m.p_vu, m.p_ln, m.p_softmax) for m in PAPER.modules]
    assert chosen == [(16, 128, 32, 8, 4), (16, 128, 96, 8, 4)]
    assert (PAPER.max_attention_width, PAPER.max_intermediate, PAPER.activation_bits) == (384, 1536, 4)
    assert config_for(HALF_WIDTH_BERT, PAPER.modules) == PAPER


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_sums_have_room_for_the_largest_products(bits):
    config = replace(PAPER, activation_bits=bits)
    low, high = (-1, 1) if bits == 1 else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    unsigned = 2**bits - 1
    extremes = [768 * low, 768 * -low, 1536 * unsigned, 64 * low * low, 64 * low * high, 128 * unsigned * low]
    assert all(-(2 ** (config.sum_bits - 1)) <= each < 2 ** (config.sum_bits - 1) for each in extremes)
    assert not all(-(2 ** (config.sum_bits - 2)) <= each < 2 ** (config.sum_bits - 2) for each in extremes)


def test_a_configuration_survives_its_mapping():
    assert BatConfig.from_mapping(PAPER.to_mapping()) == PAPER
    assert BatConfig.from_mapping({"modules": [{"p_dpu": 16, "p_quan": 128, "p_vu": 32, "p_ln": 8}]}).feed_forward == (
        PAPER_MHA
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"p_dpu": 0}, "p_dpu must be an integer from 1 to 128, got 0"),
        ({"p_vu": 1.5}, "p_vu must be an integer"),
        ({"p_pe": 12, "p_quan": 4}, "p_pe must be a multiple of 8"),
        ({"p_pe": 96}, "p_quan must divide p_pe"),
    ],
)
def test_wrong_parallelisms_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        replace(PAPER_MHA, **change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"activation_bits": 3}, r"activation_bits must be in \[1, 2, 4, 8\], got 3"),
        ({"modules": ()}, "one or two modules, got 0"),
        ({"sums": "tree"}, 'sums must be "count" or "pe"'),
        ({"positions": 1000}, "positions must be an integer from 1 to 512"),
        ({"heads": 64, "head_width": 64}, r"heads \* head_width must be at most 2048"),
        ({"head_width": 48, "heads": 8}, "p_pe 128 and head_width 48"),
        ({"heads": 3, "head_width": 32, "modules": (replace(PAPER_MHA, p_vu=64),)}, "multiple of the common divisor"),
        ({"memory_bytes_per_beat": 8}, "memory_bytes_per_beat must be 16"),
        ({"clock_hz": "fast"}, "clock_hz must be from 1e6"),
    ],
)
def test_wrong_configurations_are_refused(change, message):
    with pytest.raises(InputError, match=message) as refusal:
        replace(PAPER, **change)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({}, "modules must be a list"),
        ({"modules": [{"p_dpu": 16}]}, "p_quan is missing"),
        ({"modules": [PAPER.to_mapping()["modules"][0]], "speed": 1}, "unknown setting 'speed'"),
        ({"modules": [PAPER.to_mapping()["modules"][0]], "x" * 10_000: 1}, "unknown setting 'xxx"),
        ({"modules": [PAPER.to_mapping()["modules"][0] | {"p_dpu": "\r" + "x" * 10_000}]}, "p_dpu"),
    ],
)
def test_wrong_mappings_are_refused(mapping, message):
    with pytest.raises(InputError, match=message) as caught:
        BatConfig.from_mapping(mapping)
    assert len(str(caught.value)) < 1000 and str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"activation": "gelu"}, "activation gelu"),
        ({"quantisation": {"method": "ternary"}}, "2-bit weights"),
        ({"quantisation": {"method": "bmt", "activation_bits": 2}}, "the model has 2"),
        ({"width": 1024}, "width 1024 of the model exceeds the configured 768"),
        ({"heads": 12, "head_width": 32}, "heads 12"),
        ({"heads": 3, "head_width": 32}, "configured for heads of 64"),
    ],
)
def test_models_that_do_not_fit_are_refused(change, message):
    model = BertConfig.model_validate({**HALF_WIDTH_BERT.model_dump(), **change})
    with pytest.raises(InputError, match=message):
        check_model(PAPER, model)


def test_a_sentence_longer_than_the_buffers_is_refused():
    check_model(PAPER, HALF_WIDTH_BERT, tokens=128)
    with pytest.raises(InputError, match="129 tokens does not fit buffers for 128"):
        check_model(PAPER, HALF_WIDTH_BERT, tokens=129)


def test_lanes_that_do_not_divide_are_allowed_where_nothing_spans_two_words():
    assert ModuleConfig(p_dpu=48, p_quan=32, p_vu=96, p_ln=16, p_pe=96).p_pe == 96
