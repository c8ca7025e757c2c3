"""`/`: what this is and where to go on, for whoever calls the address or opens it in a browser. It needs no key."""

import html
from typing import Final

from api.call import Call, Reply
from api.route import JSON, NamespaceMode, Route
from api.schemas.start import StartView
from config.version import VERSION

_HTML: Final = "text/html"
_START: Final = StartView(
    name="Keystage",
    version=VERSION,
    documentation="/docs",
    openapi="/openapi.json",
    health="/v1/health",
    readiness="/v1/health/readiness",
    metrics="/metrics",
    authentication="Authorization: Bearer <api_key>, and X-Namespace: <id or name> for what lies in a namespace",
    first_step="keystage org create --name Acme --email ops@acme.example prints an API key",
)


def start(call: Call) -> Reply:
    """What this is and where to go on: as a page for a browser, as JSON for everybody else."""
    # a browser names it first; curl and clients of APIs name anything, or JSON
    if call.headers.get("Accept", "").startswith(_HTML):
        return Reply(_page(_START).encode(), headers={"Content-Type": f"{_HTML}; charset=utf-8", "Vary": "Accept"})
    return Reply(_START, headers={"Vary": "Accept"})


def _page(said: StartView) -> str:
    facts = "\n".join(f"<dt>{name.replace('_', ' ')}</dt><dd>{_shown(value)}</dd>" for name, value in _facts(said))
    return f"""<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>{said.name}</title></head>
<body>
<h1>{said.name} {said.version}</h1>
<dl>
{facts}
</dl>
</body>
</html>
"""


def _facts(said: StartView) -> list[tuple[str, str]]:
    return [(name, value) for name, value in said.model_dump().items() if name not in {"name", "version"}]


def _shown(value: str) -> str:
    text = html.escape(value)
    return f'<a href="{text}">{text}</a>' if value.startswith("/") else text


ROUTES = (
    Route(
        "GET",
        "/",
        "start.show",
        start,
        None,
        namespace=NamespaceMode.NONE,
        answers={200: StartView},
        produces=(JSON, _HTML),
    ),
)
