"""The page of a run: what it says, and that nothing on it can be anything but text."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any, Optional

from hypothesis import given
from hypothesis import strategies as st

from fjd.batch.webpage import SHOWN, render

STATUS = {
    "run": "run1",
    "tasks": 400,
    "finished": 100,
    "failed": 3,
    "running": 2,
    "more": True,
    "barrier": 7,
    "started": 1000.0,
    "engines": {
        "10": {"context": "C", "host": "b", "slots": 1, "idle": 0, "assigned": 4, "last": 1.0},
        "2": {"context": "C", "host": "a", "slots": 2, "idle": 1, "finished": 9, "failed": 0},
    },
    "failures": ["R   |0|false"],
}
TAGS = {
    *("html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "b", "progress", "pre"),
    *("table", "tr", "th", "td", "footer", "a"),
}


class Page(HTMLParser):
    """What a browser finds on a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text, self.tags, self.links = "", set[str](), set[Optional[str]]()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, Optional[str]]]) -> None:
        """Note a tag and where it leads."""
        self.tags.add(tag)
        self.links |= {value for name, value in attrs if name in ("href", "src")}
        assert not [name for name, _ in attrs if name.startswith("on")]

    def handle_data(self, data: str) -> None:
        """Note a text."""
        self.text += data


def page(**changes: object) -> Page:
    """Render and read."""
    return Page(render({**STATUS, **changes}, 1090.0))


def test_numbers() -> None:
    """Progress, the barrier, how long it has been going on, and who takes part, by rank."""
    text = page().text
    for words in ("25 % run1", "100 of 400 tasks finished", "3 failed", "2 running", "More tasks"):
        assert words in text
    assert "Waits at barrier 7" in text
    assert "1 min ago" in text
    assert text.index("2Ca") < text.index("10Cb")


def test_before_anything_is_known() -> None:
    """An empty status is a page too."""
    assert "0 tasks finished" in Page(render({}, 0.0)).text


def test_only_the_last_failures() -> None:
    """However many there were."""
    text = page(failures=[f"row {n}." for n in range(1000)]).text
    assert "row 999." in text
    assert f"row {1000 - SHOWN}." in text
    assert f"row {999 - SHOWN}." not in text


texts = st.text() | st.sampled_from(["<script>x</script>", "</pre><img src=x>", "' onload='x"])


@given(texts, texts, texts, texts)
def test_text_stays_text(run: str, row: str, host: str, context: str) -> None:
    """Nothing that a task or a host is called becomes a part of the page."""
    engine: dict[str, Any] = {"host": host, "context": context, "slots": host}
    found = page(run=run, failures=[row], engines={"0": engine})
    assert found.tags <= TAGS
    assert found.links == {"status.json"}
