"""Leaks between splits: python -m dermaexp.audit."""
