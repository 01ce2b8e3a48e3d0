"""The random numbers of one of several runs in a process."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch


class RandomStream:
    """torch's random numbers of one replica, drawn in turn with those of the others."""

    def seed(self, seed: int, device: torch.device) -> None:
        """Start as `SeedEveryEpoch` does for a single run."""
        torch.manual_seed(seed % 2**32)
        self._keep(device)

    @contextlib.contextmanager
    def drawn_from(self, device: torch.device) -> Iterator[None]:
        """Let torch take this stream's next numbers, and keep where it stops."""
        torch.set_rng_state(self.state)
        if device.type != "cpu":
            torch.get_device_module(device).set_rng_state(self.device_state, device)
        yield
        self._keep(device)

    def _keep(self, device: torch.device) -> None:
        self.state = torch.get_rng_state()
        if device.type != "cpu":
            self.device_state = torch.get_device_module(device).get_rng_state(device)
