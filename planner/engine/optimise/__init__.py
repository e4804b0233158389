"""Which requests the next step advances, and by how many tokens, so that it takes no longer than a target.

`decide` is the default: target and schedule in one pure call. `published` holds the inverse optimiser as its authors
describe it, for comparison. Both plan with numbers alone; what enforces a plan inside an engine lives elsewhere.
"""
