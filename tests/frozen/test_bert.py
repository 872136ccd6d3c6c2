"""Frozen BERTs on disk: whole, checked, and one bit per binary weight."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from frozen_berts import small_config
from lutra.cost.bert import bert_base, size_parts
from lutra.errors import FrozenModelError
from lutra.frozen import store
from lutra.frozen.bert import FrozenBert, layout, unpack


def blank(config):
    """A frozen BERT of the right shapes and no meaning."""
    tensors = {name: np.full(kind.shape, 0x55 if kind.bits else 1, kind.dtype) for name, kind in layout(config).items()}
    return FrozenBert(config, tensors, {"seed": "7"})


BMT, TERNARY = (small_config(quantisation={"method": method}) for method in ("bmt", "ternary"))


@pytest.mark.parametrize("config", [BMT, TERNARY])
def test_what_is_saved_loads_back_equal(tmp_path, config):
    model = blank(config)
    model.save(tmp_path)
    loaded = FrozenBert.load(tmp_path)
    assert (loaded.config, loaded.origin) == (config, {"seed": "7"})
    assert loaded.tensors.keys() == model.tensors.keys()
    for name, tensor in model.tensors.items():
        np.testing.assert_array_equal(loaded.tensors[name], tensor, strict=True)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_codes_unpack_from_the_lowest_bits(bits):
    codes = np.random.default_rng(bits).integers(0, 2**bits, (2, 3, 11), dtype=np.uint8)
    bit_planes = (codes[..., None] >> np.arange(bits)) & 1
    packed = np.packbits(bit_planes.reshape(2, 3, -1).astype(np.uint8), axis=2, bitorder="little")
    expected = 2 * codes.astype(int) - 1 if bits == 1 else codes.astype(int) - 2 ** (bits - 1)
    np.testing.assert_array_equal(unpack(packed, bits, 11), expected)


MINILM_SHAPE = {"layers": 6, "head_width": 32, "width": 384, "heads": 6, "intermediate": 768}


@pytest.mark.parametrize("method", ["bmt", "binary", "bit", "ternary"])
@pytest.mark.parametrize("shape", [{}, MINILM_SHAPE], ids=["bert-base", "minilm"])
def test_size_on_disk_is_the_formula_with_floats_in_half(tmp_path, shape, method):
    config = bert_base(half_width=method != "bit", method=method).model_copy(update=shape)
    blank(config).save(tmp_path)
    on_disk = sum(path.stat().st_size for path in tmp_path.iterdir())
    formula = sum(part.values * min(part.bits, 16) / 8 for part in size_parts(config))
    assert on_disk == pytest.approx(formula, rel=0.05)


def changed(config, name, value):
    model = blank(config)
    model.tensors[name].flat[-1] = value
    return model


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (changed(BMT, "pooler_quantiser.inverse_step", 0), "pooler_quantiser.inverse_step must be positive"),
        (changed(BMT, "classifier.bias", np.inf), "classifier.bias has values beyond the range"),
        (changed(TERNARY, "layers.1.attention.key.codes", 0), "layers.1.attention.key.codes has codes other than"),
        (blank(small_config(width=2049, quantisation={"method": "bmt"})), "width: .* at most 2048"),
        (blank(small_config(quantisation={"method": "q8"})), "8-bit weights and 8-bit activations have no frozen form"),
    ],
)
def test_values_out_of_range_are_named(tmp_path, model, message):
    with pytest.raises(FrozenModelError, match=message):
        model.save(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors: tensors.pop("pooler.bias"), "pooler.bias is missing"),
        (lambda tensors: tensors.update(extra=np.zeros(1)), "extra is unknown"),
        (lambda tensors: tensors.update({"pooler.bias": np.zeros(3)}), r"pooler.bias is float64 \(3,\), not float16"),
    ],
)
def test_tensors_that_do_not_fit_are_named(change, message):
    model = blank(BMT)
    change(model.tensors)
    with pytest.raises(FrozenModelError, match=message):
        model.check()


def test_a_changed_file_is_found_by_the_hash(tmp_path):
    blank(BMT).save(tmp_path)
    path = tmp_path / store.TENSOR_FILE
    tensors = load_file(path)
    tensors["pooler.codes"][0, 0, 0] ^= 1
    save_file(tensors, path)
    with pytest.raises(FrozenModelError, match="content hash differs"):
        FrozenBert.load(tmp_path)


@pytest.mark.parametrize(
    ("structure", "message"),
    [
        ({"origin": {}, "graphs": []}, "is not a BERT"),
        ({"kind": "bert", "origin": {}}, "not a frozen BERT"),
        ({"kind": "bert", "origin": {}, "bert": {"layers": 0}}, "not a frozen BERT"),
    ],
)
def test_other_frozen_models_are_refused(tmp_path, structure, message):
    store.write_files(tmp_path, structure, {"x": np.zeros(1)})
    with pytest.raises(FrozenModelError, match=message):
        FrozenBert.load(tmp_path)


def test_a_bert_is_not_taken_for_a_list_of_graphs(tmp_path):
    blank(BMT).save(tmp_path)
    with pytest.raises(FrozenModelError, match="not a frozen model"):
        store.load(tmp_path)
    assert json.loads((tmp_path / store.MODEL_FILE).read_text())["kind"] == "bert"


def test_the_specification_names_every_tensor():
    text = (store.Path(store.__file__).parent / "spec.md").read_text()
    tensors = text[text.index("### Tensors") :]
    for name in layout(BMT):
        assert f"{name.rsplit('.', 1)[1]}`" in tensors, f"spec.md does not describe {name}"
