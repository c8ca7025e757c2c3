"""A secret as its organization sees it, and what a name, a value and the limits on its use may be. Pure."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from core.errors import FieldProblem
from core.vault.cipher import SecretRecord

NAME_PATTERN = r"^[a-z][a-z0-9_]{0,99}$"
MIN_VALUE_CHARACTERS = 8
MAX_VALUE_BYTES = 64 * 1024
VERSIONS_KEPT = 10
MAX_SECRETS = 1000
"""Secrets of one organization."""

_NAME = re.compile(NAME_PATTERN, re.ASCII)
_LABEL = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST = re.compile(rf"(\*\.)?{_LABEL}(\.{_LABEL})*|[0-9a-f:]*:[0-9a-f:]+")
_MAX_HOST = 253


@dataclass(frozen=True)
class SecretLimits:
    """What an organization says about the use of a secret."""

    expires_at: datetime | None = None
    """from then on it cannot be used"""
    disabled: bool = False
    allowed_hosts: tuple[str, ...] = ()
    """hosts it may be sent to, `*.example.com` for subdomains; empty for any"""
    allowed_namespaces: tuple[str, ...] = ()
    """ids of namespaces whose jobs may use it; empty for all"""


@dataclass(frozen=True)
class Secret:
    """A named value in the vault, without the value."""

    secret_id: str
    internal_id: str
    name: str
    version: int
    limits: SecretLimits
    created_by: str | None
    """the API key that made it"""
    created_at: datetime
    updated_at: datetime
    last_used_at: datetime | None
    """to the minute"""

    @property
    def record(self) -> SecretRecord:
        """What its present value is sealed for."""
        return SecretRecord(self.internal_id, self.secret_id, self.name, self.version)

    def unusable_in(self, namespace_id: str, moment: datetime) -> tuple[str, str] | None:
        """Why a job of this namespace may not use it now, as a code and words; None when it may."""
        if self.limits.disabled:
            return "secret_disabled", "is disabled"
        if self.limits.expires_at is not None and self.limits.expires_at <= moment:
            return "secret_expired", "has expired"
        if self.limits.allowed_namespaces and namespace_id not in self.limits.allowed_namespaces:
            return "secret_wrong_namespace", "may not be used in this namespace"
        return None


@dataclass(frozen=True)
class SecretVersion:
    """One value that a secret has, or had."""

    version: int
    created_at: datetime
    created_by: str | None


def secret_from_document(found: Mapping[str, Any]) -> Secret:
    """Read a secret as the store writes it."""
    return Secret(
        secret_id=found["_id"],
        internal_id=found["internal_id"],
        name=found["name"],
        version=found["version"],
        limits=SecretLimits(
            expires_at=found["expires_at"],
            disabled=found["disabled"],
            allowed_hosts=tuple(found["allowed_hosts"]),
            allowed_namespaces=tuple(found["allowed_namespaces"]),
        ),
        created_by=found["created_by"],
        created_at=found["created_at"],
        updated_at=found["updated_at"],
        last_used_at=found["last_used_at"],
    )


def limits_document(limits: SecretLimits) -> dict[str, Any]:
    """Limits as the store writes them."""
    return {
        "expires_at": limits.expires_at,
        "disabled": limits.disabled,
        "allowed_hosts": list(limits.allowed_hosts),
        "allowed_namespaces": list(limits.allowed_namespaces),
    }


def name_problems(name: str) -> list[FieldProblem]:
    """What is wrong with a name."""
    if _NAME.fullmatch(name):
        return []
    rule = "use a lower-case letter, then up to 99 lower-case letters, digits and underscores"
    return [FieldProblem(("secret_name",), rule, "secret_name")]


def value_problems(value: str) -> list[FieldProblem]:
    """What is wrong with a value. It is never repeated in the answer."""
    if len(value) < MIN_VALUE_CHARACTERS:
        why = f"at least {MIN_VALUE_CHARACTERS} characters: a shorter value could not be redacted from results and logs"
        return [FieldProblem(("secret_value",), why, "secret_too_short")]
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        return [FieldProblem(("secret_value",), "must be text that has a UTF-8 form", "secret_encoding")]
    if size > MAX_VALUE_BYTES:
        return [FieldProblem(("secret_value",), f"at most {MAX_VALUE_BYTES} bytes", "secret_too_long")]
    return []


def host_problems(hosts: Iterable[str]) -> list[FieldProblem]:
    """What is wrong with a list of allowed hosts."""
    return [
        FieldProblem(("allowed_hosts", index), "a host in lower case such as api.example.com, or *.example.com", "host")
        for index, host in enumerate(hosts)
        if len(host) > _MAX_HOST or not _HOST.fullmatch(host)
    ]
