"""Pages as programs write them: nothing that they show is left out, and nothing that they hide is shown."""

import pytest

from pipelines.extractors.reading import read_text
from pipelines.extractors.reading_outcome import Text

_CHAPTER = (
    '<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml"><head>{head}</head>'
    "<body>{body}<h1>Chapter One</h1><p>It was a dark night.</p></body></html>"
)
_READ = "# Chapter One\n\nIt was a dark night."


def _read(page: str, content_type: str = "text/html") -> str:
    found = read_text(page.encode(), content_type)
    assert isinstance(found, Text)
    assert not found.remarks
    return found.content


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("<body><header><h1>The title</h1><p>By Bob</p></header><main><p>Body</p></main></body>", "Body"),
        ("<body><header class=top><nav>Home</nav><h1>The title</h1></header><p>Body</p></body>", "Body"),
    ],
)
def test_the_header_of_a_page_is_part_of_it_and_its_navigation_is_not(page: str, text: str) -> None:
    found = _read(page)
    assert found.startswith("# The title")
    assert found.endswith(text)
    assert "Home" not in found


@pytest.mark.parametrize("content_type", ["application/xhtml+xml", "text/html", ""])
@pytest.mark.parametrize("element", ["<title/>", '<script src="a>b.js" />', "<style/>", "<noscript/>"])
def test_an_element_of_xhtml_that_ends_where_it_begins_takes_nothing_with_it(element: str, content_type: str) -> None:
    assert _read(_CHAPTER.format(head=element, body=""), content_type) == _READ


@pytest.mark.parametrize("element", ["<textarea/>", "<nav/>", "<div hidden='hidden'/>", "<template />"])
def test_an_empty_element_in_the_body_of_xhtml_takes_nothing_with_it(element: str) -> None:
    assert _read(_CHAPTER.format(head="", body=element)) == _READ


def test_an_address_that_ends_in_a_slash_is_no_end_of_its_element() -> None:
    assert _read("<p>See <a href=https://example.com/>the site</a>.</p>") == "See [the site](https://example.com/)."


def test_a_character_section_of_xhtml_is_text() -> None:
    page = _CHAPTER.format(head="", body="").replace("a dark", "<![CDATA[a <very> dark]]>")
    assert _read(page, "application/xhtml+xml").endswith("It was a <very> dark night.")


@pytest.mark.parametrize("rest", ["<script>var a = '<p>no</p>';", "<style>p { color: red }"])
def test_a_page_that_was_cut_off_within_a_script_shows_none_of_it(rest: str) -> None:
    assert _read(f"<body><p>Shown</p>{rest}") == "Shown"
