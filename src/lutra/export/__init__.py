"""Frozen graphs in formats of others."""
