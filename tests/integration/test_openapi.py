"""The document and the page that shows it, as the application serves them to somebody without a key."""

import re

import pytest
from flask import Flask
from flask.testing import FlaskClient
from openapi_spec_validator import validate

from api.registry import ROUTES
from config.version import VERSION


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


def test_the_document_is_served_valid_and_whole(client: FlaskClient) -> None:
    response = client.get("/openapi.json")
    assert (response.status_code, response.content_type) == (200, "application/json")
    document = response.get_json()
    validate(document)
    assert sum(len(path) for path in document["paths"].values()) == len(ROUTES)


@pytest.mark.parametrize("path", ["/openapi.json", "/docs", "/docs/assets/swagger-ui.css"])
def test_what_the_browser_has_is_not_sent_again(client: FlaskClient, path: str) -> None:
    tag = client.get(path).headers["ETag"]
    again = client.get(path, headers={"If-None-Match": tag})
    assert (again.status_code, again.data, again.headers["ETag"]) == (304, b"", tag)
    assert client.get(path, headers={"If-None-Match": '"other"'}).status_code == 200


def test_the_page_loads_everything_from_here_under_a_strict_policy(client: FlaskClient) -> None:
    page = client.get("/docs")
    text = page.get_data(as_text=True)
    policy = page.headers["Content-Security-Policy"]
    assert page.content_type == "text/html; charset=utf-8"
    assert policy.startswith("default-src 'none'; script-src 'self';")
    assert "unsafe" not in policy
    loaded = re.findall(r'(?:src|href)="([^"]+)"', text)
    assert len(loaded) == 4
    for address in loaded:
        asset = client.get(address)
        assert address.startswith("/docs/assets/")
        assert (asset.status_code, bool(asset.data)) == (200, True)
        assert asset.headers["X-Content-Type-Options"] == "nosniff"
    # the policy would stop them, and the page would stay empty
    assert not re.search(r"<script>|<style|\son\w+=", text)


@pytest.mark.parametrize("name", ["index.html", "..", "%2e%2e%2f__init__.py", "swagger-ui.js.map"])
def test_no_other_file_is_served(client: FlaskClient, name: str) -> None:
    response = client.get(f"/docs/assets/{name}")
    assert (response.status_code, response.get_json()["error"]["type"]) == (404, "NotFoundError")


def test_the_first_page_leads_on_to_everything(client: FlaskClient) -> None:
    said = client.get("/")
    assert (said.status_code, said.content_type) == (200, "application/json")
    body = said.get_json()
    assert (body["name"], body["version"]) == ("Keystage", VERSION)
    assert "keystage org create" in body["first_step"]
    links = {name: link for name, link in body.items() if link.startswith("/")}
    assert links.keys() == {"documentation", "openapi", "health", "readiness", "metrics"}
    for link in links.values():
        assert client.get(link).status_code == 200, link


def test_a_browser_gets_the_same_as_a_page(client: FlaskClient) -> None:
    page = client.get("/", headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
    assert (page.status_code, page.content_type) == (200, "text/html; charset=utf-8")
    assert page.headers["Vary"] == "Accept"
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    shown = set(re.findall(r'href="([^"]+)"', page.get_data(as_text=True)))
    assert shown == {link for link in client.get("/").get_json().values() if link.startswith("/")}


@pytest.mark.parametrize("accept", ["*/*", "application/json", "application/json, text/html;q=0.5", ""])
def test_whoever_is_no_browser_gets_json(client: FlaskClient, accept: str) -> None:
    assert client.get("/", headers={"Accept": accept}).content_type == "application/json"
