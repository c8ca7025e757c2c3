"""Files of the data directory that a machine left half written: each is named, with what to do about it."""

import pytest

from cli.stack.engine import choose_engine
from cli.stack.layout import DataDirectory, read_json
from cli.stack.ports import remembered_ports
from config.settings import Settings
from core.errors import UnavailableError


@pytest.mark.parametrize("content", [b"", b'{"api": 80', b"\x00\x00", b"\xff"])
def test_a_damaged_file_is_named(layout: DataDirectory, content: bytes) -> None:
    layout.ports.write_bytes(content)
    with pytest.raises(UnavailableError, match=r"ports\.json is damaged: remove it"):
        remembered_ports(layout)


def test_what_says_whose_the_data_is_is_not_to_be_removed(layout: DataDirectory) -> None:
    layout.engine.write_bytes(b"")
    with pytest.raises(UnavailableError, match=r'as in {"engine": "secantusd-py"}: write that anew'):
        choose_engine(layout, Settings(_env_file=None))


def test_a_file_that_is_not_there_says_nothing(layout: DataDirectory) -> None:
    assert read_json(layout.ready) is None
