"""Checks of keys and of the files that hold them. It compares keys, and never shows one."""

import os
from collections.abc import Iterator
from pathlib import Path

from cli.operators.doctor.finding import Check, Seen, fail, ok, warn
from cli.operators.doctor.installation import Installation
from cli.stack.layout import data_directory
from config.refusals import variable
from config.tls import TlsSettings
from config.variables import Place
from core.storage.keyring import Keyring

SECRETS = "Secrets – manage via Vault, AWS Secrets Manager, GCP Secret Manager, or Kubernetes secrets with rotation."
AUTH = "Auth – issue scoped API keys, expire unused keys, enable audit logging."
_ROOT_KEYS = ("vault_keys", "key_peppers", "audit_keys")
_OTHERS_READ, _OTHERS_ENTER = 0o004, 0o001


def _keys_present(seen: Installation) -> Seen:
    missing = [variable(name) for name in _ROOT_KEYS if not seen.holds(name)]
    if missing:
        return fail(f"not set: {', '.join(missing)}", "give each at least one key: <id>:<32 bytes as urlsafe base64>")
    return ok("vault keys, key peppers and audit keys are set")


def _keys_distinct(seen: Installation) -> Seen:
    owners: dict[bytes, str] = {}
    for name in _ROOT_KEYS:
        try:
            keys = list(Keyring(variable(name), getattr(seen.settings, name)))
        except ValueError as error:
            return fail(str(error), "write each key as <id>:<32 bytes as urlsafe base64>")
        for key in keys:
            other = owners.setdefault(key.material, variable(name))
            if other != variable(name):
                return fail(f"{other} and {variable(name)} share a key", "make a key of its own for each purpose")
            if len(set(key.material)) < 8:
                return fail(f"{variable(name)}: a key is not random", "make it with `head -c 32 /dev/urandom`")
    unseen = [variable(name) for name in _ROOT_KEYS if seen.holds(name) and not getattr(seen.settings, name)]
    apart = f"; only the stack holds {', '.join(unseen)}, not compared here" if unseen else ""
    return ok(f"{len(owners)} keys, no two purposes share one{apart}")


def _secret_files(seen: Installation) -> Seen:
    files = sorted(set(_files(seen)))
    readable = [str(path) for path in files if _others_may_read(path)]
    if readable:
        return fail(f"anybody on this machine may read {', '.join(readable)}", "chmod 600 each, or 700 its directory")
    return ok(f"{len(files)} files with secrets, none readable by others")


def _files(seen: Installation) -> Iterator[Path]:
    for place in (data_directory(seen.settings.data).keys, *map(Path, seen.told.files)):
        if place.is_dir():
            yield from (path for path in place.iterdir() if path.is_file())
        elif place.is_file():
            yield place
    for name in TlsSettings.model_fields:
        path: Path | None = getattr(seen.settings, name)
        if path and "key_file" in name:
            yield path.resolve()


def _others_may_read(path: Path) -> bool:
    # a file that others could read is out of their reach below a directory they cannot enter
    parents = path.resolve().parents
    return bool(path.stat().st_mode & _OTHERS_READ) and all(
        os.stat(parent).st_mode & _OTHERS_ENTER for parent in parents
    )


def _secret_source(seen: Installation) -> Seen:
    origins = {variable(name): seen.told.row(name).origin for name in _ROOT_KEYS}
    plain = [name for name, origin in origins.items() if origin == Place.ENVIRONMENT]
    if plain:
        advice = "move them to mounted files (KEYSTAGE_SECRETS_DIR) or a manager (KEYSTAGE_SECRETS_FROM)"
        return warn(f"in the environment, which child processes and crash reports see: {', '.join(plain)}", advice)
    return ok(f"keys come from: {', '.join(sorted(set(origins.values())))}")


def _audit(seen: Installation) -> Seen:
    if not seen.holds("audit_keys"):
        return fail("KEYSTAGE_AUDIT_KEYS is not set: the log's chain cannot be sealed", "set it")
    return ok("audit entries are chained; `keystage audit verify` proves that none was changed")


def _key_expiry(seen: Installation) -> Seen:
    days = seen.settings.key_unused_days
    if not days:
        return warn("unused API keys never expire", "set KEYSTAGE_KEY_UNUSED_DAYS")
    return ok(f"API keys expire after {days} days without use")


CHECKS = (
    Check("keys.present", SECRETS, _keys_present),
    Check("keys.distinct", SECRETS, _keys_distinct),
    Check("secrets.source", SECRETS, _secret_source),
    Check("secrets.files", SECRETS, _secret_files),
    Check("audit", AUTH, _audit),
    Check("keys.expiry", AUTH, _key_expiry),
)
