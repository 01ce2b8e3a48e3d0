"""One run's figures and page: python -m dermaexp.report."""
