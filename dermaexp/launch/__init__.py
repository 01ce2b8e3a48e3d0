"""Hydra's side: jobs, sweeps, resume, search, validation of configs."""
