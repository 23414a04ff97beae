import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from tiny_decoder import tiny_decoder

from volano.core.errors import DataError
from volano.model.generate import generate
from volano.model.slots import Full, SlotEngine

STOP = 7


class Asked:
    """A request's tokens and ending, as they came."""

    def __init__(self, engine, prompt, **settings):
        self.tokens, self.endings, self.done = [], [], threading.Event()
        self.first = threading.Event()
        self.ticket = engine.submit(
            prompt, on_token=self._token, on_end=self._end, **{"max_new_tokens": 20} | settings
        )

    def _token(self, token):
        self.tokens.append(token)
        self.first.set()

    def _end(self, ending):
        self.endings.append(ending)
        self.done.set()

    def wait(self):
        assert self.done.wait(30)
        assert len(self.endings) == 1
        return [token.id for token in self.tokens], self.endings[0].reason


def long_decoder():
    return tiny_decoder(context=4096)


@pytest.fixture
def engine():
    made = SlotEngine(tiny_decoder, slots=3)
    yield made
    made.close()


def prompts(count, longest=25):
    draw = random.Random(1)
    return [[draw.randrange(50) for _ in range(draw.randint(1, longest))] for _ in range(count)]


@pytest.mark.parametrize(
    "settings", [{}, {"temperature": 0.9, "seed": 5}, {"temperature": 1.3, "top_p": 0.6, "seed": 2}]
)
def test_tokens_are_those_of_generate_whatever_shares_the_batch(engine, settings):
    asked = [Asked(engine, prompt, stop_ids=[STOP], **settings) for prompt in prompts(20)]
    found = [each.wait() for each in asked]
    for prompt, (tokens, reason) in zip(prompts(20), found, strict=True):
        (alone,) = generate(
            tiny_decoder(), [prompt], max_new_tokens=20, stop_ids=[STOP], **settings
        )
        assert tokens == alone.tokens
        assert reason == ("stop" if alone.ended else "length")
    assert len({tuple(tokens) for tokens, _ in found}) > 10  # they do differ


def test_greedy_and_sampled_requests_share_a_step(engine):
    kinds = [{}, {"temperature": 1.0, "seed": 3}, {"temperature": 1.0, "top_p": 0.5, "seed": 3}]
    asked = [
        (prompt, kind, Asked(engine, prompt, **kind))
        for prompt, kind in zip(prompts(12), kinds * 4, strict=True)
    ]
    for prompt, kind, each in asked:
        (alone,) = generate(tiny_decoder(), [prompt], max_new_tokens=20, **kind)
        assert each.wait()[0] == alone.tokens


def test_a_cancelled_request_gives_its_slot_back_and_changes_no_other(engine):
    slow = [Asked(engine, prompt, max_new_tokens=10_000) for prompt in prompts(3, longest=2)]
    queued = Asked(engine, [1, 2, 3])
    slow[0].ticket.cancel()
    assert slow[0].wait()[1] in {"cancelled", "length"}
    assert queued.wait()[0] == generate(tiny_decoder(), [[1, 2, 3]], max_new_tokens=20)[0].tokens
    for prompt, each in zip(prompts(3, longest=2)[1:], slow[1:], strict=True):
        (alone,) = generate(tiny_decoder(), [prompt], max_new_tokens=10_000)
        assert each.wait()[0] == alone.tokens


def test_an_answer_stops_where_the_context_is_full(engine):
    tokens, reason = Asked(engine, [1] * 30, max_new_tokens=20).wait()
    assert (len(tokens), reason) == (2, "length")


@pytest.mark.parametrize("prompt", [[], [1] * 32])
def test_a_prompt_without_room_is_refused_at_once(engine, prompt):
    with pytest.raises(DataError):
        Asked(engine, prompt)


def test_log_probabilities_are_of_the_chosen_token_and_the_likeliest(engine):
    asked = Asked(engine, [1, 2, 3], top_log_probs=4, max_new_tokens=3)
    asked.wait()
    model = tiny_decoder()
    with torch.no_grad():
        logits_V = model(torch.tensor([[1, 2, 3]]))[0, -1]
    expected = logits_V.log_softmax(-1)
    first = asked.tokens[0]
    assert first.log_prob == pytest.approx(float(expected[first.id]), abs=1e-4)
    assert [name for name, _ in first.top] == expected.topk(4).indices.tolist()
    assert first.top[0][0] == first.id  # greedy


@pytest.fixture
def full():
    """An engine with one slot, which is taken, and two places to wait; and who has the slot."""
    engine = SlotEngine(long_decoder, slots=1, waiting=2)
    running = Asked(engine, [1], max_new_tokens=4000)
    assert running.first.wait(30)
    yield engine, running
    engine.close()


def test_more_than_may_wait_are_refused(full):
    engine, running = full
    waiting = [Asked(engine, [2], max_new_tokens=1) for _ in range(2)]
    with pytest.raises(Full):
        Asked(engine, [3])
    running.ticket.cancel()
    for each in waiting:
        each.wait()


def test_who_hung_up_while_waiting_leaves_the_place_to_others(full):
    engine, running = full
    gone = [Asked(engine, [2], max_new_tokens=1) for _ in range(2)]
    for each in gone:
        each.ticket.cancel()
    waiting = [Asked(engine, [3], max_new_tokens=1) for _ in range(2)]
    assert [each.wait()[1] for each in gone] == ["cancelled", "cancelled"]
    with pytest.raises(Full):
        Asked(engine, [4])
    running.ticket.cancel()
    assert [each.wait()[1] for each in waiting] == ["length", "length"]


def test_a_failing_step_fails_its_requests_and_the_engine_goes_on(engine, monkeypatch):
    hidden = engine.model.hidden

    def broken(*arguments, **more):
        monkeypatch.setattr(engine.model, "hidden", hidden)
        raise RuntimeError("out of memory")

    monkeypatch.setattr(engine.model, "hidden", broken)
    failed = Asked(engine, [1, 2])
    assert failed.wait()[1] == "failed"
    assert "out of memory" in failed.endings[0].error
    assert Asked(engine, [1, 2]).wait()[1] == "length"


def test_closing_cancels_what_runs_and_waits():
    engine = SlotEngine(long_decoder, slots=1)
    running = Asked(engine, [1], max_new_tokens=4000)
    waiting = Asked(engine, [2])
    assert running.first.wait(30)
    begun = time.monotonic()
    engine.close()
    assert time.monotonic() - begun < 5
    assert (running.wait()[1], waiting.wait()[1]) == ("cancelled", "cancelled")


def test_engines_share_the_thread_that_they_are_given_and_load_in_it():
    threads = []

    def load():
        threads.append(threading.current_thread())
        return tiny_decoder()

    with ThreadPoolExecutor(1) as compute:
        engines = [SlotEngine(load, slots=2, compute=compute) for _ in range(2)]
        asked = [Asked(engines[place % 2], prompt) for place, prompt in enumerate(prompts(8))]
        for prompt, each in zip(prompts(8), asked, strict=True):
            (alone,) = generate(tiny_decoder(), [prompt], max_new_tokens=20)
            assert each.wait()[0] == alone.tokens
        engines[0].close()
        assert Asked(engines[1], [1, 2]).wait()[1] == "length"
        engines[1].close()
        assert compute.submit(threading.current_thread).result() is threads[0] is threads[1]
    with pytest.raises(DataError, match="closed"):
        Asked(engines[0], [1, 2])


def test_what_loading_raises_is_raised_to_who_asked_and_leaves_no_thread():
    def load():
        raise DataError("damaged", "model.safetensors", "Copy it again.")

    before = threading.active_count()
    with pytest.raises(DataError, match="damaged"):
        SlotEngine(load)
    assert threading.active_count() == before


def test_a_slot_holds_as_many_tokens_as_are_asked_for_and_no_more():
    engine = SlotEngine(tiny_decoder, slots=2, context=12)
    try:
        assert engine.context == engine._cache.keys.shape[3] == 12
        made, reason = Asked(engine, [1, 2, 3, 4], stop_ids=()).wait()
        assert (len(made), reason) == (8, "length")
        whole = generate(engine.model, [[1, 2, 3, 4]], max_new_tokens=8)
        assert made == whole[0].tokens
        with pytest.raises(DataError, match="12 tokens, and the model reads 12"):
            Asked(engine, [1] * 12)
    finally:
        engine.close()


def test_a_long_context_is_not_taken_whole_unless_asked_for():
    for asked, held in ((0, 2048), (4096, 4096)):
        engine = SlotEngine(long_decoder, slots=1, context=asked)
        assert engine.context == held
        engine.close()
    with pytest.raises(
        DataError, match=r"4,097 tokens are more than the model reads\. Set at most"
    ):
        SlotEngine(long_decoder, slots=1, context=4097)
