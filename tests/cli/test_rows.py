from types import SimpleNamespace

import pytest

from volano.cli.rows import show_row
from volano.core.artifact import Artifact
from volano.core.errors import DataError
from volano.text.pack import pack_documents
from volano.text.tokenizer import train_tokenizer


@pytest.fixture
def opened(tmp_path):
    """A store of one tokenizer, and tokens that it packed: two documents in a row, then padding."""
    tokenizer = train_tokenizer(["abc abc\n"], vocabulary=261)
    tokenizer.save(tmp_path / "tokenizer")
    documents = [("first", "abcd"), ("second", "xyz")]
    pack_documents(tmp_path / "tokens", {"text": documents}, tokenizer, context=12)
    found = {"1": Artifact(tmp_path / "tokenizer", {"kind": "tokenizer"})}
    meta = {"kind": "tokens", "name": "mine/tokens", "parents": {"tokenizer": {"fingerprint": "1"}}}
    return SimpleNamespace(find=found.__getitem__), Artifact(tmp_path / "tokens", meta)


def test_a_row_is_shown_with_its_documents_their_positions_and_text(opened, capsys):
    show_row(*opened, 0, as_json=False)
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert any("0–4 │ first │ 0 │ abcd" in line for line in lines)
    assert any("5–8 │ second │ 0 │ xyz" in line for line in lines)
    assert lines[-1] == "3 positions of padding"


def test_a_row_that_is_not_there_and_what_has_no_rows_are_refused(opened):
    with pytest.raises(DataError, match="no row 1: there are 1, counted from 0"):
        show_row(*opened, 1, as_json=False)
    store, tokens = opened
    other = Artifact(tokens.folder, tokens.meta | {"kind": "checkpoint"})
    with pytest.raises(DataError, match="mine/tokens: holds a checkpoint and no rows"):
        show_row(store, other, 0, as_json=False)
