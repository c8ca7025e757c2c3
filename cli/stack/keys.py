"""Makes the keys of an embedded stack where the operator gave none. It never replaces, prints or logs one."""

import base64
import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from cli.stack.layout import DataDirectory
from config.refusals import variable
from config.settings import Settings
from core.audit.checkpoint import Signer

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

KEY_SETTINGS = (*_MAKERS, "audit_signing_key")
"""What the stack makes where the settings leave it unset."""

ROOT_KEY_VARIABLES = frozenset(
    {
        "KEYSTAGE_VAULT_KEYS",
        "KEYSTAGE_KEK_FILE",
        "KEYSTAGE_KEK_TRANSIT_TOKEN",
        "KEYSTAGE_KEY_PEPPERS",
        "KEYSTAGE_AUDIT_KEYS",
        "KEYSTAGE_AUDIT_SIGNING_KEY",
    }
)
"""What no Ray node may hold (design, the way of a job, step 10)."""


def own_keys(layout: DataDirectory, settings: Settings) -> dict[str, str]:
    """The stack's own values, as environment variables, of the keys that the settings leave unset."""
    unset = [name for name in _MAKERS if not getattr(settings, name)]
    return {variable(name): _read_or_make(layout.keys / variable(name).lower(), _MAKERS[name]) for name in unset}


@dataclass(frozen=True)
class SigningKeys:
    """Who is told what about the key that signs audit checkpoints (design decision 16)."""

    of_sweeper: dict[str, str]
    of_everybody: dict[str, str]
    """the public keys, and an empty signing key, which also hides one that a .env file gives to every process"""


def signing_keys(layout: DataDirectory, settings: Settings) -> SigningKeys:
    """The stack's signing key, made when the settings give none, and the public keys that check its signatures."""
    name = variable("audit_signing_key")
    given = settings.audit_signing_key
    private = given.get_secret_value() if given else _read_or_make(layout.signing_keys / name.lower(), _root_key)
    public = settings.audit_verify_keys or _published(layout, Signer(SecretStr(private)).public_key)
    return SigningKeys({name: private}, {name: "", variable("audit_verify_keys"): ",".join(public)})


def _published(layout: DataDirectory, public_key: str) -> list[str]:
    """The public keys that the stack has had, newest first, kept where the operator's commands read them."""
    path = layout.keys / variable("audit_verify_keys").lower()
    known = path.read_text().split(",") if path.exists() else []
    if public_key not in known:
        known.insert(0, public_key)
        _write(path, ",".join(known))
    return known


def _read_or_make(path: Path, make: Callable[[], str]) -> str:
    if not path.exists():
        _write(path, make())
    return path.read_text().strip()


def _write(path: Path, text: str) -> None:
    draft = path.with_name(path.name + ".new")
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
        file.flush()
        # whatever it will seal outlives a power cut, so it must too
        os.fsync(file.fileno())
    draft.rename(path)
