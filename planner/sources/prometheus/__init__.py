"""Metrics from a Prometheus: what to ask, how to ask it, and what the answers mean."""
