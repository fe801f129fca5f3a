"""The worker's settings, all of them environment variables; see `docs/reference/settings.md`."""

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from activities.clients.egress import Egress
from activities.clients.mail import MailServer
from activities.clients.models import ANTHROPIC_URL, OPENAI_URL, Access
from activities.clients.temporal_activities import check_patterns
from engine.agent import MODEL_NAME
from store.sealing import Keyring


class Settings(BaseSettings):
    """What the worker process is told by its environment."""

    model_config = SettingsConfigDict(
        extra="ignore", populate_by_name=True, hide_input_in_errors=True
    )

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
    ai_model: str = Field(
        default="",
        alias="SIGNALBOX_AI_MODEL",
        pattern=f"^$|{MODEL_NAME}",
        description="The model that is asked where a step or an agent names none.",
    )
    ai_openai_base_url: str = Field(
        default=OPENAI_URL,
        pattern="^https?://",
        alias="SIGNALBOX_AI_OPENAI_BASE_URL",
        description="Where models called `openai:…` are: OpenAI, or whoever speaks its language.",
    )
    ai_openai_api_key: SecretStr = Field(
        default=SecretStr(""),
        alias="SIGNALBOX_AI_OPENAI_API_KEY",
        description="The key for it; a server of one's own may need none.",
    )
    ai_anthropic_base_url: str = Field(
        default=ANTHROPIC_URL,
        pattern="^https?://",
        alias="SIGNALBOX_AI_ANTHROPIC_BASE_URL",
        description="Where models called `anthropic:…` are.",
    )
    ai_anthropic_api_key: SecretStr = Field(
        default=SecretStr(""),
        alias="SIGNALBOX_AI_ANTHROPIC_API_KEY",
        description="The key for it.",
    )
    activity_queues: str = Field(
        default="*",
        alias="SIGNALBOX_ACTIVITY_QUEUES",
        description="Task queues that steps may call activities on; `*` stands for any text.",
    )
    smtp_url: SecretStr = Field(
        default=SecretStr(""),
        alias="SIGNALBOX_SMTP_URL",
        description="The server that mail is given to: `smtp://` or `smtps://`, with a password.",
    )
    smtp_from: str = Field(
        default="",
        alias="SIGNALBOX_SMTP_FROM",
        pattern=r"^$|^[^\s@]+@[^\s@]+$",
        description="The address that mail comes from.",
    )
    files_dir: str = Field(
        default="",
        alias="SIGNALBOX_FILES_DIR",
        description="The directory that buckets of kind `file` are in; without one they fail.",
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

    @field_validator("smtp_url")
    @classmethod
    def _is_a_server(cls, url: SecretStr) -> SecretStr:
        if url.get_secret_value():
            MailServer.parse(url.get_secret_value())
        return url

    @property
    def mail_server(self) -> MailServer | None:
        """Where mail is given to; None when there is none."""
        url = self.smtp_url.get_secret_value()
        return MailServer.parse(url) if url else None

    @property
    def files(self) -> Path | None:
        """The directory of buckets that are files; None when there is none."""
        return Path(self.files_dir) if self.files_dir else None

    @property
    def ai(self) -> Access:
        """How models are reached."""
        return Access(
            model=self.ai_model,
            openai_url=self.ai_openai_base_url,
            openai_key=self.ai_openai_api_key,
            anthropic_url=self.ai_anthropic_base_url,
            anthropic_key=self.ai_anthropic_api_key,
        )

    @property
    def url(self) -> str:
        """The database to open."""
        return self.database_url or f"sqlite:///{(self.data_dir / 'signalbox.db').absolute()}"
