"""Activations made again for the way back: less is kept, and nothing else changes."""

import torch
from toy_run import ToyStream, toy_model, toy_train, weights_of

from volano.model.likelihood import mean_nll


def test_recomputed_activations_give_the_same_bytes(tmp_path):
    kept, one = toy_train(tmp_path / "kept", stream=ToyStream(steps=4))
    again, other = toy_train(
        tmp_path / "again", stream=ToyStream(steps=4), activations="recomputed"
    )
    assert weights_of(again) == weights_of(kept)
    assert other.metrics.equals(one.metrics)
    assert not again.recompute  # for whoever trains it next


def test_recomputed_activations_hold_less_for_the_way_back():
    def bytes_held(recompute):
        model = toy_model()
        model.recompute = recompute
        batch = ToyStream(rows=64).batch(0)
        held = {}

        def pack(tensor):
            held[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            hidden = model.hidden(torch.from_numpy(batch.tokens_BT))
            mean_nll(hidden, model.head_weight, torch.from_numpy(batch.labels_BT))
        return sum(held.values())

    assert bytes_held(True) < bytes_held(False) / 2
