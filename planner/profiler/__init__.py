"""Getting, keeping and showing profiles: the files and formats around `planner.scaling.profile`."""
