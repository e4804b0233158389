"""Recorded series through the real tick: what would have been decided, and why, without a fleet."""
