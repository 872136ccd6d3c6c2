"""The transformer machine as an IP core: packets of tokens or images in, packets of logits out, registers beside."""
