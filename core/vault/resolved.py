"""Secrets that were resolved for one execution: masked values, and the hosts they may be sent to. Never printed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from core.errors import SecretUnusableError
from core.vault.references import reference_of


@dataclass(frozen=True)
class ResolvedSecret:
    """One secret's value for one execution. Its repr, and what is pickled of it for a log, never shows the value."""

    name: str
    value: str = field(repr=False)
    allowed_hosts: tuple[str, ...] = ()
    """hosts it may be sent to, `*.example.com` for subdomains; empty for any"""

    def for_host(self, host: str) -> str:
        """The value, for a request to `host`. Raises SecretUnusableError for a host that it may not be sent to."""
        name = host.lower().rstrip(".")
        if self.allowed_hosts and not any(host_matches(pattern, name) for pattern in self.allowed_hosts):
            raise SecretUnusableError(self.name, "secret_host_mismatch", "may not be sent to this host")
        return self.value


@dataclass(frozen=True)
class ResolvedSecrets:
    """All secrets of one execution, by name. Handed to an actor as a direct argument, never stored."""

    by_name: Mapping[str, ResolvedSecret] = field(default_factory=dict)

    def meant_by(self, value: Any) -> ResolvedSecret:
        """The secret that a field's value names. Raises SecretUnusableError when it was not resolved."""
        name = reference_of(value) or str(value)
        found = self.by_name.get(name)
        if found is None:
            raise SecretUnusableError(name, "secret_missing", "does not exist")
        return found

    @property
    def values(self) -> Sequence[str]:
        """Every value, for the redactor alone."""
        return [secret.value for secret in self.by_name.values()]


NO_SECRETS = ResolvedSecrets()
"""For stages that name none."""


def host_matches(pattern: str, host: str) -> bool:
    """Whether a host in lower case is this one, or a subdomain by `*.example.com`."""
    return host.endswith(pattern[1:]) if pattern.startswith("*.") else host == pattern
