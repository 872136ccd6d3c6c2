"""Whole transformers of random contents, under the name by which tests know them."""

from lutra.frozen.random_transformer import INT8, STREAM, Feedforward, random_gpt, random_vit

__all__ = ["INT8", "STREAM", "Feedforward", "random_gpt", "random_vit"]
