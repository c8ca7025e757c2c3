"""Checks of the running processes, of deliveries, of logs, and of what was left as it was on the first day."""

from cli.operators.doctor.finding import Check, Seen, fail, ok, warn
from cli.operators.doctor.installation import Installation
from cli.stack.layout import data_directory
from core.health import MAX_AGE, ROLES
from core.storage.disk import FULL_BELOW_BYTES, free_bytes
from core.tenancy.first_keys import count_first_keys

RETRIES = "Use webhooks to detect ingestion completion; failed webhook deliveries remain retriable in MongoDB."
LOGS = "Log request IDs and namespace IDs to correlate incidents quickly."
MONITORING = "Monitoring – alert on health endpoint status, rate-limit breaches, or repeated 401/403 responses."
TENANCY = "Tenancy – adopt one namespace per environment/tenant; enforce X-Namespace always."
SCOPE = "Scope API keys – Issue environment-specific Mixpeek API keys (dev, staging, prod)"
_SEE_THE_OTHERS = "mend what the other checks name"
_MIB = 1024 * 1024
_SOON_FULL_BYTES = 1024 * _MIB
_LEAST_RETRY_SECONDS, _LEAST_RETRIES = 3600, 3


def _processes(seen: Installation) -> Seen:
    if isinstance(seen.records, str):
        return fail(f"no heartbeat can be read: {seen.records}", _SEE_THE_OTHERS)
    silent = [role for role in ROLES if not seen.records.heartbeats.fresh(role)]
    if silent:
        return fail(f"no heartbeat for {MAX_AGE.seconds} s: {', '.join(silent)}", "start it and look at its log")
    return ok(f"heartbeats of {', '.join(ROLES)} are fresh")


def _retries(seen: Installation) -> Seen:
    schedule = seen.settings.webhook_retry_schedule
    if len(schedule) < _LEAST_RETRIES or sum(schedule) < _LEAST_RETRY_SECONDS:
        what = f"a webhook is given up after {len(schedule)} retries in {sum(schedule):.0f} s"
        return warn(what, "leave KEYSTAGE_WEBHOOK_RETRY_SCHEDULE at its default of three days")
    return ok(f"{len(schedule)} retries over {sum(schedule) / 3600:.0f} h; then kept, and replayable")


def _command_log(seen: Installation) -> Seen:
    if seen.settings.mongo_command_log:
        return warn("KEYSTAGE_MONGO_COMMAND_LOG is set: it is made for tests", "unset it")
    return ok("the log of database commands is off")


def _logs(seen: Installation) -> Seen:
    settings = seen.settings
    if settings.log_format == "console" or settings.log_level == "DEBUG":
        what = f"logs are {settings.log_format} at {settings.log_level}"
        return warn(what, "leave KEYSTAGE_LOG_FORMAT at auto, or set it to json, and KEYSTAGE_LOG_LEVEL=INFO")
    return ok(f"logs are JSON at {settings.log_level}, with the ids of their unit of work")


def _first_keys(seen: Installation) -> Seen:
    if isinstance(seen.records, str):
        return fail(f"no key can be read: {seen.records}", _SEE_THE_OTHERS)
    organizations = seen.records.organizations.list()
    kept = count_first_keys(seen.records.handles, [organization.scope for organization in organizations])
    if kept:
        what = f"{kept} of {len(organizations)} organizations still hold the admin key of their first day"
        return warn(what, "issue scoped keys, then revoke the key named admin-key")
    return ok("no organization holds the admin key of its first day")


def _disk(seen: Installation) -> Seen:
    root = data_directory(seen.settings.data).root
    free = free_bytes(root)
    what = f"{free // _MIB:,} MiB are free below {root}"
    if free < FULL_BELOW_BYTES:
        return fail(f"the disk is full: {what}", "free some: databases, logs and blobs cannot be written")
    if free < _SOON_FULL_BYTES:
        return warn(what, "free some, or watch it: databases stop when nothing is left")
    return ok(what)


def _names(seen: Installation) -> Seen:
    if seen.told.unread:
        return warn("; ".join(seen.told.unread), "correct the name, or take the variable away")
    return ok("every KEYSTAGE_ variable that is set is a setting")


CHECKS = (
    Check("processes", MONITORING, _processes),
    Check("webhooks.retries", RETRIES, _retries),
    Check("command_log", TENANCY, _command_log),
    Check("logs", LOGS, _logs),
    Check("keys.first", SCOPE, _first_keys),
    Check("disk", MONITORING, _disk),
    Check("settings.names", MONITORING, _names),
)
