"""The first answer on the wire."""

from api.schemas.fields import View


class StartView(View):
    """What this is, and where to go on."""

    name: str
    """Always `Keystage`."""
    version: str
    """Of this server."""
    documentation: str
    """A page that shows every route and can call it."""
    openapi: str
    """The same as an OpenAPI document."""
    health: str
    """Whether every part answers."""
    readiness: str
    """Whether requests can be taken."""
    metrics: str
    """For Prometheus, from addresses that the operator allows."""
    authentication: str
    """What every other request carries."""
    first_step: str
    """How to get a key."""
