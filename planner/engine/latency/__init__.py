"""How long a step takes: models of one shape, their fit, and how far each may be believed."""
