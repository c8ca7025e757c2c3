"""Where the secrets that stages name are sent, as far as it can be said before the stages run. Pure; it opens none.

It goes by what decides at the stage, and never by what the retriever's owner could write beside it.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from core.language_models.catalogue import Catalogue
from core.retrievers.secret_places import LLM_STAGES, provider_asked
from core.vault.references import references_in

UNKNOWN = "unknown"


def destinations(
    stages: Sequence[Mapping[str, Any]], inputs: Mapping[str, Any], base_urls: Mapping[str, str], models: Catalogue
) -> dict[str, tuple[str, ...]]:
    """Secret → hosts. `base_urls` are those at which the operator has the providers of models asked."""
    found: dict[str, set[str]] = {}
    for stage in stages:
        stage_id, parameters = stage["config"]["stage_id"], stage["config"]["parameters"]
        for reference in references_in(parameters):
            hosts = _hosts(stage_id, parameters, inputs, base_urls, models)
            found.setdefault(reference.name, set()).update(hosts)
    return {name: tuple(sorted(hosts)) for name, hosts in found.items()}


def _hosts(
    stage_id: str,
    parameters: Mapping[str, Any],
    inputs: Mapping[str, Any],
    base_urls: Mapping[str, str],
    models: Catalogue,
) -> list[str]:
    if stage_id in LLM_STAGES:
        return [_host_of(base_urls.get(provider_asked(parameters, inputs, models) or "")) or UNKNOWN]
    if stage_id == "api_call":
        # a template can lead to any of the domains, and to no other
        return [host] if (host := _host_of(parameters.get("url"))) else _domains(parameters)
    return [UNKNOWN]


def _domains(parameters: Mapping[str, Any]) -> list[str]:
    domains = parameters.get("allowed_domains")
    return [str(domain).lower() for domain in domains] if isinstance(domains, list) and domains else [UNKNOWN]


def _host_of(address: object) -> str | None:
    """The host of an address, unless a template has yet to say it."""
    try:
        parts = urlsplit(address) if isinstance(address, str) else None
        return parts.hostname if parts and "{" not in parts.netloc else None
    except ValueError:
        return None
