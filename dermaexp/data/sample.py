"""A representative part of a split, for runs that are limited to fewer images."""

from __future__ import annotations

import numpy as np

from dermaexp.data.random_split import strata

# Neither the run's seed nor its batch size counts: two runs that use as many images of a split use
# the same images, and their numbers can be compared.
SEED = 0


def spread(labels: np.ndarray, size: int) -> np.ndarray:
    """Indices, in order, of `size` of the images with the `labels` (N,) or indicators (N, L).

    An image with several labels counts to the rarest, one without any to a class of its own. Each
    class gets its share, and at least one image if `size` allows, the largest classes first.
    Within a class the images are spread evenly over the split.
    """
    if size >= len(labels):
        return np.arange(len(labels))
    if labels.ndim == 2:
        labels = strata(labels) + 1
    generator = np.random.default_rng(SEED)
    chosen = []
    for label, taken in enumerate(_allotted(np.bincount(labels), size)):
        images = np.flatnonzero(labels == label)
        if taken:
            places = (np.arange(taken) + generator.random()) * len(images) / taken
            chosen.append(images[places.astype(int)])
    return np.sort(np.concatenate(chosen))


def _allotted(counts: np.ndarray, size: int) -> np.ndarray:
    """The number of images for each class (K,), `size` in all, by the Huntington-Hill method.

    The n-th image of a class ranks with count / sqrt(n (n - 1)), the first before all others.
    """
    # Allotments are nearly in proportion: only images near that decide who gets the last ones.
    near, margin = counts * size // counts.sum(), 2 * len(counts) + 3
    first, last = (near - margin).clip(min=0), np.minimum(near + margin, counts)
    classes = np.repeat(np.arange(len(counts)), last - first)
    before = np.concatenate([np.arange(*ends) for ends in zip(first, last, strict=True)])
    with np.errstate(divide="ignore"):
        rank = counts[classes] / np.sqrt(before * (before + 1.0))
    best = np.lexsort((classes, -counts[classes], -rank))[: size - first.sum()]
    return first + np.bincount(classes[best], minlength=len(counts))
