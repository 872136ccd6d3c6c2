"""The weightless block on a GPU: Triton kernels, and the operator that launches them.

Tested in Triton's interpreter and compiled for an NVIDIA GPU; never timed on one.
"""
