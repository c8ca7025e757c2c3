"""Errors of the library for object storage, as it words them: a connection that was never made is not silence."""

import pytest

from core.errors import BackendAwayError
from core.storage.object_stores import failure_of

WORDING = """Generic S3 error: Error performing PUT http://127.0.0.1:9/bucket/a/b in 1.7s, after 1 retries
Debug source:
Generic {{ source: RetryError( RetryErrorImpl {{ inner: Http( HttpError {{
    kind: Timeout,
    source: {source},
}}, ), }}, ), }}"""
WITHOUT_CONNECTION = (
    """reqwest::Error { kind: Request, source: hyper_util::client::legacy::Error(
        Connect,
        ConnectError( "tcp connect error", 127.0.0.1:9, Custom { kind: TimedOut, error: Elapsed( (), ) }, ), ) }""",
    # two of its timers have the same bound, and either may be first
    """reqwest::Error { kind: Request, source: hyper_util::client::legacy::Error(
        Connect,
        TimedOut, ) }""",
)


@pytest.mark.parametrize("source", WITHOUT_CONNECTION)
def test_a_connection_that_was_never_made_is_no_silence(source: str) -> None:
    error = failure_of(RuntimeError(WORDING.format(source=source)))
    assert isinstance(error, BackendAwayError)
    assert not error.silent


def test_an_answer_that_never_came_is_silence() -> None:
    error = failure_of(RuntimeError(WORDING.format(source="reqwest::Error { kind: Request, source: TimedOut }")))
    assert isinstance(error, BackendAwayError)
    assert error.silent
