"""Finds the JSON that a model wrote among other text, in time that grows with the text alone. Pure.

What is taken: objects and arrays with text or fences around them, line feeds and other control characters in a string,
and a comma before a closing bracket. What stands inside a value that is broken or cut is never taken for a value.
"""

import json
import re
from typing import Any

from core.plain_values import whole

_START = re.compile(r"""\{(?=\s*["}])|\[(?=\s*[\[\]{"\d\-tfn])""")
"""Where a value may begin: prose has braces and brackets too."""
_STRING_OR_LAST_COMMA = re.compile(r'("(?:[^"\\]++|\\.)*+"?)|,(?=\s*+[}\]])', re.DOTALL)
"""A string to its end, or to the text's, so that no part of the text is looked at twice; or a comma too many."""
_MOST_FALSE_STARTS = 200
"""Each costs a look over the text."""


def json_values(text: str) -> list[Any]:
    """The objects and arrays of a text that stand in no other, in their order. Values in them may still be unfit."""
    values: list[Any] = []
    at, false_starts, is_mended = 0, 0, False
    while false_starts < _MOST_FALSE_STARTS and (start := _START.search(text, at)):
        try:
            value, at = _decoder.raw_decode(text, start.start())
            values.append(value)
        except json.JSONDecodeError as error:
            if not is_mended:
                # from here on, where no quotation mark of prose can be taken for a string's
                text = text[: start.start()] + _STRING_OR_LAST_COMMA.sub(_without_comma, text[start.start() :])
                at, is_mended = start.start(), True
                continue
            if _is_cut(text, error):
                break
            at, false_starts = max(error.pos, start.end()), false_starts + 1
        except RecursionError:
            break
    return values


def _without_comma(found: re.Match[str]) -> str:
    return found[1] or ""


def _is_cut(text: str, error: json.JSONDecodeError) -> bool:
    """Whether the text ends before the value does."""
    return error.msg.startswith("Unterminated string") or not text[error.pos :].strip()


_decoder = json.JSONDecoder(strict=False, parse_int=whole)
