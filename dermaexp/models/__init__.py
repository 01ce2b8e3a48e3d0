"""Models: plain modules from (N, C, H, W) float images to (N, classes) logits."""
