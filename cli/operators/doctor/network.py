"""Checks of what can be reached by whom: the API, the backends, and where webhooks may go."""

import ipaddress
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509

from cli.operators.doctor.finding import Check, Seen, fail, ok, warn
from cli.operators.doctor.installation import Installation
from config.tls import TlsSettings
from core.storage.exposure import Exposure, is_loopback, mongo_exposure, qdrant_exposure, redis_exposure

_WIDEST = {4: 8, 6: 16}
_METADATA = (ipaddress.ip_address("169.254.169.254"), ipaddress.ip_address("fd00:ec2::254"))
_SOON = timedelta(days=14)

HEALTH = "Enable /v1/health probes in load balancers to route around unhealthy instances."
TRANSIT = (
    "Transit: require TLS for API endpoints and Ray Serve; use mTLS or network policies for cross-service traffic "
    "when available."
)
NETWORK = (
    "Network – restrict API access to trusted origins, configure CORS, and use private networking for backend services."
)


def _api_health(seen: Installation) -> Seen:
    body = seen.api_health()
    if body is None:
        return fail(f"{seen.api_url}/v1/health does not answer", "start the API, or name it with --api-url")
    errors = sorted(body.get("errors", {}))
    if body.get("status") != "OK":
        return fail(f"{seen.api_url}/v1/health: {', '.join(errors)} unwell", "look at the logs of what is unwell")
    return ok(f"{seen.api_url}/v1/health is OK")


def _api_transport(seen: Installation) -> Seen:
    if seen.api_is_tls:
        return ok("the API speaks TLS")
    if is_loopback(seen.settings.api_host) and is_loopback(seen.api_url):
        return ok("the API speaks plain HTTP, on this machine's own address only")
    advice = (
        "set KEYSTAGE_API_TLS_CERT_FILE and KEYSTAGE_API_TLS_KEY_FILE, or KEYSTAGE_API_HOST=127.0.0.1 behind a proxy"
    )
    return fail(f"the API speaks plain HTTP at {seen.settings.api_host}", advice)


def _guarded(name: str, url: str, exposure: Exposure, advice: str) -> Seen:
    if exposure is Exposure.AWAY:
        return fail(f"{name} does not answer", "start it, or correct its URL")
    if exposure is Exposure.GUARDED:
        return ok(f"{name} refuses a stranger")
    if is_loopback(url):
        return ok(f"{name} answers anybody, on this machine's own address only")
    return fail(f"{name} answers whoever reaches it, without credentials", advice)


def _mongo_access(seen: Installation) -> Seen:
    settings = seen.settings
    exposure = mongo_exposure(settings.mongo_url, settings.mongo_tls)
    return _guarded(
        "MongoDB", settings.mongo_url, exposure, "turn its authorization on; put a user in KEYSTAGE_MONGO_URL"
    )


def _redis_access(seen: Installation) -> Seen:
    settings = seen.settings
    found = ok("neither limits nor the broker use Redis over a network")
    for name, url in (("Redis", settings.redis_url), ("the broker", settings.broker)):
        if not url.startswith(("redis://", "rediss://")):
            continue
        found = _guarded(
            name,
            url,
            redis_exposure(url, settings.redis_tls),
            "turn the default user off and give each purpose its own",
        )
        if found.advice:
            return found
    return found


def _qdrant_access(seen: Installation) -> Seen:
    settings = seen.settings
    if settings.qdrant_url is None:
        return ok("vectors are kept in process; nothing listens")
    exposure = qdrant_exposure(settings.qdrant_url, settings.qdrant_tls_ca_file)
    return _guarded("Qdrant", settings.qdrant_url, exposure, "give it an API key, and set KEYSTAGE_QDRANT_API_KEY")


def _ray_token(seen: Installation) -> Seen:
    if seen.holds("ray_auth_token"):
        return ok("Ray asks for a token")
    return fail("KEYSTAGE_RAY_AUTH_TOKEN is not set", "start Ray with RAY_AUTH_MODE=token and set it")


def _backend_transport(seen: Installation) -> Seen:
    plain = [name for name, url in _plain_backends(seen) if not is_loopback(url)]
    if not plain:
        return ok("every connection to a backend is TLS, or stays on this machine")
    advice = "set the KEYSTAGE_*_TLS_* settings of each, or let a network policy keep others out"
    return warn(f"without TLS: {', '.join(plain)}", advice)


def _plain_backends(seen: Installation) -> Iterator[tuple[str, str]]:
    settings = seen.settings
    if not settings.mongo_tls_ca_file and "tls=true" not in settings.mongo_url:
        yield "MongoDB", settings.mongo_url
    if not settings.redis_url.startswith("rediss://"):
        yield "Redis", settings.redis_url
    if not settings.broker.startswith(("rediss://", "amqps://")):
        yield "the broker", settings.broker
    if settings.qdrant_url and not settings.qdrant_url.startswith("https://"):
        yield "Qdrant", settings.qdrant_url
    if not settings.ray_tls_environment:
        yield "Ray", settings.ray_address


def _certificates(seen: Installation) -> Seen:
    ends = {path: _end(path) for path in _certificate_files(seen.settings)}
    if not ends:
        return ok("no certificate is configured")
    path, end = min(ends.items(), key=lambda item: item[1])
    advice = "renew it, and restart what reads it"
    if end < datetime.now(UTC):
        return fail(f"{path} ended on {end:%Y-%m-%d}", advice)
    if end < datetime.now(UTC) + _SOON:
        return warn(f"{path} ends on {end:%Y-%m-%d}", advice)
    return ok(f"the first of {len(ends)} certificates ends on {end:%Y-%m-%d}")


def _certificate_files(settings: TlsSettings) -> Iterator[Path]:
    for name in TlsSettings.model_fields:
        path: Path | None = getattr(settings, name)
        if path and not name.endswith("_tls_key_file"):
            yield path


def _end(path: Path) -> datetime:
    return min(one.not_valid_after_utc for one in x509.load_pem_x509_certificates(path.read_bytes()))


def _egress(seen: Installation) -> Seen:
    ranges = [ipaddress.ip_network(text, strict=False) for text in seen.settings.egress_allow_cidrs]
    wide = [str(each) for each in ranges if each.prefixlen < _WIDEST[each.version] or any(m in each for m in _METADATA)]
    if wide:
        advice = "name the few ranges that webhooks must reach in KEYSTAGE_EGRESS_ALLOW_CIDRS"
        return fail(f"webhooks and stages may reach {', '.join(wide)}", advice)
    return ok(f"beyond public addresses, webhooks may reach: {', '.join(map(str, ranges)) or 'nothing'}")


def _cors(seen: Installation) -> Seen:
    origins = seen.settings.cors_allowed_origins
    if any(origin.strip() in ("*", "null", "http://*", "https://*") for origin in origins):
        return fail("any website may read answers", "name the origins in KEYSTAGE_CORS_ALLOWED_ORIGINS")
    return ok(f"browser origins: {', '.join(origins) or 'none'}")


CHECKS = (
    Check("api.health", HEALTH, _api_health),
    Check("api.transport", TRANSIT, _api_transport),
    Check("api.cors", NETWORK, _cors),
    Check("mongo.access", NETWORK, _mongo_access),
    Check("redis.access", NETWORK, _redis_access),
    Check("qdrant.access", NETWORK, _qdrant_access),
    Check("ray.token", NETWORK, _ray_token),
    Check("backends.transport", TRANSIT, _backend_transport),
    Check("certificates", TRANSIT, _certificates),
    Check("egress", NETWORK, _egress),
)
