"""HTML to Markdown; to plain text where Markdown cannot be made of it in bounded memory and time."""

import html as entities
import re
from typing import TYPE_CHECKING, Final

from core.plain_values import plain_text
from pipelines.extractors.reading_outcome import Remark, Text

if TYPE_CHECKING:
    from html_to_markdown import ConversionOptions, ProcessingWarning

_DEEPEST_NESTING = 100
"""Quotes, lists and tables in one another: the converter's time grows with their square and cube, and each line too."""
_MOST_GROWTH = 48 * 1024 * 1024
"""Characters of marks and indents that Markdown may need beyond the text itself."""
_MOST_SEARCHED = 2_000_000_000
"""Tags of a page's head times its characters: the converter looks for the end of each such tag, to the page's end."""
_MOST_REMARKS = 10

_HALVES = re.compile(
    r"&#(x[dD][89abAB][0-9a-fA-F]{2}|5[5-7]\d{3});&#(x[dD][c-fC-F][0-9a-fA-F]{2}|5[6-7]\d{3});", re.ASCII
)
_XHTML_BEGINS = re.compile(r"\ufeff?\s*+<\?xml\b|[^>]{0,200}<html\b[^>]{0,500}?\bxmlns\s*=", re.IGNORECASE)
_CDATA = re.compile(r"<!\[CDATA\[(.*?)(?:\]\]>|\Z)", re.DOTALL)
_SELF_CLOSED = re.compile(
    r"<(?P<name>[a-z][\w:.-]{0,100}+)(?P<attributes>(?:[^<>\"']++|\"[^\"]{0,2000}+\"|'[^']{0,2000}+'){0,60}+)(?<=/)>",
    re.IGNORECASE,
)
_HIDES_THE_REST = frozenset(
    {"title", "textarea", "iframe", "noscript", "noframes", "noembed", "xmp", "nav", "template"}
)
_VOID = frozenset(
    {
        "area", "base", "br", "col", "embed", "frame", "hr", "img", "input", "link", "meta", "param", "source", "track",
        "wbr",
    }
)  # fmt: skip
_HEADER = re.compile(r"<(/?)header(?=[\s/>])", re.IGNORECASE)
_NESTING = frozenset({"blockquote", "ul", "ol", "dl", "menu", "dir", "table"})
_STRUCTURE = re.compile(r"<(/?)(blockquote|ul|ol|dl|menu|dir|table|tr|t[dh])\b([^<>]{0,1000})", re.IGNORECASE)
_HEAD = re.compile(r"<(?:meta|link|script|style|base|title|head)\b", re.IGNORECASE)
_SPAN = re.compile(r"colspan\s*=\s*[\"']?\s*(\d{1,4})", re.IGNORECASE)
_MOST_SPAN = 1000

# Each alternative ends at the end of the page if nowhere else, and none is tried twice: so it is read once, whatever
# it is. A parser that builds a tree needs time in proportion to the depth for each element.
_MARKUP: Final = re.compile(
    r"<!--.*?(?:-->|\Z)"
    r"|<(?P<raw>script|style|template)\b.*?(?:</(?P=raw)\s*+[^>]*+>|\Z)"
    r"|<(?P<close>/?)(?P<name>[a-zA-Z][^\s/>]*+)(?:=\s*+\"[^\"]*+(?:\"|\Z)|=\s*+'[^']*+(?:'|\Z)|[^>])*+(?:>|\Z)"
    r"|<[!?/][^>]*+(?:>|\Z)",
    re.IGNORECASE | re.DOTALL,
)
_INLINE = frozenset(
    {
        "a", "abbr", "acronym", "b", "bdi", "bdo", "big", "cite", "code", "data", "del", "dfn", "em", "font", "i",
        "ins", "kbd", "mark", "q", "rb", "rp", "rt", "ruby", "s", "samp", "small", "span", "strike", "strong", "sub",
        "sup", "time", "tt", "u", "var", "wbr",
    }
)  # fmt: skip


def read_html(page: str, is_xhtml: bool = False) -> Text:
    """The text of a page: without scripts, styles, navigation and what it hides. Raises what the converter raises."""
    import html_to_markdown

    page = _as_the_converter_reads(_HALVES.sub(_joined, page), is_xhtml)
    if _grows_without_bound(page):
        return _flattened(page, "it nests lists, quotes or tables too deep, or its tables are too wide")
    if len(_HEAD.findall(page)) * len(page) > _MOST_SEARCHED:
        return _flattened(page, "it has too many scripts, styles and other tags of a head")
    found = html_to_markdown.convert(page, _options())
    depth = html_to_markdown.WarningKind.DEPTH_LIMIT_EXCEEDED
    if any(warning.kind == depth for warning in found.warnings):
        return _flattened(page, "its elements are nested too deep")
    if not (found.content or "").strip() and (flat := _flattened(page, "else nothing of it would be left")).content:
        return flat
    return Text(found.content or "", is_markdown=True, remarks=_remarks(found.warnings))


def _options() -> "ConversionOptions":
    from html_to_markdown import ConversionOptions, PreprocessingOptions

    # some frameworks put the whole body of a page into one form; columns are not padded to the width of their widest
    kept = PreprocessingOptions(remove_forms=False)
    return ConversionOptions(extract_metadata=False, skip_images=True, compact_tables=True, preprocessing=kept)


def _remarks(warnings: "list[ProcessingWarning]") -> tuple[Remark, ...]:
    kinds = {warning.message: str(warning.kind) for warning in warnings[:_MOST_REMARKS]}
    return tuple(Remark(kind, message) for message, kind in kinds.items())


def _as_the_converter_reads(page: str, is_xhtml: bool) -> str:
    """The page without what would make the converter leave out text that the page shows, or show what it does not."""
    is_xhtml = is_xhtml or bool(_XHTML_BEGINS.match(page))
    if is_xhtml:
        page = _CDATA.sub(lambda found: entities.escape(found[1], quote=False), page)
    if "/>" in page:
        page = _SELF_CLOSED.sub(lambda found: _closed(found, is_xhtml), page)
    # it takes the header of a page for navigation: the heading and the first words are there
    page = _HEADER.sub(r"<\1div", page)
    # a page that was cut off within a script
    lower = page.lower()
    return page + "".join(
        f"</{tag}>" for tag in ("script", "style") if lower.rfind(f"<{tag}") > lower.rfind(f"</{tag}")
    )


def _closed(element: re.Match[str], is_xhtml: bool) -> str:
    """An element of XHTML that ends where it begins, as HTML has it: HTML would look for its end in the rest."""
    name = element["name"].lower()
    if name in _VOID or not (is_xhtml or name in _HIDES_THE_REST):
        return element[0]
    return f"<{element['name']}{element['attributes'][:-1]}></{element['name']}>"


def _joined(halves: re.Match[str]) -> str:
    """Two references to the halves of a pair as the character that they mean; the converter would lose both."""
    high, low = (int(part[1:], 16) if part[0] == "x" else int(part) for part in halves.groups())
    if not (0xD800 <= high < 0xDC00 <= low < 0xE000):
        return halves[0]
    return plain_text(chr(high) + chr(low))


def _grows_without_bound(page: str) -> bool:
    """Whether Markdown of the page could be far longer than the page: each line indented, each row with all columns."""
    depth = deepest = rows = cells = widest = 0
    for closing, name, attributes in _STRUCTURE.findall(page):
        tag = name.lower()
        if tag in _NESTING:
            depth = max(0, depth + (-1 if closing else 1))
            deepest = max(deepest, depth)
        elif closing:
            continue
        elif tag == "tr":
            rows, cells = rows + 1, 0
        else:
            span = _SPAN.search(attributes)
            cells += min(int(span[1]), _MOST_SPAN) if span else 1
            widest = max(widest, cells)
    lines = page.count("<") + page.count("\n")
    return deepest > _DEEPEST_NESTING or 2 * deepest * lines + 4 * rows * widest > _MOST_GROWTH


def _flattened(page: str, why: str) -> Text:
    """The page's text without its structure: all but scripts, styles and comments."""
    text = entities.unescape(_MARKUP.sub(_gap, page))
    lines = (" ".join(line.split()) for line in text.splitlines())
    content = re.sub(r"\n{3,}", "\n\n", "\n".join(lines))
    message = f"The page was read without its headings, lists and tables: {why}."
    return Text(content.strip(), remarks=(Remark("html_flattened", message),))


def _gap(markup: re.Match[str]) -> str:
    name = markup["name"]
    return "" if name is None or name.lower() in _INLINE else "\n"
