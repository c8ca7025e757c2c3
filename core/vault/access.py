"""Access patterns: who used a secret, where to, how often and how it went; and what of it is unusual for that secret.

Kept for 90 days in one bounded document a secret and day. The audit log has every single use; this is its summary.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from core.storage.failures import insert_missing
from core.storage.handles import Handles
from core.storage.mongo import Document
from core.storage.scope import OrganizationScope

USED = "used"
"""The outcome of a use that was allowed; the others are codes of errors."""
OTHERS = "others"
"""What is counted together once a day has seen too many different ones."""

_KEPT_DAYS = 90
_DIFFERENT_A_DAY = 100
"""Callers, and hosts, that one day counts apart."""
_RECENT = timedelta(days=1)
"""Before today: callers and hosts are counted by the day, so what is recent begins at a midnight (UTC)."""
_LEAST_BURST = 20
"""Uses in an hour below which nothing is a burst."""
_BURST_FACTOR = 3
"""A burst is this many times the busiest hour of the secret's own history."""


@dataclass(frozen=True)
class Access:
    """One use of a secret, or one that was denied."""

    secret_id: str
    caller: str
    """the API key that submitted the job"""
    hosts: tuple[str, ...]
    """where the value was to be sent, as far as the stage says"""
    outcome: str
    at: datetime


@dataclass(frozen=True)
class AccessDay:
    """What one day saw of one secret."""

    day: datetime
    callers: Mapping[str, int]
    hosts: Mapping[str, int]
    outcomes: Mapping[str, int]
    hours: Mapping[int, int]

    @property
    def uses(self) -> int:
        """Uses, denied ones included."""
        return sum(self.outcomes.values())


class Unusual(StrEnum):
    """What can be unusual."""

    NEW_CALLER = "new_caller"
    NEW_HOST = "new_host"
    BURST = "burst"
    DENIED = "denied"


@dataclass(frozen=True)
class Finding:
    """Something that today or yesterday has and the secret's history has not."""

    kind: Unusual
    what: str
    """the caller, the host, the hour, or the reason"""
    count: int


@dataclass(frozen=True)
class AccessPattern:
    """A secret's use over the days that are kept, newest first, and what is unusual in today and yesterday."""

    days: list[AccessDay] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    def total(self, of: str) -> dict[str, int]:
        """`callers`, `hosts` or `outcomes` over all days, the most frequent first."""
        summed: Counter[str] = Counter()
        for day in self.days:
            summed.update(getattr(day, of))
        return dict(summed.most_common())


class AccessStore:
    """The access patterns of all organizations' secrets."""

    def __init__(self, handles: Handles) -> None:
        self._handles = handles

    def add(self, scope: OrganizationScope, accesses: Iterable[Access]) -> None:
        """Count these uses: one write for each secret and day among them."""
        by_day: dict[tuple[str, datetime], list[Access]] = {}
        for access in accesses:
            by_day.setdefault((access.secret_id, _day_of(access.at)), []).append(access)
        days = self._handles.organization(scope)["secret_access"]
        for (secret_id, day), uses in by_day.items():
            day_id = f"{secret_id}.{day:%Y%m%d}"
            standing = days.find_one({"_id": day_id})
            if standing is None:
                insert_missing(days, [_empty_day(day_id, secret_id, day)])
            days.update_one({"_id": day_id}, {"$inc": dict(_increments(uses, standing or {}))})

    def pattern(self, scope: OrganizationScope, secret_id: str, moment: datetime) -> AccessPattern:
        """A secret's days, and what is unusual in today and yesterday (UTC)."""
        query = {"secret_id": secret_id, "day": {"$gte": moment - timedelta(days=_KEPT_DAYS)}}
        found = self._handles.organization(scope)["secret_access"].find(query)
        days = sorted(map(_access_day, found), key=lambda day: day.day, reverse=True)
        return AccessPattern(days, unusual(days, moment))


def unusual(days: Iterable[AccessDay], moment: datetime) -> list[Finding]:
    """What today and yesterday have that the days before have not. Without a history there is nothing to differ from,
    but a denial is always worth a look."""
    since = _day_of(moment - _RECENT)
    recent = [day for day in days if day.day >= since]
    earlier = [day for day in days if day.day < since]
    findings = [
        Finding(Unusual.DENIED, reason, count)
        for reason, count in sorted(_summed(day.outcomes for day in recent).items())
        if reason != USED
    ]
    if not earlier:
        return findings
    for kind, part in ((Unusual.NEW_CALLER, "callers"), (Unusual.NEW_HOST, "hosts")):
        known = _summed(getattr(day, part) for day in earlier)
        seen = _summed(getattr(day, part) for day in recent)
        findings += [Finding(kind, name, count) for name, count in sorted(seen.items()) if name not in known]
    busiest = max((count for day in earlier for count in day.hours.values()), default=0)
    for day in recent:
        for hour, count in sorted(day.hours.items()):
            if count >= max(_LEAST_BURST, _BURST_FACTOR * busiest):
                findings.append(Finding(Unusual.BURST, f"{day.day:%Y-%m-%d}T{hour:02d}", count))
    return findings


def _increments(uses: Iterable[Access], standing: Mapping[str, Any]) -> Counter[str]:
    """What to add to a day's counters. Names beyond the bound are counted together."""
    sums: Counter[str] = Counter()
    known = {part: set(standing.get(part, {})) for part in ("callers", "hosts")}
    for use in uses:
        sums[f"callers.{_bounded(use.caller, known['callers'])}"] += 1
        for host in use.hosts:
            sums[f"hosts.{_bounded(host, known['hosts'])}"] += 1
        sums[f"outcomes.{use.outcome}"] += 1
        sums[f"hours.{use.at.astimezone(UTC).hour}"] += 1
    return sums


def _bounded(name: str, known: set[str]) -> str:
    # a field's name may hold neither a dot nor a leading dollar
    written = name.replace("%", "%25").replace(".", "%2E").replace("$", "%24")[:255] or "unknown"
    if written in known or len(known) < _DIFFERENT_A_DAY:
        known.add(written)
        return written
    return OTHERS


def _read_names(counts: Mapping[str, int]) -> dict[str, int]:
    return {name.replace("%24", "$").replace("%2E", ".").replace("%25", "%"): count for name, count in counts.items()}


def _empty_day(day_id: str, secret_id: str, day: datetime) -> Document:
    counters: Document = {"callers": {}, "hosts": {}, "outcomes": {}, "hours": {}}
    expires_at = day + timedelta(days=_KEPT_DAYS + 1)
    return {"_id": day_id, "secret_id": secret_id, "day": day, "expires_at": expires_at, **counters}


def _access_day(found: Mapping[str, Any]) -> AccessDay:
    return AccessDay(
        day=found["day"],
        callers=_read_names(found["callers"]),
        hosts=_read_names(found["hosts"]),
        outcomes=found["outcomes"],
        hours={int(hour): count for hour, count in found["hours"].items()},
    )


def _summed(counts: Iterable[Mapping[str, int]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for one in counts:
        total.update(one)
    return total


def _day_of(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
