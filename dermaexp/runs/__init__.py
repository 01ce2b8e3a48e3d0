"""The run directory: its files, provenance, finding runs."""
