"""The OpenAPI document and a page that shows it. The page loads nothing from elsewhere and runs no inline script."""

import hashlib
from collections.abc import Callable, Sequence
from functools import cache
from importlib.resources import files
from typing import Final

from api.call import Call, Reply
from api.openapi.document import build_document
from api.route import JSON, NamespaceMode, Route
from api.schemas.fields import Document
from api.wire import encode
from core.errors import NotFoundError

_PAGE: Final = b"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Keystage API</title>
<link rel="stylesheet" href="/docs/assets/swagger-ui.css">
<link rel="icon" type="image/png" href="/docs/assets/favicon-32x32.png">
</head>
<body>
<div id="api"></div>
<script src="/docs/assets/swagger-ui-bundle.js"></script>
<script src="/docs/assets/start.js"></script>
</body>
</html>
"""
_START: Final = b"""SwaggerUIBundle({ url: "/openapi.json", dom_id: "#api", deepLinking: true, validatorUrl: null });
"""
_BUNDLED: Final = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "favicon-32x32.png": "image/png",
}
"""Files of the flask-swagger-ui package that the page needs, and what they are."""
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The page's own policy. The style sheet draws its icons from data: URLs."""


def show_page(call: Call) -> Reply:
    """A page that shows this document and can call the API."""
    return _file(call, _PAGE, "text/html; charset=utf-8")


def get_asset(call: Call) -> Reply:
    """A file that the page loads."""
    name = call.path["file"]
    if name == "start.js":
        return _file(call, _START, "text/javascript; charset=utf-8")
    if name not in _BUNDLED:
        raise NotFoundError
    return _file(call, _bundled(name), _BUNDLED[name])


def routes(described: Callable[[], Sequence[Route]]) -> tuple[Route, ...]:
    """The routes of the documentation of `described`."""

    @cache
    def written() -> bytes:
        return encode(build_document(described()))

    def get_document(call: Call) -> Reply:
        """This API as an OpenAPI 3.1 document."""
        return _file(call, written(), JSON)

    def route(rule: str, name: str, handler: Callable[[Call], Reply], *produces: str) -> Route:
        answers = {200: Document if produces == (JSON,) else None, 304: None}
        return Route("GET", rule, name, handler, None, namespace=NamespaceMode.NONE, answers=answers, produces=produces)

    return (
        route("/openapi.json", "documentation.openapi", get_document, JSON),
        route("/docs", "documentation.page", show_page, "text/html"),
        route("/docs/assets/<file>", "documentation.asset", get_asset, *sorted(set(_BUNDLED.values()))),
    )


@cache
def _bundled(name: str) -> bytes:
    return files("flask_swagger_ui").joinpath("dist", name).read_bytes()


def _file(call: Call, content: bytes, media: str) -> Reply:
    tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    headers = {"ETag": tag, "Cache-Control": "no-cache", "Content-Security-Policy": _POLICY}
    if tag in call.headers.get("If-None-Match", ""):
        return Reply(status=304, headers=headers)
    return Reply(content, headers={**headers, "Content-Type": media})
