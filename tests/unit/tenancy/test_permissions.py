"""What a scope permits, and whether one grant contains another."""

import pytest

from core.tenancy.api_key import KeyGrant
from core.tenancy.permissions import (
    Named,
    Operation,
    Permission,
    ResourceType,
    Scope,
    scopes_contain,
    scopes_permit,
)
from core.tenancy.tenant import Environment

BUCKET = Named(ResourceType.BUCKET, ("bkt_1", "papers"))
READ, WRITE = Operation.READ_DATA, Operation.WRITE_DATA


def on_bucket(name: str, *operations: Operation) -> Scope:
    return Scope(ResourceType.BUCKET, name, frozenset(operations))


@pytest.mark.parametrize("name", ["bkt_1", "papers", "pap*", "*"])
def test_a_scope_permits_what_it_names(name: str) -> None:
    assert on_bucket(name).permits(READ, BUCKET)
    assert on_bucket(name, READ).permits(READ, BUCKET)


@pytest.mark.parametrize(
    "scope",
    [
        on_bucket("bkt_2"),
        on_bucket("paper"),
        on_bucket("pic*"),
        on_bucket("*", WRITE),
        on_bucket("papers", WRITE),
        Scope(ResourceType.COLLECTION, "papers"),
        Scope(ResourceType.COLLECTION, "*"),
    ],
)
def test_a_scope_permits_nothing_else(scope: Scope) -> None:
    assert not scope.permits(READ, BUCKET)
    assert not scopes_permit([scope], READ, [BUCKET])
    assert scopes_permit([scope, on_bucket("papers")], READ, [BUCKET])


def test_a_new_one_is_permitted_by_a_scope_on_all_only() -> None:
    assert on_bucket("*").permits(WRITE, Named(ResourceType.BUCKET))
    assert not on_bucket("pap*").permits(WRITE, Named(ResourceType.BUCKET))


@pytest.mark.parametrize(
    ("wide", "narrow", "contained"),
    [
        (on_bucket("*"), on_bucket("papers"), True),
        (on_bucket("*"), on_bucket("pap*"), True),
        (on_bucket("pap*"), on_bucket("papers"), True),
        (on_bucket("pap*"), on_bucket("pictures"), False),
        (on_bucket("papers"), on_bucket("*"), False),
        (on_bucket("papers"), on_bucket("pap*"), False),
        (on_bucket("*"), Scope(ResourceType.COLLECTION, "papers"), False),
        (on_bucket("papers", READ, WRITE), on_bucket("papers", READ), True),
        (on_bucket("papers", READ), on_bucket("papers", READ, WRITE), False),
        (on_bucket("papers", READ), on_bucket("papers"), False),
        (on_bucket("papers"), on_bucket("papers", READ), True),
    ],
)
def test_one_scope_contains_another(wide: Scope, narrow: Scope, contained: bool) -> None:
    assert wide.contains(narrow) is contained
    assert scopes_contain([wide], [narrow]) is contained


def test_no_scopes_are_everything_and_contained_by_nothing_less() -> None:
    one = on_bucket("papers")
    assert scopes_contain([], [])
    assert scopes_contain([], [one])
    assert not scopes_contain([one], [])
    assert not scopes_contain([one], [one, on_bucket("pictures")])
    assert scopes_contain([on_bucket("pictures"), one], [one])


def test_only_a_key_without_any_bound_is_a_full_admin() -> None:
    admin = (Permission.ADMIN,)
    assert KeyGrant(admin).is_full_admin
    assert not KeyGrant((Permission.DELETE,)).is_full_admin
    assert not KeyGrant(admin, scopes=(on_bucket("*"),)).is_full_admin
    assert not KeyGrant(admin, environment=Environment.DEV).is_full_admin
