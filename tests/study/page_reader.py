"""What a page holds, for tests of pages that have to load and run nothing."""

from html.parser import HTMLParser


class Reader(HTMLParser):
    """Tags that were opened, attributes that may load something, and tags that were not closed."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.loads, self.open = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.loads += [
            (tag, name, value)
            for name, value in attributes
            if name in {"src", "href", "xlink:href", "action", "data", "srcset", "poster"}
            or "url(" in (value or "")
            or name.startswith("on")
        ]
        if tag not in {"meta", "br", "img", "link", "input", "path", "use", "rect"}:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if self.open and self.open[-1] == tag:
            self.open.pop()

    def handle_endtag(self, tag):
        if tag not in {"path", "use", "rect"}:
            assert self.open.pop() == tag


def assert_loads_nothing(page):
    """No script, no frame, no address: what it points at lies in the page."""
    read = Reader(page)
    assert read.open == []
    assert not {"script", "link", "img", "iframe", "object", "embed", "form"} & set(read.tags)
    for _, _, value in read.loads:
        assert value.startswith("#") or "url(#" in value
    assert "@import" not in page
    assert "default-src 'none'" in page
