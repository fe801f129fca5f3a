"""The worker's settings, all of them environment variables; see `docs/reference/settings.md`."""

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from activities.clients.egress import Egress
from activities.clients.temporal_activities import check_patterns
from store.sealing import Keyring


class Settings(BaseSettings):
    """What the worker process is told by its environment."""

    model_config = SettingsConfigDict(extra="ignore", populate_by_name=True)

    database_url: str = Field(
        default="",
        alias="DATABASE_URL",
        description="Where everything is kept; SQLite in the data directory when it is not set.",
    )
    data_dir: Path = Field(
        default=Path(".signalbox"),
        alias="SIGNALBOX_DATA_DIR",
        description="Where the embedded default keeps its files.",
    )
    max_concurrent_runs: int = Field(
        default=10,
        ge=1,
        alias="WORKFLOW_MAX_CONCURRENT_RUNS",
        description="Runs of one organisation that are carried out at a time.",
    )
    task_queue: str = Field(
        default="signalbox",
        min_length=1,
        alias="SIGNALBOX_TASK_QUEUE",
        description="The Temporal task queue that runs and steps are on.",
    )
    secrets_key: SecretStr = Field(
        default=SecretStr(""),
        alias="SIGNALBOX_SECRETS_KEY",
        description="The keys that secrets are kept under; without one, steps that need any fail.",
    )
    egress_allow: str = Field(
        default="",
        alias="SIGNALBOX_EGRESS_ALLOW",
        description="Networks and hosts that steps may reach although they are private.",
    )
    activity_queues: str = Field(
        default="*",
        alias="SIGNALBOX_ACTIVITY_QUEUES",
        description="Task queues that steps may call activities on; `*` stands for any text.",
    )
    script_sandbox: Literal["auto", "none"] = Field(
        default="auto",
        alias="SIGNALBOX_SCRIPT_SANDBOX",
        description="`none` runs scripts unconfined: for trusted, single-tenant use only.",
    )

    @field_validator("egress_allow")
    @classmethod
    def _is_egress(cls, text: str) -> str:
        Egress.parse(text)
        return text

    @field_validator("activity_queues")
    @classmethod
    def _names_queues(cls, text: str) -> str:
        return check_patterns(text)

    @field_validator("secrets_key")
    @classmethod
    def _is_a_keyring(cls, keys: SecretStr) -> SecretStr:
        Keyring.parse(keys.get_secret_value())
        return keys

    @property
    def url(self) -> str:
        """The database to open."""
        return self.database_url or f"sqlite:///{(self.data_dir / 'signalbox.db').absolute()}"
