import re
from typing import get_args

import pytest

from volano.core.errors import RecipeError
from volano.curate.quality_section import QUALITY_RULES, QualitySection
from volano.curate.section import PII_KINDS, CurateSection
from volano.text.kernels.features import STATISTICS, WORDS
from volano.text.kernels.forms import FORM_STATISTICS
from volano.text.pii import KINDS


def test_defaults_are_those_of_the_papers():
    section = CurateSection.read({}, "curate")
    assert (section.quality.gopher_quality.min_words, section.decontaminate.ngram_words) == (50, 13)
    assert section.quality.gopher_repetition.max_top_2_gram_fraction == 0.20
    minhash = section.dedup.minhash
    assert (minhash.permutations, minhash.bands, minhash.shingle_words) == (112, 14, 5)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"quality": {"rules": ["gopher_qualty"]}}, "Did you mean 'gopher_quality'"),
        ({"pii": {"kinds": ["emails"]}}, "Did you mean 'email'"),
        (
            {"dedup": {"minhash": {"bands": 20}}},
            "dedup.minhash.bands: 112 permutations do not divide into 20 bands (112 / 20 = 5.6). "
            "Take 16 bands of 7 or 28 bands of 4, or permutations: 120 for 20 bands of 6.",
        ),
        (
            {"dedup": {"minhash": {"permutations": 8, "bands": 9}}},
            "Take 8 bands of 1, or permutations: 9 for 9 bands of 1.",
        ),
        ({"language": {"keep": ["de", "eng"]}}, "unknown language 'eng'. Did you mean 'en'?"),
        ({"language": {"keep": ["zh-CN"]}}, "Did you mean 'zh'?"),
        ({"language": {"keep": ["xx"]}}, "unknown language 'xx'. Known: af als am"),
        ({"dedup": {"exact": "paragraph"}}, "dedup.exact"),
        ({"langauge": {}}, "Did you mean 'language'"),
    ],
)
def test_a_mistake_is_told_with_its_remedy(values, told):
    with pytest.raises(RecipeError, match=re.escape(told)):
        CurateSection.read(values, "curate")


def test_names_in_the_section_are_those_that_the_code_knows():
    # The section repeats them, because reading a recipe must not load the kernels.
    assert set(PII_KINDS) == set(KINDS)
    assert set(QUALITY_RULES) == set(STATISTICS) | set(FORM_STATISTICS)
    assert set(get_args(QualitySection.model_fields["words"].annotation)) == set(WORDS)


def test_off_turns_whole_filters_off():
    section = CurateSection.read({"language": "off", "dedup": {"minhash": "off"}}, "curate")
    assert section.language is None
    assert section.dedup.minhash is None


def test_without_its_key_an_action_that_needs_one_is_refused_before_any_work(monkeypatch, tmp_path):
    monkeypatch.delenv("VOLANO_PII_KEY", raising=False)
    for action in ("hash", "surrogate"):
        with pytest.raises(RecipeError, match="no key in the environment variable VOLANO_PII_KEY"):
            CurateSection.read({"pii": {"action": action}}, "curate")
    short, key = tmp_path / "short", tmp_path / "key"
    short.write_text("secret\n")
    key.write_text("sixteen bytes or more\n")
    with pytest.raises(RecipeError, match="6 bytes, of 16 at least"):
        CurateSection.read({"pii": {"action": "hash", "key": f"file:{short}"}}, "curate")
    assert CurateSection.read({"pii": {"action": "hash", "key": f"file:{key}"}}, "curate").pii


def test_the_key_bears_identity_by_its_fingerprint_alone(monkeypatch, tmp_path):
    def identity(**pii):
        return CurateSection.read({"pii": {"action": "hash", **pii}}, "curate").identity()["pii"]

    monkeypatch.setenv("VOLANO_PII_KEY", "the first key of two")
    monkeypatch.setenv("ANOTHER", "the other key of two")
    (tmp_path / "key").write_text("the first key of two\n")
    first, other = identity(), identity(key="env:ANOTHER")
    assert first != other
    assert first == identity(key=f"file:{tmp_path / 'key'}")  # wherever it is kept
    assert "key" not in first
    assert "the first key" not in str(first)
