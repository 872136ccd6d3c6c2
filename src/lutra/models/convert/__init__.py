"""Conversion of models from outside: find their feed-forward parts by what they do, and put weightless blocks there."""
