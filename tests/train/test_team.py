"""What a team does that the proof against one process would not show."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from toy_run import ToyObjective, ToyStream, toy_model

from volano.train.parallel_plan import Plan
from volano.train.pipeline import layers_of
from volano.train.share import Share
from volano.train.sums import Sums
from volano.train.team import Alone, Team


@pytest.fixture
def one_process(tmp_path):
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/meet", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def test_gradients_travel_at_the_last_micro_batch_alone(one_process):
    model = toy_model()
    team = Team(model, Plan(), ToyObjective(dropout=0.0).loss)
    wrapped = DistributedDataParallel(team._learner)
    sent = []

    def count(_state, bucket):
        sent.append(bucket.buffer().numel())
        done = torch.futures.Future()
        done.set_result(bucket.buffer())
        return done

    wrapped.register_comm_hook(None, count)
    team._learner = wrapped
    team.backward(ToyStream().batch(0), 3)
    assert sum(sent) == sum(each.numel() for each in model.parameters())


def test_reader_without_rows_takes_part_and_weighs_nothing(one_process):
    batch = ToyStream(rows=1).batch(0)
    alone, idle = Alone(toy_model(), ToyObjective(dropout=0.0).loss), toy_model()
    expected = alone.backward(batch, 1)
    team = Team(idle, Plan(), ToyObjective(dropout=0.0).loss)
    team.plan, team.reader = Plan(data=2), 1  # the second of two, of a batch of one row
    found = team.backward(batch, 1)
    assert expected["loss"] > 0
    assert found["loss"] == 0
    assert all((each.grad == 0).all() for each in idle.parameters())


@pytest.mark.parametrize(
    ("rows", "accumulate", "parts"), [(3, 2, 1), (5, 3, 2), (8, 3, 3), (1, 2, 1)]
)
def test_readers_of_unequal_rows_take_equally_many_parts(one_process, rows, accumulate, parts):
    # Sharded layers are gathered by all readers together: one with a part more waits for ever.
    batch = ToyStream(rows=rows).batch(0)
    for reader in (0, 1):
        seen = []
        objective = ToyObjective(dropout=0.0)

        def counted(model, part, objective=objective, seen=seen):
            seen.append(len(part.tokens_BT))
            return objective.loss(model, part)

        team = Team(toy_model(), Plan(), counted)
        team.plan, team.reader = Plan(data=2), reader
        team.backward(batch, accumulate)
        assert len(seen) == parts
        assert sum(seen) == max(1, len(np.array_split(range(rows), 2)[reader]))


def test_an_axis_shorter_than_the_mesh_leaves_nothing_for_the_last():
    whole = torch.arange(15.0).view(5, 3)
    parts = []
    for place in range(4):
        mesh = SimpleNamespace(size=lambda: 4, get_local_rank=lambda place=place: place)
        parts.append(Share(mesh, 0, (5, 3)).part(whole))
    assert [len(each) for each in parts] == [2, 2, 1, 0]
    assert torch.equal(torch.cat(parts), whole)


@pytest.mark.parametrize(("layers", "stages"), [(4, 2), (7, 3), (5, 5), (9, 4)])
def test_every_layer_is_in_one_stage(layers, stages):
    ranges = [layers_of(place, stages=stages, layers=layers) for place in range(stages)]
    assert [layer for each in ranges for layer in each] == list(range(layers))
    assert min(map(len, ranges)) >= 1
    assert len(ranges[-1]) == min(map(len, ranges))


def test_means_are_over_labels_and_not_over_micro_batches():
    one, other = Sums(), Sums()
    one.weight, one.totals = 1.0, {"loss": 4.0}
    other.weight, other.totals = 3.0, {"loss": 6.0, "nll": 3.0}
    assert Sums.of([one, other]).means() == {"loss": 2.5, "nll": 0.75}
