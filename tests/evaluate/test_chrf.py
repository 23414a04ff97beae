import pytest
from hypothesis import given
from hypothesis import strategies as st
from sacrebleu import sentence_chrf

from volano.evaluate.chrf import chrf

texts = st.text(alphabet="abc d.é", max_size=30)


@given(texts, texts)
def test_chrf_equals_sacrebleu(answer, truth):
    assert chrf(answer, truth) == pytest.approx(sentence_chrf(answer, [truth]).score, abs=1e-9)


def test_chrf_by_hand():
    # "ab" against "abc": 1-grams 2/2 and 2/3, 2-grams 1/1 and 1/2; P = 1, R = 7/12
    assert chrf("a b", "abc") == pytest.approx(100 * 5 * (7 / 12) / (4 + 7 / 12))


@pytest.mark.parametrize(("answer", "score"), [("same text", 100.0), ("", 0.0), ("qz", 0.0)])
def test_ends_of_the_scale(answer, score):
    assert chrf(answer, "same text") == pytest.approx(score)
