"""Builds the WSGI application. It holds no route and no rule of its own."""

from flask import Flask
from werkzeug.exceptions import HTTPException

from api.dispatch import Dispatcher
from api.door import Door
from api.registry import add_routes, require_limits_of_routes, require_registered
from config.logging_setup import configure_logging
from config.settings import load_settings
from core.bootstrap import Services, build_services


def create_app() -> Flask:
    """The application of one process, from its settings. Connects to MongoDB and begins to watch the backends."""
    settings = load_settings()
    configure_logging(settings, "api")
    services = build_services(settings, impatient=True)
    services.backends.start()
    return build_app(services)


def create_door() -> Door:
    """The same for the server, which calls it through the door."""
    app = create_app()
    return Door(app.wsgi_app, load_settings().api_threads)


def build_app(services: Services) -> Flask:
    """The application over given services. Raises ValueError for a rule or a limited route that is not registered."""
    app = Flask("keystage", static_folder=None)
    app.url_map.merge_slashes = False
    dispatcher = Dispatcher(services)
    add_routes(app, dispatcher)
    require_registered(app)
    require_limits_of_routes(services.settings.plans)
    app.register_error_handler(HTTPException, dispatcher.refuse)
    return app
