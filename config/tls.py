"""The files that make each connection private and proven: one group of flat settings per server. It opens none."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pydantic import BaseModel, model_validator

from config.refusals import variable


@dataclass(frozen=True)
class TlsFiles:
    """What one client shows and whom it believes. Without a CA the machine's own list of them decides."""

    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None


class TlsSettings(BaseModel):
    """Settings of TLS. Every file is a PEM file; one that is missing is refused at the start."""

    api_tls_cert_file: Path | None = None
    """The API's certificate with its chain; with it the API speaks HTTPS and nothing else."""
    api_tls_key_file: Path | None = None
    api_tls_client_ca_file: Path | None = None
    """Clients must show a certificate of this CA (mTLS), for instance a load balancer's."""
    mongo_tls_ca_file: Path | None = None
    """Whom to believe that it is MongoDB; turns TLS on. Name and password stand in KEYSTAGE_MONGO_URL."""
    mongo_tls_cert_key_file: Path | None = None
    """Our certificate and its key in one file, as MongoDB's own tools want it."""
    redis_tls_ca_file: Path | None = None
    """Whom to believe that it is Redis, for limits, signals and Celery's broker; their URLs begin with rediss://."""
    redis_tls_cert_file: Path | None = None
    redis_tls_key_file: Path | None = None
    qdrant_tls_ca_file: Path | None = None
    """Whom to believe that it is Qdrant; KEYSTAGE_QDRANT_URL begins with https://."""
    ray_tls_ca_file: Path | None = None
    """With certificate and key: every process of Ray proves itself to every other (mTLS)."""
    ray_tls_cert_file: Path | None = None
    ray_tls_key_file: Path | None = None

    @model_validator(mode="after")
    def _files_exist(self) -> Self:
        for name in TlsSettings.model_fields:
            path: Path | None = getattr(self, name)
            if path is not None and not path.is_file():
                raise ValueError(f"{variable(name)} names {path}, and there is no such file")
        return self

    @model_validator(mode="after")
    def _files_belong_together(self) -> Self:
        for server in ("api", "redis", "ray"):
            self._need(f"{server}_tls_key_file", f"{server}_tls_cert_file")
            self._need(f"{server}_tls_cert_file", f"{server}_tls_key_file")
        self._need("api_tls_client_ca_file", "api_tls_cert_file")
        self._need("mongo_tls_cert_key_file", "mongo_tls_ca_file")
        self._need("redis_tls_cert_file", "redis_tls_ca_file")
        # Ray has no half of TLS: each of its processes is server and client
        self._need("ray_tls_cert_file", "ray_tls_ca_file")
        self._need("ray_tls_ca_file", "ray_tls_cert_file")
        return self

    def _need(self, given: str, needed: str) -> None:
        if getattr(self, given) and not getattr(self, needed):
            raise ValueError(f"{variable(given)} is set without {variable(needed)}")

    @property
    def mongo_tls(self) -> TlsFiles:
        """The files of connections to MongoDB; certificate and key are the same file."""
        return TlsFiles(self.mongo_tls_ca_file, self.mongo_tls_cert_key_file, self.mongo_tls_cert_key_file)

    @property
    def redis_tls(self) -> TlsFiles:
        """The files of connections to Redis."""
        return TlsFiles(self.redis_tls_ca_file, self.redis_tls_cert_file, self.redis_tls_key_file)

    @property
    def ray_tls_environment(self) -> dict[str, str]:
        """What Ray reads from its environment, in each of its processes and in whoever attaches; empty without TLS."""
        if self.ray_tls_cert_file is None:
            return {}
        return {
            "RAY_USE_TLS": "1",
            "RAY_TLS_SERVER_CERT": str(self.ray_tls_cert_file),
            "RAY_TLS_SERVER_KEY": str(self.ray_tls_key_file),
            "RAY_TLS_CA_CERT": str(self.ray_tls_ca_file),
        }
