"""The replica loop's pure core: from metric samples to a plan of replicas, with reasons.

No I/O, no clock, no environment: time is an argument, everything else is a value. The same code runs live,
in replay and in simulation.
"""
