"""The shares of a joint checkpoint."""

from __future__ import annotations

import torch

from dermaexp.training.replica_files import split


def test_what_a_model_keeps_beside_tensors_is_in_its_share() -> None:
    weights = torch.rand(2, 3)
    state = {f"classifiers.{number}.net.weight": weights[number] for number in range(2)}
    extra = {f"classifiers.{number}.net._extra_state": {"side": number} for number in range(2)}
    optimizer = {"state": {}, "param_groups": [{"lr": 0.1, "params": [0]}]}
    joint = {"state_dict": state | extra, "optimizer_states": [optimizer]}
    own = split(joint, 1, 2, stacked=True)["state_dict"]
    assert own.keys() == {"net.weight", "net._extra_state"}
    assert own["net._extra_state"] == {"side": 1}
    assert torch.equal(own["net.weight"], weights[1])
    assert own["net.weight"].untyped_storage().nbytes() == weights[1].nbytes
