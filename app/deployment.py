"""What this process is to work on: the environment, completed from the data directory."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pydantic import ValidationError

from activities.clients.egress import Egress
from app.data_dir import DataDir
from app.settings import Settings
from engine.errors import Conflict, Invalid

if TYPE_CHECKING:
    from store.database import Tx

T = TypeVar("T")
_DATABASES = ("postgresql://", "postgres://", "sqlite:///")


def data_dir() -> DataDir:
    """The data directory, made when there is none.

    Raises:
        Unavailable: it cannot be made or written.
    """
    named = os.environ.get("SIGNALBOX_DATA_DIR")
    return DataDir(Path(named) if named else Settings.model_fields["data_dir"].default)


def settings() -> Settings:
    """The settings of this process.

    The environment is completed, so that whatever is started from here finds the same. Where it
    names both the database and the pepper, as in production, no data directory is touched.

    Raises:
        Invalid: a setting has a value that cannot be; the message names all of them.
        Unavailable: the data directory cannot be made or written.
    """
    if not (os.environ.get("DATABASE_URL") and os.environ.get("SIGNALBOX_KEY_PEPPER")):
        os.environ.update(data_dir().environment(os.environ))
    try:
        found = Settings()
    except ValidationError as error:
        wrong = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
        raise Invalid("; ".join(wrong)) from error
    if not found.database_url.startswith(_DATABASES):
        raise Invalid("DATABASE_URL: must begin with postgresql:// or sqlite:///")
    try:
        # The worker's own, looked at here so that a typing error is one line and not a crash.
        Egress.parse(os.environ.get("SIGNALBOX_EGRESS_ALLOW", ""))
        _check_mail_server(os.environ.get("SIGNALBOX_SMTP_URL", ""))
    except ValueError as error:
        raise Invalid(str(error)) from error
    return found


def _check_mail_server(url: str) -> None:
    if not url:
        return
    # Here and not above: a deployment without mail does without its libraries.
    from activities.clients.mail import MailServer

    try:
        MailServer.parse(url)
    except ValueError as error:
        raise ValueError(f"SIGNALBOX_SMTP_URL: {error}") from error


def require_migrated(settings: Settings) -> None:
    """See that the database has the tables of this release.

    Raises:
        Conflict: it has not.
        Unavailable: it does not answer.
    """
    # Here and not above, because SQL is a slow import that the supervisor does without.
    from store import migrate

    if migrate.current(settings.database_url) != migrate.head():
        raise Conflict("the database is not of this release; run `signalbox migrate` first")


def write(settings: Settings, work: "Callable[[Tx], T]") -> T:
    """What the work answers: one transaction of a command that does nothing else.

    Raises:
        Conflict: the database is not of this release.
        Unavailable: it does not answer.
    """
    require_migrated(settings)
    from store.database import Database

    async def once() -> T:
        database = Database(settings.database_url, durable=True)
        try:
            return await database.write(work)
        finally:
            await database.close()

    return asyncio.run(once())
