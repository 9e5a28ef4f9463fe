"""Pieces of a page: escaped, with headings for those who listen, and nothing from outside."""

import base64
import re
from html.parser import HTMLParser

from orbitds.eval.html import Cell, Row, figure, folded, image, page, paragraph, table, terms

EVIL = '<script>alert("x")</script> & co'
VOID = {"meta", "img", "br", "link"}


class Tags(HTMLParser):
    """Open and close tags in order, and fail where they do not match."""

    def __init__(self, text):
        super().__init__()
        self.open, self.seen, self.text = [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def test_all_that_is_given_is_escaped():
    parts = [
        paragraph(EVIL),
        table([(EVIL, EVIL)], [Row(EVIL, [Cell(EVIL, EVIL)])], caption=EVIL, label=EVIL),
        figure("", EVIL),
        image(b"", EVIL),
        folded(EVIL, ""),
        terms([(EVIL, EVIL)]),
    ]
    for text in [*parts, page(EVIL, parts)]:
        tags = Tags(text)
        assert "script" not in [tag for tag, _ in tags.seen]
        assert EVIL in "".join(tags.text) or any(EVIL in a.values() for _, a in tags.seen)


def test_a_table_has_headings_of_rows_and_columns():
    rows = [
        Row("wind"),
        Row("Reslim", [Cell("1.0", "0.9 to 1.1", is_best=True), Cell("-")], is_own=True),
    ]
    tags = Tags(table([("RMSE", "what"), ("R2", "")], rows, caption="All", label="m"))
    scopes = [attrs["scope"] for tag, attrs in tags.seen if tag == "th"]
    assert scopes == ["col"] * 3 + ["rowgroup", "row"]
    names = [tag for tag, _ in tags.seen]
    assert names.count("strong") == names.count("caption") == 1
    assert ("tr", {"class": "own"}) in tags.seen
    (scroll,) = [attrs for tag, attrs in tags.seen if tag == "div"]
    assert scroll["tabindex"] == "0"  # scrolled by keys too
    assert scroll["aria-label"] == "All"


def test_an_image_lies_in_the_page():
    (tag,) = Tags(image(b"\x89PNG", "a map")).seen
    data = tag[1]["src"].removeprefix("data:image/png;base64,")
    assert base64.b64decode(data) == b"\x89PNG"
    assert tag[1]["alt"] == "a map"


def test_a_page_asks_for_nothing_and_knows_light_dark_and_paper():
    text = page("Title", ["<main></main>"])
    tags = Tags(text)
    assert text.startswith("<!DOCTYPE html>")
    assert ("html", {"lang": "en"}) in tags.seen
    assert not re.search(r"(src|href)=.?(https?:)?//|@import|url\(", text)
    (policy,) = [a["content"] for _, a in tags.seen if a.get("http-equiv")]
    assert policy.startswith("default-src 'none'")
    for wanted in ("prefers-color-scheme: dark", "@media print", "width=device-width"):
        assert wanted in text
    assert "%" + "LIGHT%" not in text
    assert ".m7" in text
