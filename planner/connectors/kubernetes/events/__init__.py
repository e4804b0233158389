"""Events on targets: what is said, how often, and that it is told."""
