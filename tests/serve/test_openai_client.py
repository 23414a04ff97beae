"""OpenAI's own Python package, unchanged, against a real server."""

import openai
import pytest
from clients import client

from volano.core.records import Message
from volano.model.responder import LocalResponder

ASKED = [{"role": "user", "content": "what is json"}]


def test_chat_gives_what_the_checkpoint_answers(serve, checkpoint):
    answer = client(serve()).chat.completions.create(
        model="tiny", messages=ASKED, max_tokens=12, temperature=0
    )
    [expected] = LocalResponder(checkpoint).respond(
        [[Message("user", "what is json")]], max_tokens=12
    )
    assert answer.choices[0].message.content == expected.text
    assert answer.choices[0].finish_reason == ("stop" if expected.ended else "length")
    assert answer.usage.completion_tokens == expected.tokens
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + expected.tokens
    assert answer.model == "tiny"


def test_a_stream_is_the_same_answer_in_pieces(serve):
    asked = {"model": "tiny", "messages": ASKED, "max_tokens": 40, "temperature": 1.0, "seed": 3}
    chat = client(serve()).chat.completions
    whole = chat.create(**asked)
    chunks = list(chat.create(**asked, stream=True, stream_options={"include_usage": True}))
    pieces = [c.choices[0].delta.content or "" for c in chunks if c.choices]
    assert "".join(pieces) == whole.choices[0].message.content
    assert len([piece for piece in pieces if piece]) > 3
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-2].choices[0].finish_reason == whole.choices[0].finish_reason
    assert chunks[-1].usage == whole.usage


def test_equal_seeds_give_equal_answers_and_others_do_not(serve):
    chat = client(serve()).chat.completions

    def answer(seed):
        made = chat.create(model="tiny", messages=ASKED, max_tokens=20, temperature=1.5, seed=seed)
        return made.choices[0].message.content

    assert answer(1) == answer(1)
    assert len({answer(seed) for seed in range(5)}) > 1
    assert len({answer(None) for _ in range(5)}) > 1


def test_stop_strings_end_an_answer_and_are_not_in_it(serve):
    chat = client(serve()).chat.completions
    asked = {"model": "tiny", "messages": ASKED, "max_tokens": 40, "temperature": 0}
    whole = chat.create(**asked).choices[0].message.content
    stop = whole[5:7]
    assert stop
    cut = chat.create(**asked, stop=[stop])
    assert cut.choices[0].message.content == whole[: whole.find(stop)]
    assert cut.choices[0].finish_reason == "stop"
    streamed = chat.create(**asked, stop=stop, stream=True)
    pieces = [chunk.choices[0].delta.content or "" for chunk in streamed]
    assert "".join(pieces) == whole[: whole.find(stop)]


def test_log_probabilities_come_with_their_rivals(serve):
    answer = client(serve()).chat.completions.create(
        model="tiny", messages=ASKED, max_tokens=5, temperature=0, logprobs=True, top_logprobs=3
    )
    content = answer.choices[0].logprobs.content
    assert len(content) == 5
    for token in content:
        assert len(token.top_logprobs) == 3
        assert token.logprob == max(rival.logprob for rival in token.top_logprobs)  # greedy
    spelt = b"".join(bytes(token.bytes) for token in content)
    assert spelt.decode("utf-8", "replace").startswith(answer.choices[0].message.content)


def test_several_answers_differ(serve):
    answer = client(serve()).chat.completions.create(
        model="tiny", messages=ASKED, max_tokens=20, temperature=1.5, seed=1, n=4
    )
    assert len({choice.message.content for choice in answer.choices}) > 1
    assert [choice.index for choice in answer.choices] == [0, 1, 2, 3]


def test_a_text_goes_on(serve):
    completions = client(serve()).completions
    asked = {"model": "tiny", "prompt": "open a", "max_tokens": 10, "temperature": 0}
    whole = completions.create(**asked).choices[0].text
    assert whole
    assert completions.create(**asked, echo=True).choices[0].text == "open a" + whole
    pieces = [chunk.choices[0].text for chunk in completions.create(**asked, stream=True)]
    assert "".join(pieces) == whole


def test_models_are_listed(serve):
    models = client(serve(names=("tiny", "other"))).models
    assert [model.id for model in models.list()] == ["tiny", "other"]
    assert models.retrieve("other").id == "other"


def test_a_bad_key_and_a_bad_model_are_told_apart(serve):
    port = serve(keys=["secret", "other"])
    with pytest.raises(openai.AuthenticationError, match="Wrong key"):
        client(port, "wrong").models.list()
    for key in ("secret", "other"):
        assert client(port, key).models.list()
    with pytest.raises(openai.NotFoundError, match="Did you mean 'tiny'"):
        client(port, "secret").chat.completions.create(model="tinny", messages=ASKED)
