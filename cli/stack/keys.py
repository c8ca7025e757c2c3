"""Makes the keys of an embedded stack where the operator gave none. It never replaces, prints or logs one."""

import base64
import os
import secrets
from collections.abc import Callable
from pathlib import Path

from cli.stack.layout import DataDirectory
from config.settings import Settings

_KEY_BYTES = 32


def _root_key() -> str:
    return f"{secrets.token_hex(4)}:{base64.urlsafe_b64encode(secrets.token_bytes(_KEY_BYTES)).decode()}"


def _token() -> str:
    return secrets.token_hex(_KEY_BYTES)


_MAKERS: dict[str, Callable[[], str]] = {
    "vault_keys": _root_key,
    "key_peppers": _root_key,
    "audit_keys": _root_key,
    "ray_auth_token": _token,
}
"""Settings that hold keys, and what makes a first value."""

ROOT_KEY_VARIABLES = frozenset({"KEYSTAGE_VAULT_KEYS", "KEYSTAGE_KEY_PEPPERS", "KEYSTAGE_AUDIT_KEYS"})
"""What no Ray node may hold (design, the way of a job, step 10)."""


def own_keys(layout: DataDirectory, settings: Settings) -> dict[str, str]:
    """The stack's own values, as environment variables, of the keys that the settings leave unset."""
    unset = [name for name in _MAKERS if not getattr(settings, name)]
    return {variable(name): _read_or_make(layout.keys / variable(name).lower(), _MAKERS[name]) for name in unset}


def variable(setting: str) -> str:
    """The environment variable of a setting."""
    return f"KEYSTAGE_{setting.upper()}"


def _read_or_make(path: Path, make: Callable[[], str]) -> str:
    if not path.exists():
        draft = path.with_name(path.name + ".new")
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(make())
            file.flush()
            # whatever it will seal outlives a power cut, so it must too
            os.fsync(file.fileno())
        draft.rename(path)
    return path.read_text().strip()
