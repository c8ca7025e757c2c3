"""How each action is recorded: rights, secrets and money before they change, reads beside the request."""

import re

import pytest

from core.audit.actions import ACCESS, FAIL_CLOSED, AuditAction


@pytest.mark.parametrize("action", AuditAction)
def test_an_action_reads_resource_and_verb(action: AuditAction) -> None:
    assert re.fullmatch(r"[a-z]+(_[a-z]+)+", action.value)
    assert action.value.startswith(action.resource_type + "_")


def test_the_classes_do_not_overlap() -> None:
    assert not FAIL_CLOSED & ACCESS
    denials = {AuditAction.AUTHENTICATION_FAILED, AuditAction.PERMISSION_DENIED}
    assert not denials & (FAIL_CLOSED | ACCESS)


def test_what_must_be_recorded_before_it_happens() -> None:
    for name in (
        "api_key_created", "api_key_rotated", "api_key_revoked", "api_key_updated", "user_updated",
        "permission_updated", "secret_created", "secret_accessed", "credits_granted", "webhook_created",
        "webhook_updated", "webhook_deleted",
        "audit_exported", "audit_settings_updated", "organization_updated", "bucket_deleted", "object_deleted",
    ):  # fmt: skip
        assert AuditAction(name) in FAIL_CLOSED
    assert {action for action in AuditAction if action.value.endswith("_deleted")} <= FAIL_CLOSED


def test_reads_and_executions_are_recorded_by_choice() -> None:
    assert {AuditAction.OBJECT_CREATED, AuditAction.BATCH_SUBMITTED, AuditAction.RETRIEVER_EXECUTED} <= ACCESS
    assert AuditAction.BUCKET_ACCESSED in ACCESS
    assert AuditAction.SECRET_ACCESSED not in ACCESS
    assert not {AuditAction.BUCKET_CREATED, AuditAction.DELIVERY_REPLAYED, AuditAction.TASK_CANCELLED} & (
        ACCESS | FAIL_CLOSED
    )


@pytest.mark.parametrize(
    ("action", "resource_type"),
    [
        (AuditAction.API_KEY_SCOPE_UPDATED, "api_key"),
        (AuditAction.API_KEY_ROTATED, "api_key"),
        (AuditAction.AUDIT_SETTINGS_UPDATED, "audit_settings"),
        (AuditAction.RETRIEVER_EXECUTED, "retriever"),
    ],
)
def test_the_resource_type_is_the_published_one(action: AuditAction, resource_type: str) -> None:
    assert action.resource_type == resource_type
