"""BAT as an IP core: masters of AXI4 for its memory, registers beside."""
