"""Several writes, all or none: also when the connection breaks, which is tried again once and not for two minutes."""

from typing import Any

import pytest
from pymongo.client_session import ClientSession
from pymongo.database import Database
from pymongo.errors import AutoReconnect, ConnectionFailure, OperationFailure

from core.errors import BackendAwayError
from core.storage.handles import Handles, NamespaceData
from core.storage.mongo import Document
from core.storage.scope import NamespaceScope


def writes_two(data: NamespaceData) -> None:
    data["objects"].insert_one({"_id": "one"})
    data["objects"].insert_one({"_id": "two"})


def broken(label: str) -> AutoReconnect:
    error = AutoReconnect("connection closed")
    error._add_error_label(label)
    return error


def count(handles: Handles, scope: NamespaceScope) -> int:
    return handles.namespace(scope)["objects"].count({})


def test_all_of_it_is_there_or_nothing(handles: Handles, scope: NamespaceScope) -> None:
    def fails(data: NamespaceData) -> None:
        writes_two(data)
        raise LookupError

    with pytest.raises(LookupError):
        handles.namespace(scope).all_or_nothing(fails)
    assert count(handles, scope) == 0
    handles.namespace(scope).all_or_nothing(writes_two)
    assert count(handles, scope) == 2


@pytest.mark.parametrize(("breaks", "is_away", "tries"), [(1, False, 2), (9, False, 2), (9, True, 1)])
def test_a_broken_connection_is_tried_again_once(
    database: Database[Document], scope: NamespaceScope, breaks: int, is_away: bool, tries: int
) -> None:
    handle, tried = NamespaceData(database, scope, is_away=lambda: is_away), list[int]()

    def writes(data: NamespaceData) -> None:
        tried.append(1)
        writes_two(data)
        if len(tried) <= breaks:
            raise broken("TransientTransactionError")

    if breaks < tries:
        handle.all_or_nothing(writes)
    else:
        with pytest.raises(ConnectionFailure):
            handle.all_or_nothing(writes)
    assert (len(tried), handle["objects"].count({})) == (tries, 2 if breaks < tries else 0)


@pytest.mark.parametrize("lost", [1, 9])
def test_a_commit_whose_answer_is_lost_is_asked_for_again_once(
    handles: Handles, scope: NamespaceScope, monkeypatch: pytest.MonkeyPatch, lost: int
) -> None:
    commits: list[int] = []
    whole: Any = ClientSession.commit_transaction

    def commit(session: ClientSession) -> None:
        commits.append(1)
        whole(session)
        if len(commits) <= lost:
            raise broken("UnknownTransactionCommitResult")

    monkeypatch.setattr(ClientSession, "commit_transaction", commit)
    if lost == 1:
        handles.namespace(scope).all_or_nothing(writes_two)
    else:
        with pytest.raises(ConnectionFailure):
            handles.namespace(scope).all_or_nothing(writes_two)
    assert (len(commits), count(handles, scope)) == (2, 2)


def test_transactions_that_meet_are_made_one_after_the_other(handles: Handles, scope: NamespaceScope) -> None:
    tried: list[int] = []

    def meets(data: NamespaceData) -> None:
        tried.append(1)
        if len(tried) < 5:
            conflict = OperationFailure("WriteConflict", 112)
            conflict._add_error_label("TransientTransactionError")
            raise conflict
        writes_two(data)

    handles.namespace(scope).all_or_nothing(meets)
    assert (len(tried), count(handles, scope)) == (5, 2)


def test_a_database_that_is_known_to_be_away_is_not_asked(database: Database[Document], scope: NamespaceScope) -> None:
    handles = Handles(database, lambda: True)
    for ask in (
        lambda: handles.namespace(scope),
        lambda: handles.organization(scope),
        lambda: handles.system["jobs"],
    ):
        with pytest.raises(BackendAwayError):
            ask()
