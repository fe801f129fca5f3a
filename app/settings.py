"""The settings of the API process, all of them environment variables.

Temporal's own (`TEMPORAL_ADDRESS`, `TEMPORAL_NAMESPACE`, `TEMPORAL_TLS_*`, ...) are read by
Temporal's `ClientConfig` where the client is made. Built once in `app.__main__` and passed down.
"""

from pathlib import Path
from typing import Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from store.sealing import Keyring

#: Characters. Shorter keys could be guessed; DESIGN §8 "Processes".
SHORTEST_KEY = 32


class Settings(BaseSettings):
    """What a deployment may decide about the API."""

    model_config = SettingsConfigDict(
        use_attribute_docstrings=True,
        populate_by_name=True,
        extra="ignore",
        env_ignore_empty=True,
        # A wrong value is reported by name; the value itself may be a secret.
        hide_input_in_errors=True,
    )

    database_url: str = Field(default="", repr=False, validation_alias="DATABASE_URL")
    """Where runs are kept, `postgresql://…` or `sqlite:///…`; else a file in the data directory."""

    max_concurrent_runs: int = Field(
        default=10, ge=1, validation_alias="WORKFLOW_MAX_CONCURRENT_RUNS"
    )
    """How many runs of one organisation may work at the same time; more are accepted and queue."""

    port: int = Field(default=8000, ge=0, le=65_535, validation_alias="SIGNALBOX_PORT")
    """The port that the API listens on; 0 takes a free one."""

    host: str = Field(default="127.0.0.1", validation_alias="SIGNALBOX_HOST")
    """The address that the API listens on."""

    data_dir: Path = Field(default=Path(".signalbox"), validation_alias="SIGNALBOX_DATA_DIR")
    """The directory of the embedded databases and of what is generated at the first start."""

    api_key: SecretStr | None = Field(default=None, validation_alias="SIGNALBOX_API_KEY")
    """A key of 32 characters or more that is admin of the organisation `default`."""

    key_pepper: SecretStr = Field(validation_alias="SIGNALBOX_KEY_PEPPER", min_length=16)
    """The secret that API keys are hashed under, 16 characters or more; losing it voids them."""

    secrets_key: SecretStr = Field(default=SecretStr(""), validation_alias="SIGNALBOX_SECRETS_KEY")
    """The keys that secrets are kept under, separated by commas; the first one encrypts."""

    task_queue: str = Field(
        default="signalbox", min_length=1, validation_alias="SIGNALBOX_TASK_QUEUE"
    )
    """The Temporal task queue that runs are given to."""

    audit_days: int = Field(default=90, ge=1, validation_alias="SIGNALBOX_AUDIT_DAYS")
    """How many days a call stays in the audit log."""

    event_days: int = Field(default=90, ge=1, validation_alias="SIGNALBOX_EVENT_DAYS")
    """How many days a published event stays, unless an open run needs it."""

    import_bytes: int = Field(default=64 << 20, ge=1, validation_alias="SIGNALBOX_IMPORT_BYTES")
    """How many bytes the body of one import may have."""

    @field_validator("api_key")
    @classmethod
    def _long_enough(cls, key: SecretStr | None) -> SecretStr | None:
        if key is not None and len(key.get_secret_value()) < SHORTEST_KEY:
            raise ValueError(f"needs {SHORTEST_KEY} characters or more")
        return key

    @field_validator("secrets_key")
    @classmethod
    def _is_a_keyring(cls, keys: SecretStr) -> SecretStr:
        Keyring.parse(keys.get_secret_value())
        return keys

    @model_validator(mode="after")
    def _place_the_database(self) -> Self:
        if not self.database_url:
            self.database_url = f"sqlite:///{(self.data_dir / 'signalbox.db').absolute()}"
        return self

    @property
    def pepper(self) -> bytes:
        """The pepper, as `store.keys` takes it."""
        return self.key_pepper.get_secret_value().encode()

    @property
    def keyring(self) -> Keyring:
        """The keys of secrets, as `store.secrets` takes them; it may be empty."""
        return Keyring.parse(self.secrets_key.get_secret_value())
