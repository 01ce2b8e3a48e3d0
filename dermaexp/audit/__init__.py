"""Finds duplicates and leaks between splits: python -m dermaexp.audit."""
