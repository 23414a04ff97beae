import json

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st

from volano.core.errors import DataError
from volano.text.chat import SPECIAL_TOKENS
from volano.text.tokenizer import Tokenizer, train_tokenizer

TEXTS = [
    "json.dumps(obj, *, skipkeys=False)\n\nSerialise obj to a JSON formatted string.\n",
    "pandas.read_csv(path)\n\nRead a table of comma separated values into a DataFrame.\n",
    "def readCsv(path):\n    return HTTPServer(path, port=8080)\n",
] * 20


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(TEXTS, vocabulary=420)


@given(st.text())
def test_decoding_gives_back_any_text(tokenizer, text):
    assert tokenizer.decode(tokenizer.encode(text)) == text


@given(st.text())
def test_byte_lengths_of_its_tokens_add_up_to_the_text(tokenizer, text):
    lengths = tokenizer.byte_lengths()
    assert sum(lengths[each] for each in tokenizer.encode(text)) == len(text.encode())
    assert all(lengths[tokenizer.special_id(each)] == 0 for each in SPECIAL_TOKENS)


def test_a_token_that_is_added_and_not_special_has_the_bytes_of_its_text():
    inner = train_tokenizer(TEXTS, vocabulary=300)._inner
    inner.add_tokens(["café|"])
    made = Tokenizer(inner)
    assert made.byte_lengths()[made.encode("café|")[0]] == 6


def test_a_tokenizer_that_does_not_spell_bytes_has_no_byte_lengths():
    pieces = tokenizers.models.WordPiece({"[UNK]": 0, "run": 1, "##ning": 2}, unk_token="[UNK]")
    inner = tokenizers.Tokenizer(pieces)
    inner.decoder = tokenizers.decoders.WordPiece()
    assert Tokenizer(inner).byte_lengths() is None


@pytest.mark.parametrize("name", ["read_csv", "readCsv", "HTTPServer", "a1", "café_au_lait"])
def test_no_token_spans_the_parts_of_a_name(name):
    # Trained on nothing but the name, BPE would otherwise make one token of it.
    alone = train_tokenizer([name] * 50, vocabulary=400)
    assert len(alone.encode(name)) >= 2


def test_parts_of_names_become_tokens():
    trained = train_tokenizer(["read_csv readCsv HTTPServer"] * 50, vocabulary=400)
    parts = [trained.decode([each]) for each in trained.encode("read_csv HTTPServer")]
    assert parts == ["read", "_csv", " HTTP", "Server"]


def test_equal_texts_give_equal_files(tokenizer, tmp_path):
    train_tokenizer(TEXTS, vocabulary=420).save(tmp_path / "again")
    tokenizer.save(tmp_path / "first")
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "first" / name).read_bytes()


def test_special_tokens_take_the_first_ids(tokenizer):
    assert [tokenizer.special_id(token) for token in SPECIAL_TOKENS] == [0, 1, 2, 3, 4]
    assert tokenizer.vocabulary <= 420


@pytest.mark.parametrize("special", SPECIAL_TOKENS)
def test_special_token_written_in_a_text_is_text(tokenizer, special):
    assert tokenizer.special_id(special) not in tokenizer.encode(f"a {special} b")
    assert tokenizer.decode(tokenizer.encode(f"a {special} b")) == f"a {special} b"


def test_saved_tokenizer_gives_the_same_ids_when_loaded(tokenizer, tmp_path):
    tokenizer.save(tmp_path)
    loaded = Tokenizer.load(tmp_path)
    text = "read_csv(<|end|>)"
    assert loaded.encode(text) == tokenizer.encode(text)
    assert loaded.encode_batch([text, ""]) == [tokenizer.encode(text), []]


def test_transformers_reads_the_same_ids(tokenizer, tmp_path):
    transformers = pytest.importorskip("transformers")
    tokenizer.save(tmp_path)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    text = "pandas.read_csv(path)\n\n    Read a table; naïve 語 8080.\n"
    assert theirs(text, add_special_tokens=False)["input_ids"] == tokenizer.encode(text)
    assert theirs(text)["input_ids"] == tokenizer.encode(text)
    assert theirs.eos_token_id == tokenizer.end_of_text_id
    assert len(theirs) == tokenizer.vocabulary


def test_vocabulary_without_room_for_every_byte_is_refused():
    with pytest.raises(DataError, match="a vocabulary of 200 has no room for every byte"):
        train_tokenizer(TEXTS, vocabulary=200)


def test_no_text_is_refused():
    with pytest.raises(DataError, match="no text to learn from"):
        train_tokenizer(["", ""], vocabulary=300)


def test_folder_without_tokenizer_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"tokenizer\.json is missing"):
        Tokenizer.load(tmp_path)


@pytest.mark.parametrize("content", ["{", json.dumps({"version": "1.0"})])
def test_damaged_tokenizer_is_refused(tmp_path, content):
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(DataError, match="not a tokenizer"):
        Tokenizer.load(tmp_path)


def test_a_tokenizer_that_is_no_text_is_refused(tmp_path):
    (tmp_path / "tokenizer.json").write_bytes(b"\xff\xfe{}")
    with pytest.raises(DataError, match=r"tokenizer\.json: damaged .*utf-8"):
        Tokenizer.load(tmp_path)


def test_a_config_that_is_a_folder_is_refused(tokenizer, tmp_path):
    tokenizer.save(tmp_path)
    (tmp_path / "tokenizer_config.json").unlink()
    (tmp_path / "tokenizer_config.json").mkdir()
    with pytest.raises(DataError, match=r"tokenizer_config\.json: damaged"):
        Tokenizer.load(tmp_path)


@pytest.mark.parametrize(
    "template", [5, {"default": "x"}, [5], ["x"], [{"name": "default", "template": 7}], [{}]]
)
def test_a_chat_template_that_is_no_text_is_refused(tokenizer, tmp_path, template):
    tokenizer.save(tmp_path)
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps(config | {"chat_template": template})
    )
    with pytest.raises(DataError, match=r"damaged \(chat_template is (a|no)") as raised:
        Tokenizer.load(tmp_path)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("own", ["</s>", "<|end_of_text|>"])
def test_a_base_that_gets_our_chat_keeps_its_own_end_of_text(own, tmp_path):
    inner = train_tokenizer(TEXTS, vocabulary=300)._inner
    inner.add_special_tokens([own])
    made = Tokenizer(inner)
    made.add_special_tokens()
    assert made.end_of_text_id == inner.token_to_id(own)
    assert made.end_of_text_id in made.stop_ids
    made.save(tmp_path)
    again = Tokenizer.load(tmp_path)
    assert again.end_of_text_id == made.end_of_text_id
    assert json.loads((tmp_path / "tokenizer_config.json").read_text())["eos_token"] == own
