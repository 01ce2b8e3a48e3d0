"""Many runs, one comparison: python -m dermaexp.compare."""
