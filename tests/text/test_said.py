"""How people write their addresses and numbers to each other, and what only looks so."""

import pytest

from volano.text.pii import find_spans, redact
from volano.text.said import plainly

ADDRESSES = [
    "jane.doe@corp-mail.com", "jane.doe@corp.local", "jane.doe@firm.test",
    "jane.doe @ corp-mail.com",
    "jane.doe%40corp-mail.com", "jane.doe(at)corp-mail.com", "jane.doe [AT] corp (dot) com",
    "jane.doe\uff20corp-mail.com", "jane.doe\u200b@corp-mail.com",
    "jane\u00ad.doe@corp\u2060-mail.com",
]  # fmt: skip
NUMBERS = [
    "+49 (0)171 2345678", "0049 171 2345678", "0171 2345678", "01712345678", "020 7946 0958",
    "06 12 34 56 78", "06.12.34.56.78", "030/901820", "415 555 2671", "4155552671",
    "(415) 555-2671", "+1 415 555 2671", "\uff10171 2345678",
]  # fmt: skip
NEITHER = [
    "git@corp-mail.com", "someone@example.com", "me@localhost", "a @ b is a product",
    "use @pytest.mark.skip here", "2147483647", "4294967296", "0123456789", "0.1234567891",
    "2024-11-28 10:15:00", "1700000000", "1 2 3 4 5 6 7 8 9 10", "0 1 1 2 3 5 8 13 21",
    "978-0-13-110362-7", "192.168.100.200", "3.14159265358979", "range(1000000, 2000000)",
    "12345678901234567890",
]  # fmt: skip


def redacted(text):
    return redact(text, find_spans(text, conversation=True))


@pytest.mark.parametrize("written", ADDRESSES)
def test_an_address_is_found_however_it_is_written(written):
    assert redacted(f"é Write to {written}, please.") == "é Write to <EMAIL>, please."


@pytest.mark.parametrize("written", NUMBERS)
def test_a_number_is_found_however_it_is_written(written):
    assert redacted(f"Call {written}, or\u200b come.") == "Call <PHONE>, or\u200b come."


@pytest.mark.parametrize("text", NEITHER)
def test_what_only_looks_so_stays(text):
    assert redacted(f"It is {text} here.") == f"It is {text} here."


def test_the_plain_text_knows_where_it_came_from():
    text = "a\u200b b%40c (dot) d"
    plain = plainly(text)
    assert plain.text == "a b@c.d"
    assert [text[b:e] for b, e in zip(plain.begins, plain.ends, strict=True)] == [
        "a", " ", "b", "%40", "c", " (dot) ", "d",
    ]  # fmt: skip
