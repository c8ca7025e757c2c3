"""The fingerprint that ties a key to one request."""

from typing import Any

from core.idempotency.record import UsedKey, request_digest


def test_every_part_of_a_request_changes_its_fingerprint() -> None:
    requests: list[tuple[Any, ...]] = [
        ("", b"{}"),
        ("x=1", b"{}"),
        ("", b"{ }"),
        ("", b"{}", "read"),
        # the same text, cut at another place
        ("x", b"=1{}"),
    ]
    assert len({request_digest(*request) for request in requests}) == len(requests)
    assert request_digest(*requests[0]) == request_digest(*requests[0])


def test_a_key_is_another_one_in_another_place() -> None:
    places = [
        UsedKey("k", "buckets.create", "/v1/buckets", "ns_1"),
        UsedKey("other", "buckets.create", "/v1/buckets", "ns_1"),
        UsedKey("k", "objects.create", "/v1/buckets", "ns_1"),
        UsedKey("k", "buckets.create", "/v1/buckets/b", "ns_1"),
        UsedKey("k", "buckets.create", "/v1/buckets", "ns_2"),
        UsedKey("k", "buckets.create", "/v1/buckets", None),
    ]
    ids = [place.record_id(organization) for place in places for organization in ("int_1", "int_2")]
    assert len(set(ids)) == 12
    assert places[0].record_id("int_1") == ids[0]
