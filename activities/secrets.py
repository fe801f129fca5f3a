"""Secrets on their way into a step, and what keeps them from coming out of it again.

Vault       decrypts the organisation's secrets of some names; remembers none of them
Disclosed   what one attempt was told; whatever it records goes through `text` and `value`
"""

import asyncio
from collections.abc import Collection

from activities.redaction import Redactor
from engine.errors import StepError
from engine.outcomes import Await, Branch, Done, Each, EntityChange, Outcome, Skip, Sleep
from store import secrets
from store.database import Database
from store.sealing import Keyring


class Vault:
    """Reads secrets; a value that was replaced is the one that the next attempt gets."""

    def __init__(self, database: Database, ring: Keyring) -> None:
        self._database = database
        self._ring = ring

    async def resolve(self, org_id: str, names: Collection[str]) -> dict[str, str]:
        """The values of the organisation's secrets of these names.

        Raises:
            StepError: not retryable, and naming names only: `secrets_not_configured`,
                `secret_not_found`, `secret_unreadable`.
            Unavailable: the database does not answer.
        """
        if not names:
            return {}
        if not self._ring:
            raise _failure(
                "secrets_not_configured", names, "cannot be read: SIGNALBOX_SECRETS_KEY is not set"
            )
        found, closed = await self._database.read(
            lambda tx: secrets.values(tx, org_id, names, self._ring)
        )
        if closed:
            raise _failure("secret_unreadable", closed, "was written under a key that is not here")
        if absent := set(names) - set(found):
            raise _failure("secret_not_found", absent, "does not exist")
        return found


class Disclosed:
    """The secrets that one attempt was told.

    Attributes:
        org_id: the organisation whose secrets they are.
    """

    def __init__(self, vault: Vault | None = None, org_id: str = "") -> None:
        self.org_id = org_id
        self._vault = vault
        self._told: dict[str, str] = {}
        self._redactor: Redactor | None = None

    async def resolve(self, *names: str) -> dict[str, str]:
        """The values of these secrets, which from here on are taken out of what is recorded.

        Raises:
            StepError, Unavailable: see `Vault.resolve`.
        """
        if self._vault is None and names:
            raise _failure("secret_not_found", names, "does not exist")
        found = await self._vault.resolve(self.org_id, names) if self._vault else {}
        if found:
            self._told |= found
            self._redactor = Redactor(self._told)
        return found

    def text(self, text: str) -> str:
        """The text without them."""
        return self._redactor.text(text) if self._redactor else text

    def cut(self, text: str) -> str:
        """A text that was cut off, without them and without the beginning of one at its end."""
        return self._redactor.cut(text) if self._redactor else text

    async def outcome(self, outcome: Outcome) -> Outcome:
        """The outcome without them, in whatever of it is recorded.

        Raises:
            StepError: `output_invalid`, not retryable: it is nested too deep to be looked through.
        """
        if self._redactor is None:
            return outcome
        try:
            # A large one takes a while.
            return await asyncio.to_thread(_without, self._redactor, outcome)
        except RecursionError:
            raise StepError(
                "output_invalid", "The output is nested too deep.", retryable=False
            ) from None

    def error(self, error: StepError) -> StepError:
        """The error without them in its message."""
        error.message = self.text(error.message)
        error.args = (error.message,)
        return error


def _without(redactor: Redactor, outcome: Outcome) -> Outcome:
    match outcome:
        case Done(entity=EntityChange() as change):
            fields = {redactor.text(key): redactor.value(one) for key, one in change.fields.items()}
            return outcome.model_copy(
                update={
                    "output": redactor.value(outcome.output),
                    "entity": change.model_copy(update={"fields": fields}),
                }
            )
        case Done() | Branch():
            return outcome.model_copy(update={"output": redactor.value(outcome.output)})
        case Each():
            return outcome.model_copy(update={"items": redactor.value([*outcome.items])})
        case Skip():
            return outcome.model_copy(update={"reason": redactor.text(outcome.reason)})
        case Sleep() | Await():
            return outcome


def _failure(code: str, names: Collection[str], what: str) -> StepError:
    told = ", ".join(f"'{name}'" for name in sorted(names))
    return StepError(code, f"Secret {told} {what}.", retryable=False)
