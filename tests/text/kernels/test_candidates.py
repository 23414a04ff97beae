import re

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from volano.text import pii
from volano.text.kernels.candidates import WORDS_BEFORE, WORDS_BEHIND, pii_candidates
from volano.text.personal import contact

pieces = st.sampled_from(
    [
        "ann@mail.org", "@", "a", ".", "-", "é", " ", "\n", "(", "+", "_", "8.8.40.40", "10.",
        "2001:", "2a00:1450:4001:81b::200e", "AKIA" + "Q" * 16, "ghp_" + "a1" * 18,
        "sk-Ab1" + "x" * 20,
        "-----BEGIN RSA PRIVATE KEY-----", "-----END RSA PRIVATE KEY-----", "4111111111111111",
        "4111 1111 1111 1111", "3782-822463-10005", "(530) 583-6985", "+41 44 668 1800",
        "530-583-6985", "1", "12", "123", "1234", "call me on", "fax: ", "Office", "07700 063 966",
        "9472 7916", "9472 79 16", "2024-01-15", "x4587", "06.12.34.56.78", "(030) 901820",
        "DE89 3704 0044 0532 0130 00", "gb42nawi04454264788619", " and ",
        "514-69-0360", "SSN ", "529 98 2247", "130 692 544", "111.444.777-35", "756.9217.0769.85",
        "131052-308T", "RSSMRA85T10A562S", "12345678Z", "X-1234567-L", "PAN ACUPA7085R", "NINO",
        "AB 12 34 56 C", "1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2",
        "6e40:4041:c617:e898:c11:40d2:c669:2eb4",
        "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq",
        "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N",
    ]
)  # fmt: skip
texts = st.lists(pieces, max_size=8).map("".join) | st.text(max_size=40)


@settings(deadline=None, max_examples=600)
@given(texts)
def test_scan_never_misses_what_a_pattern_would_find(text):
    (found,) = pii_candidates(pa.array([text]))
    addresses = pii.KINDS["email"] | pii.KINDS["ip_address"]
    (quick,) = pii_candidates(pa.array([text]), addresses)  # by a shorter way
    assert int(quick) & ~addresses == 0
    everything = sum(pii.KINDS.values())
    for kind in pii.DEFAULT_KINDS:
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


def test_the_scan_knows_the_first_letters_of_every_word_for_a_telephone():
    before = {*re.findall(r"[a-z]{3,}", contact._NOUN + contact._VERB)} - {"ular", "number"}
    beside = {
        "your",
        "our",
        "his",
        "her",
        "their",
        "phones",
        "phone",
    }  # never the first that counts
    assert {word[:3] for word in before - beside} | {"pho"} == set(WORDS_BEFORE)
    behind = re.findall(r"[a-z]{3,}", contact._BEHIND_PHONE.pattern)
    assert {word[:3] for word in behind} == set(WORDS_BEHIND)
