import pytest

from config.redaction import redacted


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://:sec/ret@host:6379/0", "redis://:***@host:6379/0"),
        ("mongodb://user:secret@host:27017/keystage?x=1", "mongodb://user:***@host:27017/keystage?x=1"),
        ("redis://:secret@host:6379/0", "redis://:***@host:6379/0"),
        ("redis://user@host:6379/0", "redis://user@host:6379/0"),
        ("mongodb://host:27017/keystage", "mongodb://host:27017/keystage"),
        ("builtin", "builtin"),
    ],
)
def test_a_url_is_shown_without_its_password(url: str, shown: str) -> None:
    assert redacted(url) == shown
