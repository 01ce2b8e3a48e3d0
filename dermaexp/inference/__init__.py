"""A finished run, used: its model and its data, rebuilt from the run directory alone."""
