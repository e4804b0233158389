"""Peers that benchmarks run beside us."""
