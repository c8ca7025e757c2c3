"""Finds the stack that an operator's command works on. It starts nothing and talks to no server."""

from pathlib import Path
from typing import Any

from cli.stack.layout import data_directory, read_json
from cli.stack.lock import running_stack
from config.settings import Settings, load_settings
from core.errors import UnavailableError

_ADDRESSES = ("mongo_url", "redis_url", "ray_address")


def stack_settings(data: Path | None = None) -> Settings:
    """The settings of the stack at hand: those given, completed by the stack that runs on the data directory.

    `data` stands over KEYSTAGE_DATA. Raises UnavailableError when KEYSTAGE_MONGO_URL is unset and no stack runs there.
    """
    given = load_settings()
    layout = data_directory(data or given.data)
    if running_stack(layout) is None or (addresses := read_json(layout.ready)) is None:
        if "mongo_url" in given.model_fields_set:
            return given
        raise UnavailableError(
            f"no stack runs on {layout.root}: start one with `keystage up`, name its directory in KEYSTAGE_DATA, "
            "or set KEYSTAGE_MONGO_URL and KEYSTAGE_REDIS_URL"
        )
    found: dict[str, Any] = {name: addresses[name] for name in _ADDRESSES if name not in given.model_fields_set}
    # the operator's own files stand over those that the stack made where there were none
    named = Settings.model_config.get("secrets_dir")
    return Settings(_secrets_dir=[layout.keys, str(named)] if named else layout.keys, data=layout.root, **found)
