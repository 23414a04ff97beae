"""Names of persons by a spaCy pipeline, and what is said where there is none."""

import sys

import pyarrow as pa
import pytest

from volano.core.errors import DataError, MissingExtra
from volano.text.personal import model_names
from volano.text.pii import find_spans_in, redact_all

KEY = b"a key of many bytes"


def test_without_spacy_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "spacy", None)
    model_names._loaded.cache_clear()
    with pytest.raises(MissingExtra, match=r"volano\[ner\]"):
        find_spans_in(pa.array(["x"]), ["person_name"], name_model="en_core_web_sm")


def test_a_pipeline_that_is_not_there_is_refused():
    with pytest.raises(DataError, match="no spaCy pipeline 'no_such_pipeline'"):
        model_names.pipeline_version("no_such_pipeline")


def test_persons_of_a_pipeline_count_beside_those_of_the_rules(tmp_path):
    spacy = pytest.importorskip("spacy")
    made = spacy.blank("en")
    ruler = made.add_pipe("entity_ruler")
    ruler.add_patterns([{"label": "PERSON", "pattern": "Qwyx Zzebra"}])
    made.to_disk(tmp_path / "pipeline")
    name = str(tmp_path / "pipeline")
    texts = ["Nicole met Qwyx Zzebra é", "nobody"]
    found = find_spans_in(pa.array(texts), ["person_name"], name_model=name)
    assert [texts[0][span.begin : span.end] for span in found[0]] == ["Nicole", "Qwyx Zzebra"]
    done = redact_all(texts, ["person_name"], "surrogate", KEY, name_model=name)
    assert set(done) == {0}
    assert "Zzebra" not in done[0]
    made.remove_pipe("entity_ruler")
    made.to_disk(tmp_path / "empty")
    with pytest.raises(DataError, match="recognises no entities"):
        find_spans_in(pa.array(texts), ["person_name"], name_model=str(tmp_path / "empty"))
