import json
from types import SimpleNamespace

import pytest
import torch

from volano.cli.notes import notes
from volano.core.errors import DataError, RecipeError
from volano.core.origin import keep_origin, origin_of
from volano.core.records import Message
from volano.core.step import Context
from volano.model.decoder import Decoder, DecoderConfig, initialise
from volano.model.huggingface import load_checkpoint, save_checkpoint
from volano.pretrain.section import ImportSection
from volano.pretrain.step import IMPORT
from volano.text.chat import SPECIAL_TOKENS, encode_prompt
from volano.text.tokenizer import Tokenizer, train_tokenizer


@pytest.fixture
def foreign(tmp_path):
    """A checkpoint whose tokenizer knows none of our roles."""
    folder = tmp_path / "foreign"
    tokenizer = train_tokenizer(["abc abc"] * 9, vocabulary=262)
    tokenizer.save(folder)
    saved = json.loads((folder / "tokenizer.json").read_text())
    renamed = {token: f"<other{place}>" for place, token in enumerate(SPECIAL_TOKENS)}
    for each in saved["added_tokens"]:
        each["content"] = renamed[each["content"]]
    vocabulary = saved["model"]["vocab"]
    saved["model"]["vocab"] = {renamed.get(token, token): i for token, i in vocabulary.items()}
    model = Decoder(
        DecoderConfig(
            vocabulary=len(vocabulary),
            width=16,
            layers=1,
            heads=2,
            key_value_heads=2,
            feed_forward=32,
            context=8,
        )
    )
    initialise(model, seed=0)
    save_checkpoint(folder, model)
    (folder / "tokenizer.json").write_text(json.dumps(saved))
    return folder


CHATML = (
    "{% for message in messages %}{{ message['role'] + ': ' + message['content'] + '<other1>' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
)


def given_a_chat(folder, template):
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps({"chat_template": template, "eos_token": "<other0>"}))


def run(path, out, chat="kept"):
    out.mkdir()
    section = ImportSection.of(f"hf:{path}", chat)
    context = Context(out, out / "scratch", seed=0, silent=True, listing=IMPORT.scan(section))
    IMPORT.run(section, {}, context)
    return context


def test_imported_checkpoint_gives_the_logits_it_gave_and_can_chat(foreign, tmp_path):
    context = run(foreign, tmp_path / "base")
    before, after = load_checkpoint(foreign), load_checkpoint(tmp_path / "base")
    old = before.config.vocabulary
    tokens = torch.randint(0, old, (2, 8))
    with torch.no_grad():
        assert torch.equal(before(tokens), after(tokens)[..., :old])
    tokenizer = Tokenizer.load(tmp_path / "base")
    assert after.config.vocabulary == tokenizer.vocabulary == old + len(SPECIAL_TOKENS)
    assert encode_prompt(tokenizer, [Message("user", "abc")])[0] >= old
    assert context.bill["added_tokens"] == len(SPECIAL_TOKENS)


def test_added_tokens_begin_at_the_mean_of_all_embeddings(foreign, tmp_path):
    run(foreign, tmp_path / "base")
    weight = load_checkpoint(tmp_path / "base").head_weight
    old = load_checkpoint(foreign).head_weight
    torch.testing.assert_close(weight[-1], old.mean(0))


def test_a_checkpoint_keeps_the_chat_it_came_with_unless_ours_is_asked_for(foreign, tmp_path):
    given_a_chat(foreign, CHATML)
    kept = run(foreign, tmp_path / "kept")
    tokenizer = Tokenizer.load(tmp_path / "kept")
    assert kept.bill["added_tokens"] == 0
    assert tokenizer.decode(encode_prompt(tokenizer, [Message("user", "abc")])) == (
        "user: abcassistant: "
    )
    stops = json.loads((tmp_path / "kept" / "generation_config.json").read_text())["eos_token_id"]
    assert stops == sorted(tokenizer.stop_ids)
    assert len(stops) == 2
    ours = run(foreign, tmp_path / "ours", chat="ours")
    assert ours.bill["added_tokens"] == len(SPECIAL_TOKENS)
    assert not Tokenizer.load(tmp_path / "ours").keeps_its_chat


def test_rows_that_the_tokenizer_is_beyond_are_told_and_a_chat_of_ours_is_not(foreign, tmp_path):
    def told(context):
        return notes(SimpleNamespace(kind="checkpoint", bill=lambda: context.bill))

    assert told(run(foreign, tmp_path / "fits")) == []
    longer = train_tokenizer(["some more words, abc abc"] * 9, vocabulary=270)
    assert longer.vocabulary == 270
    longer.save(foreign)
    context = run(foreign, tmp_path / "more")
    assert load_checkpoint(tmp_path / "more").config.vocabulary == 270
    [line] = told(context)
    assert line.startswith("its tokenizer has 270 tokens and its model 262 rows, so 8 rows were")
    for rows, lines in ((270 * 4 // 3, 0), (270 * 4 // 3 + 1, 1)):  # padded, and too far
        context.bill["model_rows"] = rows
        assert len(told(context)) == lines


@pytest.mark.parametrize(
    ("card", "stated"),
    [
        ("---\nlicense: apache-2.0\nmodel_name: Little\n---\n# Little\n",
         {"name": "Little", "licence": "apache-2.0"}),
        ("---\nlicense: other\nlicense_name: gemma\n---\n", {"licence": "gemma"}),
        ("# no head\n", {"licence": None}),
        ("---\n- [\n---\n", {"licence": None}),
    ],
)  # fmt: skip
def test_what_a_card_states_stays_beside_the_model_and_those_made_of_it(
    foreign, tmp_path, card, stated
):
    (foreign / "README.md").write_text(card)
    run(foreign, tmp_path / "base")
    assert origin_of(tmp_path / "base") == {"file": "foreign", **stated}
    (tmp_path / "next").mkdir()
    keep_origin(tmp_path / "base", tmp_path / "next")
    assert origin_of(tmp_path / "next") == origin_of(tmp_path / "base")


def test_a_chat_of_no_known_kind_is_refused(foreign, tmp_path):
    given_a_chat(foreign, "{{ messages | length }}")
    with pytest.raises(DataError, match="the chat template is of no known kind"):
        run(foreign, tmp_path / "base")


def test_tokenizer_without_chat_tokens_is_refused_until_imported(foreign):
    with pytest.raises(DataError, match="the tokenizer has no token"):
        _ = Tokenizer.load(foreign).end_of_text_id


def test_changed_weights_are_another_listing(foreign):
    section = ImportSection.of(f"hf:{foreign}")
    before = IMPORT.scan(section).digest()
    assert IMPORT.scan(section).digest() == before
    (foreign / "config.json").write_text((foreign / "config.json").read_text() + " ")
    assert IMPORT.scan(section).digest() != before


def test_folder_without_a_checkpoint_is_refused(tmp_path):
    with pytest.raises(DataError, match="no checkpoint here"):
        IMPORT.scan(ImportSection.of(f"hf:{tmp_path}"))


@pytest.mark.parametrize("base", ["ggml:x", "path", "hf:", "gguf:"])
def test_other_forms_of_base_are_refused(base):
    with pytest.raises(RecipeError, match=r"Write it as hf:PATH, a folder, or as gguf:PATH"):
        ImportSection.of(base)


@pytest.mark.parametrize("tied", [True, False])
def test_added_tokens_in_a_padded_vocabulary_begin_at_the_mean_of_real_tokens(
    foreign, tmp_path, tied
):
    known = Tokenizer.load(foreign).vocabulary
    shape = {"width": 16, "layers": 1, "heads": 2, "key_value_heads": 2, "feed_forward": 32}
    model = Decoder(DecoderConfig(vocabulary=known + 64, context=8, tied=tied, **shape))
    initialise(model, seed=0)
    with torch.no_grad():
        model.head_weight[known:] = 7.0
    save_checkpoint(foreign, model)
    run(foreign, tmp_path / "base")
    weight = load_checkpoint(tmp_path / "base").head_weight
    mean = model.head_weight[:known].mean(0)
    assert len(weight) == known + 64
    for token in SPECIAL_TOKENS:
        row = weight[Tokenizer.load(tmp_path / "base").special_id(token)]
        torch.testing.assert_close(row, mean)
    assert bool((weight[-1] == 7.0).all())


def test_a_changed_map_of_special_tokens_is_another_listing(foreign):
    section = ImportSection.of(f"hf:{foreign}")
    before = IMPORT.scan(section).digest()
    (foreign / "special_tokens_map.json").write_text("{}")
    assert IMPORT.scan(section).digest() != before
