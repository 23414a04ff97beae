import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from volano.text import pii
from volano.text.kernels.candidates import pii_candidates

pieces = st.sampled_from(
    [
        "ann@mail.org", "@", "a", ".", "-", "é", " ", "\n", "(", "+", "_", "8.8.40.40", "10.",
        "2001:", "2a00:1450:4001:81b::200e", "AKIA" + "Q" * 16, "ghp_" + "a1" * 18,
        "sk-Ab1" + "x" * 20,
        "-----BEGIN RSA PRIVATE KEY-----", "-----END RSA PRIVATE KEY-----", "4111111111111111",
        "4111 1111 1111 1111", "3782-822463-10005", "(530) 583-6985", "+41 44 668 1800",
        "530-583-6985", "1", "12", "123", "1234",
    ]
)  # fmt: skip
texts = st.lists(pieces, max_size=8).map("".join) | st.text(max_size=40)


@settings(deadline=None, max_examples=400)
@given(texts)
def test_scan_never_misses_what_a_pattern_would_find(text):
    (found,) = pii_candidates(pa.array([text]))
    addresses = pii.KINDS["email"] | pii.KINDS["ip_address"]
    (quick,) = pii_candidates(pa.array([text]), addresses)  # by a shorter way
    assert int(quick) & ~addresses == 0
    everything = sum(pii.KINDS.values())
    for kind in pii.KINDS:
        if pii._spans(text, [kind], everything, pii._FINDERS):
            assert found & pii.KINDS[kind], kind
            assert quick & pii.KINDS[kind] or not pii.KINDS[kind] & addresses, kind


@pytest.mark.parametrize(
    "text",
    [
        "def f(x): return x @ y",
        "@decorator\ndef f(): ...",
        "version 1.2.3 of 2024-01-15 at 12:34:56",
        "a[1::2] and std::vector",
        "3.14159265 2.71828182",
        "--------",
        "an_ordinary_name_that_is_long_but_no_key",
    ],
)
def test_ordinary_technical_text_costs_no_pattern(text):
    assert pii_candidates(pa.array([text])).tolist() == [0]


def test_missing_text_has_no_candidates_and_slices_are_read_in_place():
    column = pa.array(["x", "ann@mail.org", None]).slice(1)
    assert pii_candidates(column).tolist() == [pii.KINDS["email"], 0]
