"""A key service that is known to be away is asked for nothing but a sign of life."""

from unittest.mock import Mock

import pytest

from core.backends.backend import Backend
from core.errors import BackendAwayError
from core.vault.kek import Wrapped
from core.vault.kek_watched import WatchedKeyEncryption


def test_one_that_is_away_is_not_asked() -> None:
    service = Mock()
    watched = WatchedKeyEncryption(service, Mock(side_effect=BackendAwayError(Backend.KEY_SERVICE)))
    with pytest.raises(BackendAwayError):
        watched.wrap(b"key", "int_a", 1)
    with pytest.raises(BackendAwayError):
        watched.unwrap(Wrapped("kek", b"blob"), "int_a", 1)
    assert service.mock_calls == []
    watched.probe()
    assert len(service.mock_calls) == 1
