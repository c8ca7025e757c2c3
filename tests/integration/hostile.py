"""Bodies that nobody in good faith sends, by name. Seeded, so that a failure can be met again."""

import json
import random
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from api.route import Route
from api.schemas.fields import Body

JSON = "application/json"
WRONG: tuple[Any, ...] = (
    None, True, -1, 0, 2**63 - 1, -(2**63), 1.5, 1e308, "", " ", "x" * 5_000, "\u202e\ufeff", "../../etc/passwd",
    "{{secrets.x}}", "' OR 1=1 --", "é" * 300, [], [[]], [None], ["x"] * 300, {}, {"a": {"b": []}},
    "9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59", "2026-13-45",
    {"__proto__": {"admin": True}}, {"constructor": {"prototype": {}}}, {"": ""},
)  # fmt: skip
"""Values for fields that want another one, or some other of the same type."""


def texts() -> Iterator[tuple[str, bytes]]:
    """What is no JSON, or no JSON of ours."""
    plain = {
        "truncated object": b'{"a": ', "truncated text": b'{"a": "x', "truncated escape": b'{"a": "\\u12',
        "trailing garbage": b'{} x', "two documents": b"{}{}", "trailing comma": b'{"a": 1,}', "comment": b"{/* */}",
        "single quotes": b"{'a': 1}", "bare word": b"{a: 1}", "array": b"[]", "array of objects": b"[{}]",
        "text": b'"x"', "number": b"1", "null": b"null", "true": b"true", "space": b" ", "newlines": b"\n\n",
        "NaN": b'{"a": NaN}', "Infinity": b'{"a": Infinity}', "minus Infinity": b'{"a": -Infinity}',
        "too large": b'{"a": 1e999}', "hexadecimal": b'{"a": 0x1}', "leading zero": b'{"a": 01}', "plus": b'{"a": +1}',
        "2^63": b'{"a": 9223372036854775808}', "5000 digits": b'{"a": ' + b"9" * 5_000 + b"}",
        "5000 decimals": b'{"a": 0.' + b"9" * 5_000 + b"}", "exponent bomb": b'{"a": 1e-999999999}',
        "key twice": b'{"a": 1, "a": 2}', "key twice, escaped": b'{"a": 1, "\\u0061": 2}',
        "key twice inside": b'{"a": [{"b": 1, "b": 1}]}', "byte order mark": b"\xef\xbb\xbf{}",
        "UTF-16": '{"a": 1}'.encode("utf-16"), "UTF-32": '{"a": 1}'.encode("utf-32"),
        "UTF-16 without mark": '{"a": 1}'.encode("utf-16-le"), "Latin-1": '{"a": "é"}'.encode("latin-1"),
        "overlong": b'{"a": "\xc0\xaf"}', "surrogate bytes": b'{"a": "\xed\xa0\x80"}',
        "cut character": b'{"a": "\xe2\x82"}',
        "half a pair": b'{"a": "\\ud800"}', "other half": b'{"a": "\\udc00"}', "half a pair as key": b'{"\\ud800": 1}',
        "U+0000": b'{"a": "\\u0000"}', "U+0000 as key": b'{"\\u0000": 1}', "raw U+0000": b'{"a": "\x00"}',
        "control character": b'{"a": "\x01"}', "only zeros": b"\x00" * 64, "operator": b'{"$where": "1"}',
        "operator inside": b'{"a": {"$gt": ""}}', "dot": b'{"a.b": 1}', "dots inside": b'{"a": [{"..": 1}]}',
        "prototype": b'{"__proto__": {"admin": true}}', "long key": b'{"' + b"k" * 300 + b'": 1}',
        "gzip": b"\x1f\x8b\x08\x00" + b"\x00" * 20, "form": b"a=1&b=2", "XML": b'<?xml version="1.0"?><a/>',
        "megabyte text": b'{"a": "' + b"x" * 900_000 + b'"}',
        "more than a megabyte": b'{"a": "' + b"x" * 1_200_000 + b'"}',
        "100,000 keys": b"{" + b",".join(b'"%d":1' % n for n in range(100_000)) + b"}",
        "200,000 values": b'{"a": [' + b"1," * 200_000 + b"1]}",
        "200,000 arrays": b'{"a": [' + b"[]," * 200_000 + b"1]}",
        "escaped megabyte": b'{"a": "' + b"\\u0041" * 100_000 + b'"}', "quotes": b'{"a": "' + b'\\"' * 100_000 + b'"}',
    }  # fmt: skip
    yield from plain.items()
    for depth in (31, 32, 33, 64, 999, 1_001, 5_000, 100_000):
        yield f"arrays {depth} deep", b'{"a": ' + b"[" * depth + b"]" * depth + b"}"
        yield f"objects {depth} deep", b'{"a":' * depth + b"1" + b"}" * depth
        yield f"arrays {depth} deep, open", b'{"a": ' + b"[" * depth
    chance = random.Random(5)
    for number in range(60):
        yield f"noise {number}", bytes(chance.randrange(256) for _ in range(chance.randrange(1, 400)))
    whole = json.dumps({"bucket_name": "x", "bucket_schema": {"properties": {}}, "metadata": {"a": [1, 2]}}).encode()
    for number in range(60):
        at = chance.randrange(len(whole))
        yield f"mutation {number}", whole[:at] + bytes([chance.randrange(256)]) + whole[at + chance.randrange(3) :]


def headers() -> Iterator[dict[str, str]]:
    """What a body may claim to be."""
    for content_type in ("", "text/plain", "application/json; charset=utf-16", "application/json; charset=x; a=b",
                         "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "APPLICATION/JSON",
                         "application/json;" * 200, "application/problem+json", "\xff"):  # fmt: skip
        yield {"Content-Type": content_type}
    for encoding in ("gzip", "br", "identity", "gzip, gzip", "x" * 1_000):
        yield {"Content-Type": JSON, "Content-Encoding": encoding}
    for name, value in (("X-Request-ID", "a b"), ("X-Request-ID", "x" * 500), ("X-Request-ID", "\xe9\xff"),
                        ("Idempotency-Key", ""), ("Idempotency-Key", "x" * 256), ("Idempotency-Key", "\xff"),
                        ("X-Namespace", "\xff\xfe"), ("X-Namespace", "x" * 5_000), ("Prefer", "\xff," * 99),
                        ("Origin", "\xff"), ("Origin", "http://["), ("User-Agent", "\xff" * 500),
                        ("X-Forwarded-For", "1, ::, \xff"), ("Authorization", "Bearer \xff"),
                        ("Authorization", "Bearer")):  # fmt: skip
        yield {"Content-Type": JSON, name: value}


def models_of(route: Route) -> list[type[BaseModel]]:
    """The bodies that a route reads: what its row names, and what its handler mentions."""
    named = [route.handler.__globals__.get(name) for name in route.handler.__code__.co_names]
    found = [one for one in named if isinstance(one, type) and issubclass(one, Body)]
    return list(dict.fromkeys([*([route.body] if route.body else []), *found]))


def wrong_fields(route: Route, whole: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """A good body with one field of it, at any depth, or of the model, replaced by each wrong value."""
    for model in models_of(route):
        for name in model.model_fields:
            for value in WRONG:
                yield f"{name} = {str(value)[:40]}", {**whole, name: value}
    for path in _paths(whole):
        for value in WRONG:
            yield f"{path} = {str(value)[:40]}", _replaced(whole, path, value)


def _paths(value: Any, before: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    items = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    for name, inner in items:
        yield (*before, name)
        yield from _paths(inner, (*before, name))


def _replaced(value: Any, path: tuple[str | int, ...], by: Any) -> Any:
    if not path:
        return by
    copy: Any = dict(value) if isinstance(value, Mapping) else list(value)
    copy[path[0]] = _replaced(copy[path[0]], path[1:], by)
    return copy
