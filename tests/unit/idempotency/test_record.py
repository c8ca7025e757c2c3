"""The fingerprint that ties a key to one request."""

from typing import Any

from core.idempotency.record import request_digest


def test_every_part_of_a_request_changes_its_fingerprint() -> None:
    requests: list[tuple[Any, ...]] = [
        ("POST", "/a", "", b"{}", "ns_1"),
        ("PUT", "/a", "", b"{}", "ns_1"),
        ("POST", "/b", "", b"{}", "ns_1"),
        ("POST", "/a", "x=1", b"{}", "ns_1"),
        ("POST", "/a", "", b"{ }", "ns_1"),
        ("POST", "/a", "", b"{}", None),
        ("POST", "/a", "", b"{}", "ns_1", "read"),
        # the same text, cut at another place
        ("POST", "/", "a", b"{}", "ns_1"),
    ]
    assert len({request_digest(*request) for request in requests}) == len(requests)
    assert request_digest(*requests[0]) == request_digest(*requests[0])
