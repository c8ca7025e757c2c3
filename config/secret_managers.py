"""Settings from HashiCorp Vault, AWS Secrets Manager or Google Secret Manager, read once at the start.

Where the manager is and how to log in comes from the environment only. No value is ever printed: errors say which
setting is at fault and what kind of failure it was.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import (
    AWSSecretsManagerSettingsSource,
    BaseSettings,
    EnvSettingsSource,
    GoogleSecretManagerSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from config.beside import Bounded
from config.refusals import refused

_PREFIX = "KEYSTAGE_SECRETS_"
_KUBERNETES_TOKEN = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
_TIMEOUT_SECONDS = 10
_WHOLE_SECONDS = 60.0
"""How long the manager has for everything: the clients' own patience is counted a try, or has no end."""


class ManagerSettings(BaseSettings):
    """Where secrets come from, `KEYSTAGE_SECRETS_*`. In a manager they carry the names of their variables."""

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX, frozen=True, extra="ignore", hide_input_in_errors=True, populate_by_name=True
    )

    origin: Literal["vault", "aws", "gcp"] | None = Field(default=None, validation_alias="KEYSTAGE_SECRETS_FROM")
    """Which manager; none when unset."""
    address: str | None = None
    """Vault's URL, and for aws and gcp another endpoint than the public one."""
    name: str = "keystage"
    """vault: the secret's path below the mount. aws: the secret's name or ARN, one JSON object."""
    mount: str = "secret"
    """vault: where the kv version 2 engine is mounted."""
    ca_file: Path | None = None
    """vault: whom to believe that it is Vault."""
    token: SecretStr | None = None
    """vault: a token, where neither role nor role id is given."""
    token_file: Path | None = None
    """vault: the file of a token, as Vault's agent writes it."""
    role: str | None = None
    """vault: log in by Kubernetes as this role."""
    jwt_file: Path = _KUBERNETES_TOKEN
    """vault: the service account's token, for `role`."""
    role_id: str | None = None
    """vault: log in by AppRole."""
    role_secret_file: Path | None = None
    """vault: the file with the AppRole's secret id, for `role_id`."""
    region: str | None = None
    """aws: the region; the SDK's own rules when unset."""
    project: str | None = None
    """gcp: the project; that of the credentials when unset."""


class VaultSource(EnvSettingsSource):
    """One secret of Vault's kv engine, version 2, whose keys are names of variables."""

    def __init__(self, settings_cls: type[BaseSettings], manager: ManagerSettings) -> None:
        self._manager = manager
        super().__init__(settings_cls, case_sensitive=False)

    def _load_env_vars(self) -> Mapping[str, str | None]:
        import hvac

        manager = self._manager
        if not manager.address:
            raise SettingsError("KEYSTAGE_SECRETS_FROM=vault needs KEYSTAGE_SECRETS_ADDRESS")
        client = hvac.Client(
            url=manager.address,
            verify=str(manager.ca_file) if manager.ca_file else True,
            timeout=_TIMEOUT_SECONDS,
            token=_vault_token(manager),
        )
        if manager.role:
            client.auth.kubernetes.login(role=manager.role, jwt=_read("JWT_FILE", manager.jwt_file))
        elif manager.role_id:
            secret = _read("ROLE_SECRET_FILE", manager.role_secret_file)
            client.auth.approle.login(role_id=manager.role_id, secret_id=secret)
        found = client.secrets.kv.v2.read_secret_version(
            path=manager.name, mount_point=manager.mount, raise_on_deleted_version=True
        )
        return {name.lower(): str(value) for name, value in found["data"]["data"].items()}


class GoogleSource(GoogleSecretManagerSettingsSource):
    """One Google secret for each variable. A secret that is there and cannot be read is an error, not an absence."""

    def __call__(self) -> dict[str, Any]:
        """The values. Raises SettingsError when one of ours is listed and withheld."""
        values = super().__call__()
        names = {name.lower() for name in self.env_vars}
        for name, field in self.settings_cls.model_fields.items():
            if f"{self.env_prefix}{name}".lower() in names and self._value(field, name) is None:
                raise SettingsError(f"the secret {self.env_prefix}{name.upper()} is listed, but may not be read")
        return values

    def _value(self, field: FieldInfo, name: str) -> Any:
        return self.get_field_value(field, name)[0]


class Manager(PydanticBaseSettingsSource):
    """Asks the manager, and says in one sentence what keeps it from answering."""

    def __init__(self, settings_cls: type[BaseSettings], manager: ManagerSettings) -> None:
        super().__init__(settings_cls)
        self._manager = manager

    def __call__(self) -> dict[str, Any]:
        """The values of the settings that the manager holds. Raises SettingsError."""
        with _in_one_sentence(self._manager):
            ask = Bounded("secret-manager", most=1)
            return ask.within(_WHOLE_SECONDS, lambda: _source(self.settings_cls, self._manager)())

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Not asked field by field."""
        raise NotImplementedError


def manager_source(settings_cls: type[BaseSettings]) -> PydanticBaseSettingsSource | None:
    """The source that KEYSTAGE_SECRETS_FROM names, or None. Raises SettingsError when it names no manager."""
    try:
        manager = ManagerSettings()
    except ValidationError as error:
        raise refused(error, _PREFIX) from None
    return Manager(settings_cls, manager) if manager.origin else None


def _source(settings_cls: type[BaseSettings], manager: ManagerSettings) -> PydanticBaseSettingsSource:
    if manager.origin == "vault":
        return VaultSource(settings_cls, manager)
    if manager.origin == "aws":
        return AWSSecretsManagerSettingsSource(
            settings_cls,
            manager.name,
            region_name=manager.region,
            endpoint_url=manager.address,
            case_sensitive=False,
        )
    return GoogleSource(
        settings_cls,
        project_id=manager.project,
        secret_client=_google_client(manager) if manager.address else None,
        case_sensitive=False,
    )


def _google_client(manager: ManagerSettings) -> Any:
    """A client for another endpoint than the public one, for instance a region's."""
    from google.cloud.secretmanager import SecretManagerServiceClient
    from google.cloud.secretmanager_v1.services.secret_manager_service.transports.rest import (
        SecretManagerServiceRestTransport,
    )

    return SecretManagerServiceClient(transport=SecretManagerServiceRestTransport(host=manager.address))


@contextmanager
def _in_one_sentence(manager: ManagerSettings) -> Iterator[None]:
    where = f"KEYSTAGE_SECRETS_FROM={manager.origin}"
    try:
        yield
    except ImportError as error:
        missing = f"{where} needs the extra `{manager.origin}`, which is not installed ({error.name or 'its client'})"
        raise SettingsError(missing) from None
    except SettingsError as error:
        raise SettingsError(f"{where}: {error}") from None
    except Exception as error:
        # the clients' own messages may quote what they sent
        at = f" at KEYSTAGE_SECRETS_ADDRESS={manager.address}" if manager.address else ""
        raise SettingsError(f"{where}: the secret manager{at} gave no settings ({type(error).__name__})") from None


def _vault_token(manager: ManagerSettings) -> str:
    if manager.role or manager.role_id:
        # with none at all the client would take one from the machine's user
        return ""
    if manager.token_file:
        return _read("TOKEN_FILE", manager.token_file)
    if manager.token:
        return manager.token.get_secret_value()
    raise SettingsError(
        "say how to log in: KEYSTAGE_SECRETS_TOKEN, KEYSTAGE_SECRETS_TOKEN_FILE, KEYSTAGE_SECRETS_ROLE or "
        "KEYSTAGE_SECRETS_ROLE_ID"
    )


def _read(name: str, path: Path | None) -> str:
    try:
        return path.read_text().strip() if path else _missing(name)
    except OSError as error:
        raise SettingsError(f"KEYSTAGE_SECRETS_{name}: {error.strerror}") from None


def _missing(name: str) -> str:
    raise SettingsError(f"KEYSTAGE_SECRETS_{name} is not set")
