import asyncio

import pytest

from volano.page.security import HEADERS, SecurityHeaders, is_of_another_origin
from volano.page.templates import environment


def sent_by(application):
    """The messages that an ASGI application sends through the middleware."""
    messages = []

    async def send(message):
        messages.append(message)

    asyncio.run(SecurityHeaders(application)({"type": "http"}, None, send))
    return messages


def test_headers_are_added_once_and_an_answers_own_one_stays():
    async def application(scope, receive, send):
        headers = [(b"x-frame-options", b"SAMEORIGIN"), (b"content-type", b"text/html")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"x"})

    start, body = sent_by(application)
    names = [name for name, _ in start["headers"]]
    assert sorted(names) == sorted({*(each.lower().encode() for each in HEADERS), b"content-type"})
    assert dict(start["headers"])[b"x-frame-options"] == b"SAMEORIGIN"
    assert body == {"type": "http.response.body", "body": b"x"}


@pytest.mark.parametrize(
    ("headers", "is_other"),
    [
        ({}, False),
        ({"origin": "http://host:8000"}, False),
        ({"origin": "https://HOST:8000"}, False),  # a proxy may speak TLS for us
        ({"origin": "http://host"}, True),
        ({"origin": "http://host:8000.evil.test"}, True),
        ({"origin": "null"}, True),
        ({"origin": "null", "sec-fetch-site": "same-origin"}, False),
        ({"origin": "null", "sec-fetch-site": "cross-site"}, True),
        ({"sec-fetch-site": "same-origin"}, False),
        ({"sec-fetch-site": "none"}, False),
        ({"sec-fetch-site": "same-site"}, True),
        ({"sec-fetch-site": "cross-site", "origin": "http://host:8000"}, True),
    ],
)
def test_a_browser_tells_where_a_request_comes_from(headers, is_other):
    assert is_of_another_origin(headers, "host:8000") is is_other


def test_templates_escape_whatever_their_name_and_refuse_unknown_names(tmp_path):
    jinja2 = pytest.importorskip("jinja2")
    (tmp_path / "part.txt").write_text("<p title='{{ text }}'>{{ text }}</p>")
    part = environment(tmp_path).get_template("part.txt")
    assert part.render(text="<'\"&>") == (
        "<p title='&lt;&#39;&#34;&amp;&gt;'>&lt;&#39;&#34;&amp;&gt;</p>"
    )
    with pytest.raises(jinja2.UndefinedError):
        part.render()
