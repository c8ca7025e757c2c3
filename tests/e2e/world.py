"""A private stack with everything around it that can be away: stand-ins for object storage, the key service and the
embedding endpoint behind gates, and a broker of its own."""

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch
from urllib.parse import urlsplit

import httpx
from moto.server import ThreadedMotoServer

from cli.stack.locate import stack_settings
from core.backends.backend import Backend
from core.bootstrap import Services, build_services
from tests.e2e.canary.outside import echo_service
from tests.e2e.customer import SEARCH, Customer, new_customer
from tests.e2e.parts import GatedPart, OwnServer, Part, SupervisedPart, Together, VectorOwner
from tests.embedding_server import EmbeddingServer
from tests.gate import Gate, gate_before
from tests.key_servers import TOKEN, TransitServer, running
from tests.servers import redis_server
from tests.stack import RunningStack, running_stack

_BUCKET = "keystage"
_SECRET = "service_key"
SECONDS_A_TEXT = 0.05
"""What the embedding endpoint takes for one: it makes a batch as long as is wanted, on any machine."""


@dataclass(frozen=True)
class World:
    """The running stack, two customers, and what can be taken away."""

    stack: RunningStack
    services: Services
    """of the records, to judge by"""
    service: str
    """where `api_call` may ask"""
    batches: Customer
    searches: Customer
    keyed_retriever_id: str
    """a retriever of the second customer whose stages use a secret"""
    parts: Mapping[Backend, Part]


@contextmanager
def world(directory: Path, more_environment: Mapping[str, str] | None = None) -> Iterator[World]:
    """All of it, running; nothing is left afterwards."""
    with ExitStack() as entered:
        enter = entered.enter_context
        embeddings = enter(EmbeddingServer(SECONDS_A_TEXT).running())
        gates = {
            Backend.EMBEDDER: enter(gate_before(embeddings.port)),
            Backend.BLOBS: enter(gate_before(enter(_object_storage()))),
            Backend.KEY_SERVICE: enter(gate_before(urlsplit(enter(running(TransitServer())).url).port or 0)),
        }
        if qdrant := os.environ.get("KEYSTAGE_QDRANT_URL"):
            gates[Backend.VECTORS] = enter(gate_before(urlsplit(qdrant).port or 6333))
        places = directory / "broker"
        places.mkdir()
        broker = OwnServer(lambda port: redis_server(places, port))
        entered.callback(broker.close)
        service = enter(echo_service())
        environment = {**_environment(gates, broker.url), **(more_environment or {})}
        # an operator's commands need the key service's token, which no stack writes down
        enter(patch.dict(os.environ, environment))
        stack = enter(running_stack(directory / "data", environment))
        services = build_services(stack_settings(stack.data))
        entered.callback(services.close)
        batches, searches = (new_customer(stack.data, stack.api_url, name) for name in ("batches", "searches"))
        redis = SupervisedPart(stack, "redis")
        parts: dict[Backend, Part] = {
            Backend.MONGO: SupervisedPart(stack, "mongo"),
            Backend.REDIS: Together(redis, broker),
            Backend.BROKER: broker,
            Backend.VECTORS: VectorOwner(stack),
            Backend.RAY: SupervisedPart(stack, "ray"),
            **{backend: GatedPart(gate) for backend, gate in gates.items()},
        }
        keyed = _keyed_retriever(searches, service)
        yield World(stack, services, service, batches, searches, keyed, parts)


def _environment(gates: Mapping[Backend, Gate], broker_url: str) -> dict[str, str]:
    vectors = {"KEYSTAGE_QDRANT_URL": gates[Backend.VECTORS].url} if Backend.VECTORS in gates else {}
    return {
        **vectors,
        "KEYSTAGE_BROKER_URL": broker_url,
        "KEYSTAGE_EMBEDDER": "openai:stand-in",
        "KEYSTAGE_OPENAI_BASE_URL": f"{gates[Backend.EMBEDDER].url}/v1",
        "KEYSTAGE_KEK_PROVIDER": "transit",
        "KEYSTAGE_KEK_TRANSIT_URL": gates[Backend.KEY_SERVICE].url,
        "KEYSTAGE_KEK_TRANSIT_TOKEN": TOKEN,
        # each use of a secret asks the key service
        "KEYSTAGE_DATA_KEY_CACHE_SECONDS": "0",
        "KEYSTAGE_EGRESS_ALLOW_CIDRS": "127.0.0.0/8",
        "KEYSTAGE_BLOB_URL": f"s3://{_BUCKET}",
        "AWS_ENDPOINT": gates[Backend.BLOBS].url,
        "AWS_ALLOW_HTTP": "true",
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "stand-in",
        "AWS_SECRET_ACCESS_KEY": "stand-in",
    }


@contextmanager
def _object_storage() -> Iterator[int]:
    """The port of a server that speaks S3 and has the bucket."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    httpx.put(f"http://127.0.0.1:{port}/{_BUCKET}").raise_for_status()
    try:
        yield int(port)
    finally:
        server.stop()


def _keyed_retriever(customer: Customer, service: str) -> str:
    call = {
        "url": f"{service}/echo",
        "allowed_domains": ["127.0.0.1"],
        "auth": {"type": "bearer", "secret_ref": _SECRET},
    }
    with customer.client() as client:
        secret = {"secret_name": _SECRET, "secret_value": "a-value-of-the-service"}
        client.post("/v1/organizations/secrets", secret)
        stages = [SEARCH, {"stage_id": "api_call", "parameters": call}]
        return customer.new_retriever(client, "search with a secret", stages)
