"""Accelerators as IP cores: streams and registers of AXI around them, and the folder that others build with."""
