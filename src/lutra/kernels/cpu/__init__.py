"""The weightless block on a CPU: C++ kernels, compiled on first use for the instruction set of this machine."""
