import pytest
import torch
from tiny_decoder import tiny_decoder

from volano.core.errors import DataError
from volano.core.records import Message
from volano.core.responder import Responder, Response
from volano.model.generate import generate
from volano.model.huggingface import save_checkpoint
from volano.model.responder import LocalResponder
from volano.text.chat import encode_conversation, encode_prompt
from volano.text.tokenizer import train_tokenizer

QUESTIONS = [[Message("user", text)] for text in ("what is json", "hi", "open a file")]


@pytest.fixture(scope="module")
def responder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoint")
    tokenizer = train_tokenizer(["what is json", "open a file"] * 3, vocabulary=280)
    save_checkpoint(folder, tiny_decoder(vocabulary=tokenizer.vocabulary, context=64), tokenizer)
    return LocalResponder(folder)


def test_answers_are_what_the_model_generates_after_the_rendered_prompt(responder):
    protocol: Responder = responder
    answers = protocol.respond(QUESTIONS, max_tokens=9)
    prompts = [encode_prompt(responder.tokenizer, question) for question in QUESTIONS]
    made = generate(responder.model, prompts, max_new_tokens=9, stop_ids=responder.stop_ids)
    assert answers == [
        Response(responder.tokenizer.decode(each.tokens), len(each.tokens), each.ended)
        for each in made
    ]


def test_answer_stops_where_the_model_ends_its_turn(responder, monkeypatch):
    end = responder.tokenizer.special_id("<|end|>")
    monkeypatch.setattr(
        "volano.model.generate.choose", lambda logits, *rest: torch.full((len(logits),), end)
    )
    assert responder.respond(QUESTIONS[:1], max_tokens=9) == [Response("", 0, True)]


def test_score_is_the_log_probability_of_the_answer_and_the_end_of_its_turn(responder):
    [value] = responder.score([(QUESTIONS[0], "a file")])
    whole = encode_conversation(
        responder.tokenizer, [*QUESTIONS[0], Message("assistant", "a file")]
    )
    ids = torch.tensor([whole.ids])
    with torch.no_grad():
        log_probs = responder.model(ids[:, :-1]).log_softmax(-1)
    picked = log_probs.gather(2, ids[:, 1:, None])[0, :, 0]
    expected = picked[torch.tensor(whole.is_answer[1:])].sum().item()
    assert value == pytest.approx(expected, abs=1e-4)


def test_conversation_longer_than_the_context_is_refused(responder):
    with pytest.raises(DataError, match=r"prompt 1: .* tokens, and the model reads 64"):
        responder.respond([*QUESTIONS[:1], [Message("user", "json " * 100)]], max_tokens=1)


def test_tokenizer_of_another_model_is_refused(tmp_path):
    tokenizer = train_tokenizer(["some text"], vocabulary=270)
    save_checkpoint(tmp_path, tiny_decoder(vocabulary=100), tokenizer)
    with pytest.raises(DataError, match=r"the tokenizer has 26\d ids and the model 100"):
        LocalResponder(tmp_path)
