"""The API process (`python -m api.serve`): granian serves the Flask application. Holds no route of its own."""

from granian.constants import Interfaces
from granian.server import Server

from api.door import Door
from config.logging_setup import configure_logging
from config.settings import settings_or_exit
from core.storage.abilities.first_start import trusted_or_exit


def main() -> None:
    """Serve until told to stop."""
    settings = settings_or_exit()
    configure_logging(settings, "api")
    trusted_or_exit(settings)
    Server(
        "api.app:create_door",
        address=settings.api_host,
        port=settings.api_port,
        # requests as they came over the wire: api/door.py says why
        interface=Interfaces.ASGINL,
        workers=1,
        websockets=False,
        log_access=False,
        # our own logging is configured already; granian's would write another format
        log_enabled=False,
        ssl_cert=settings.api_tls_cert_file,
        ssl_key=settings.api_tls_key_file,
        ssl_ca=settings.api_tls_client_ca_file,
        ssl_client_verify=settings.api_tls_client_ca_file is not None,
        # granian's own loader looks in the directory of the start first, where people keep an api/ of their own
    ).serve(target_loader=_application, wrap_loader=False)


def _application() -> Door:
    from api.app import create_door

    return create_door()


if __name__ == "__main__":
    main()
