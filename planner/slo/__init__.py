"""The vocabulary that all three loops share: targets, request lifecycle, attainment, windows, sketches.

Standard library only, so that it can be imported inside an inference engine.
"""
