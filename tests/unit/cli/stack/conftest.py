"""An empty data directory for the embedded stack's parts."""

from pathlib import Path

import pytest

from cli.stack.layout import DataDirectory, data_directory


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DataDirectory:
    """A made data directory, in a current directory without a .env."""
    monkeypatch.chdir(tmp_path)
    layout = data_directory(Path("data"))
    layout.make()
    return layout
