"""Healing of a pretrained model that was converted: a fitted start, then gradients against the original."""
