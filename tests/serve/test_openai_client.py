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


@pytest.mark.parametrize("obfuscation", [True, False])
@pytest.mark.parametrize("asked", [{"messages": ASKED}, {"prompt": "open a"}])
def test_only_the_last_chunk_has_the_usage_and_the_others_say_so(serve, asked, obfuscation):
    opened = client(serve())
    create = (opened.chat.completions if "messages" in asked else opened.completions).create
    asked = {"model": "tiny", "max_tokens": 8, "temperature": 0, "stream": True, **asked}
    options = {"include_obfuscation": obfuscation}
    bare = [chunk.to_dict() for chunk in create(**asked, stream_options=options)]
    assert not any("usage" in chunk for chunk in bare)
    options["include_usage"] = True
    *chunks, last = [chunk.to_dict() for chunk in create(**asked, stream_options=options)]
    assert len(chunks) == len(bare) > 2
    assert [chunk["usage"] for chunk in chunks] == [None] * len(chunks)
    assert last["usage"]["completion_tokens"] == 8
    assert last["choices"] == []


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


def in_pieces(create, asked):
    """The text, tokens and offsets of a streamed answer."""
    text, tokens, offsets = "", [], []
    for chunk in create(**asked, stream=True):
        (choice,) = chunk.choices
        text += choice.text
        if choice.logprobs is not None:
            tokens += choice.logprobs.tokens
            offsets += choice.logprobs.text_offset
    return text, tokens, offsets


@pytest.mark.parametrize("seed", range(3))
def test_log_probabilities_are_of_the_tokens_that_make_the_text_streamed_or_not(serve, seed):
    create = client(serve()).completions.create
    asked = {"model": "tiny", "prompt": "open a", "max_tokens": 24, "seed": seed, "logprobs": 1}
    whole = create(**asked).choices[0]
    offsets = whole.logprobs.text_offset
    stops = [whole.text[place : place + 2] for place in range(0, len(whole.text) - 1, 2)]
    assert len(stops) > 5
    for more in ({}, *({"stop": each} for each in stops), {"stop": whole.text[-1] + "\x00"}):
        found = create(**asked, **more).choices[0]
        kept = (found.text, found.logprobs.tokens, found.logprobs.text_offset)
        assert in_pieces(create, asked | more) == kept
        # Neither the token that only makes the stop string, nor one of those behind it.
        begun = [each for each in offsets if each < len(found.text)]
        assert found.logprobs.text_offset == begun
        assert found.logprobs.tokens == whole.logprobs.tokens[: len(begun)]


def test_a_chats_log_probabilities_end_with_its_text_too(serve):
    chat = client(serve()).chat.completions
    asked = {"model": "tiny", "messages": ASKED, "max_tokens": 40, "temperature": 0}
    whole = chat.create(**asked).choices[0].message.content
    asked |= {"logprobs": True, "stop": whole[5:8]}
    cut = chat.create(**asked).choices[0]
    tokens = [each.token for each in cut.logprobs.content]
    assert len("".join(tokens[:-1])) < len(cut.message.content) <= len("".join(tokens))
    chunks = [chunk.choices[0] for chunk in chat.create(**asked, stream=True)]
    streamed = [each for choice in chunks if choice.logprobs for each in choice.logprobs.content]
    assert streamed == cut.logprobs.content


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


@pytest.mark.parametrize("more", [{}, {"stop_at_once": True}])
def test_an_echo_is_streamed_as_it_is_given_whole(serve, more):
    create = client(serve()).completions.create
    asked = {"model": "tiny", "prompt": "open a", "max_tokens": 10, "temperature": 0}
    if more:  # an answer without text
        asked["stop"] = create(**asked).choices[0].text[0]
    asked["echo"] = True
    pieces = [chunk.choices[0].text for chunk in create(**asked, stream=True)]
    assert "".join(pieces) == create(**asked).choices[0].text
    assert pieces[0] == "open a"


@pytest.mark.parametrize("choices", [1, 3])
def test_usage_counts_every_prompt_once(serve, choices):
    create = client(serve()).completions.create
    asked = {"model": "tiny", "max_tokens": 3, "temperature": 0, "n": choices}
    prompts = ["open a file", "x"]
    each = [create(**asked, prompt=prompt).usage for prompt in prompts]
    both = create(**asked, prompt=prompts).usage
    assert both.prompt_tokens == sum(usage.prompt_tokens for usage in each)
    assert both.completion_tokens == sum(usage.completion_tokens for usage in each)
    assert both.total_tokens == sum(usage.total_tokens for usage in each)


def test_models_are_listed(serve, checkpoint):
    models = client(serve(names=("tiny", "other"))).models
    assert [model.id for model in models.list()] == ["tiny", "other"]
    assert models.retrieve("other").id == "other"
    written = (checkpoint / "config.json").stat().st_mtime
    assert [model.created for model in models.list()] == [int(written)] * 2


def test_a_bad_key_and_a_bad_model_are_told_apart(serve):
    port = serve(keys=["secret", "other"])
    with pytest.raises(openai.AuthenticationError, match="Wrong key"):
        client(port, "wrong").models.list()
    for key in ("secret", "other"):
        assert client(port, key).models.list()
    with pytest.raises(openai.NotFoundError, match="Did you mean 'tiny'"):
        client(port, "secret").chat.completions.create(model="tinny", messages=ASKED)
