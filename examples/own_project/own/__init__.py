"""What experiment=shapes is made of."""
