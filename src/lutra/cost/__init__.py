"""Cycles and energy: workloads, technology, and what a layer or a whole model costs."""
