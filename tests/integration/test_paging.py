"""One rule of paging on every list of the registry: no row is left out or shown twice, and all parameters hold."""

import base64
from dataclasses import dataclass
from datetime import timedelta

import pytest
from flask import Flask

from api.registry import ROUTES
from api.schemas.paging import PagingQuery
from core.bootstrap import Services
from core.clock import now
from tests.integration.conftest import Tenant, make_tenant
from tests.integration.fuzz_records import known_records
from tests.integration.shelves import SHELVES, Stock, fill

DEFAULTS = {"audit.list": 100, "billing.transactions": 50, "secrets.list": 1000, "api_keys.list": 1000}
"""As published; every other list gives ten."""
MOMENT = now() - timedelta(days=2)
ROWS = 25
every_list = pytest.mark.parametrize("limited_as", SHELVES)


@dataclass
class Owner:
    """A tenant with a row of each kind."""

    tenant: Tenant
    known: dict[str, str]

    def fill(self, limited_as: str) -> Stock:
        """One of its lists with 25 rows of one millisecond."""
        return fill(self.tenant, limited_as, self.known, MOMENT)


@pytest.fixture(scope="module")
def owners(app: Flask, services: Services) -> tuple[Owner, Owner]:
    """Two organizations that know nothing of each other."""
    return _owner(app, services), _owner(app, services)


def _owner(app: Flask, services: Services) -> Owner:
    tenant = make_tenant(app, services)
    known = known_records(tenant)
    hold = services.ledger.hold(tenant.scope, known["path.task_id"] + "x", 500)
    services.ledger.capture(tenant.scope, hold, 500, {"operation": "retriever", "retriever_id": "ret_1"})
    user = services.users.get(tenant.scope, known["path.user_email"])
    return Owner(tenant, {**known, "first of users.list": user.user_id})


@pytest.fixture
def stock(owners: tuple[Owner, Owner], limited_as: str) -> Stock:
    """A list of 25 rows of one millisecond."""
    return owners[0].fill(limited_as)


def test_every_list_of_the_registry_is_tried_here() -> None:
    paged = [route for route in ROUTES if route.query and issubclass(route.query, PagingQuery)]
    assert {route.limited_as for route in paged} == SHELVES.keys()
    assert {route.name for route in paged} == {route.name for route in ROUTES if ".list" in route.name} | {
        "billing.transactions"
    }
    for route in paged:
        # a list may add parameters of its own and changes none
        of_the_rule = {name: route.query.model_fields[name] for name in PagingQuery.model_fields} if route.query else {}
        assert repr(of_the_rule) == repr(PagingQuery.model_fields), route.name
        assert "pagination" in getattr(route.answers[200], "model_fields", {}), route.name


@every_list
def test_every_row_that_stays_is_listed_once_while_others_come_and_go(stock: Stock, limited_as: str) -> None:
    seen: list[str] = []
    gone: list[str] = []
    query = "limit=10"
    for number in range(4):
        answer = stock.page(query).get_json()
        seen += stock.shown(answer)
        following = answer["pagination"]["next_cursor"]
        if following is None:
            break
        last = next(name for name in reversed(seen) if name != stock.names[0] and name not in gone)
        stock.remove(last)
        gone.append(last)
        # one at the head, one amid those of the same millisecond, and an unseen one taken away
        stock.add(100 + number, now())
        stock.add(200 + number)
        for unseen in [name for name in stock.names[1:] if name not in seen + gone][:1]:
            stock.remove(unseen)
            gone.append(unseen)
        query = f"limit=10&cursor={following}"
    stayed = set(stock.names) - set(gone)
    assert following is None
    assert len(gone) == 4
    assert stayed <= set(seen)
    assert len(seen) == len(set(seen))


@every_list
def test_every_list_takes_the_same_parameters(stock: Stock, limited_as: str) -> None:
    whole = stock.shown(stock.page("limit=1000").get_json())
    assert len(whole) == ROWS
    for query, rows in {
        "limit=3": whole[:3],
        "page_size=3": whole[:3],
        "limit=2&page_size=5": whole[:2],
        "limit=3&offset=4": whole[4:7],
        "limit=3&skip=4": whole[4:7],
        "limit=3&offset=2&skip=4": whole[2:5],
        "limit=3&page=3": whole[6:9],
        "limit=3&page=3&offset=1": whole[1:4],
        "limit=3&offset=24": whole[24:],
        "limit=3&offset=25": [],
        "": whole[: DEFAULTS.get(limited_as, 10)],
    }.items():
        answer = stock.page(query).get_json()
        assert stock.shown(answer) == rows, query
        assert (answer["pagination"]["next_cursor"] is None) is (rows == [] or rows[-1] == whole[-1]), query
    assert stock.page("").get_json()["pagination"]["page_size"] == DEFAULTS.get(limited_as, 10)
    (warning,) = stock.page("limit=3&pagesize=5").get_json()["warnings"]
    assert "query parameter 'pagesize' was ignored" in warning
    assert "warnings" not in stock.page("limit=3").get_json()
    first = stock.page("limit=10&include_total=true").get_json()["pagination"]
    assert (first["total"], first["total_pages"], first["page"], first["next_page"]) == (ROWS, 3, 1, "2")
    for name in ("cursor", "next_cursor", "after"):
        # a cursor wins over an offset
        answer = stock.page(f"limit=10&offset=1&{name}={first['next_cursor']}&include_total=true").get_json()
        assert (stock.shown(answer), answer["pagination"]["page"]) == (whole[10:20], 2)
        assert answer["pagination"]["total"] == ROWS


@every_list
def test_every_list_has_the_same_bounds(stock: Stock, limited_as: str) -> None:
    old_forms = ("1790000000000-3-10", "10", "zzz", "W10", "WzEsMl0", "bnVsbA")
    for bad in (
        *(f"{name}={value}" for name in ("limit", "page_size") for value in ("0", "1001", "-1", "ten", "", "1.0")),
        *(f"{name}={value}" for name in ("offset", "skip") for value in ("-1", "10001", "x")),
        "page=0",
        "page=10001",
        "limit=1000&page=12",
        "include_total=perhaps",
        *(f"cursor={cursor}" for cursor in old_forms),
    ):
        answer = stock.page(bad)
        assert answer.status_code == 422, bad
        (problem,) = answer.get_json()["error"]["details"]["validation_errors"]
        assert problem["location"] == [bad.rpartition("&")[2].partition("=")[0]], bad
    assert stock.page("limit=1000&offset=10000").status_code == 200


@every_list
def test_a_cursor_of_somebody_else_shows_nothing_of_theirs(
    stock: Stock, limited_as: str, owners: tuple[Owner, Owner]
) -> None:
    cursor = stock.page("limit=10").get_json()["pagination"]["next_cursor"]
    assert stock.tenant.scope.internal_id not in base64.urlsafe_b64decode(cursor + "==").decode()
    other = owners[1].fill(limited_as)
    answer = other.page(f"limit=1000&cursor={cursor}")
    assert answer.status_code == 200
    assert set(other.shown(answer.get_json())) <= set(other.names)
