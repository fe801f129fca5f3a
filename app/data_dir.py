"""The data directory: the embedded databases, and what is generated at the first start.

    signalbox.db      runs, workflows, keys, when DATABASE_URL does not say otherwise
    temporal.db       the embedded Temporal server's histories
    temporal-address  where that server listens, while `signalbox up` runs
    pepper            the secret under which API keys are hashed
    secrets-key       the key under which secrets are kept
    api-key           the first API key
    lock              held by the `signalbox up` that runs on this directory

Only its owner may enter. A command that is run beside `signalbox up` finds there what it was not
told by the environment, and so works on the same deployment.
"""

import fcntl
import os
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path

from engine.errors import Conflict, Unavailable

_PEPPER = "SIGNALBOX_KEY_PEPPER"
_SECRETS_KEY = "SIGNALBOX_SECRETS_KEY"
_ADDRESS = "TEMPORAL_ADDRESS"


class DataDir:
    """A data directory that exists and may be written.

    Raises:
        Unavailable: it cannot be made or written; so do the methods that write.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not os.access(self.path, os.W_OK | os.X_OK):
                raise PermissionError
        except OSError as error:
            raise self._unusable(error) from error

    @property
    def temporal_db(self) -> Path:
        """The file of the embedded Temporal server."""
        return self.path / "temporal.db"

    def lock(self) -> int:
        """Take the directory for this process, until it ends or closes the answered descriptor.

        Raises:
            Conflict: another process has it.
        """
        try:
            descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise self._unusable(error) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            message = f"{self.path} is in use by another `signalbox up`; set SIGNALBOX_DATA_DIR"
            raise Conflict(message) from error
        return descriptor

    def pepper(self) -> str:
        """The pepper, generated the first time."""
        return self._kept("pepper", lambda: secrets.token_hex(32))[0]

    def secrets_key(self) -> str:
        """The key of secrets, generated the first time."""
        return self._kept("secrets-key", lambda: secrets.token_hex(32))[0]

    def api_key(self, generate: Callable[[], str]) -> tuple[str, Path, bool]:
        """The first API key, the file that it is in, and whether it was generated just now."""
        key, new = self._kept("api-key", generate)
        return key, self.path / "api-key", new

    def publish_temporal(self, address: str | None) -> None:
        """Let other commands know where the embedded Temporal server is, or that it is no more."""
        file = self.path / "temporal-address"
        if address is None:
            file.unlink(missing_ok=True)
        else:
            file.write_text(f"{address}\n")

    def environment(self, given: Mapping[str, str]) -> dict[str, str]:
        """What the environment does not say and this directory does, as environment variables."""
        found: dict[str, str] = {}
        if not given.get("DATABASE_URL"):
            found["DATABASE_URL"] = f"sqlite:///{self.path / 'signalbox.db'}"
        if not given.get(_PEPPER):
            found[_PEPPER] = self.pepper()
        if not given.get(_SECRETS_KEY):
            found[_SECRETS_KEY] = self.secrets_key()
        address = self.path / "temporal-address"
        if not given.get(_ADDRESS) and address.exists():
            found[_ADDRESS] = address.read_text().strip()
        return found

    def _kept(self, name: str, generate: Callable[[], str]) -> tuple[str, bool]:
        """The text of a file that only its owner may read, and whether it had to be made."""
        file = self.path / name
        try:
            if text := _text(file):
                return text, False
            made = self.path / f".{name}.{secrets.token_hex(4)}"
            descriptor = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as stream:
                stream.write(generate() + "\n")
                stream.flush()
                os.fsync(stream.fileno())
            try:
                # Fails when two processes start at once and the other one was first.
                os.link(made, file)
                new = True
            except FileExistsError:
                new = False
            finally:
                made.unlink()
            return file.read_text().strip(), new
        except OSError as error:
            raise self._unusable(error) from error

    def _unusable(self, error: OSError) -> Unavailable:
        reason = error.strerror or "permission denied"
        return Unavailable(
            f"the data directory {self.path} cannot be written ({reason.lower()}); "
            "set SIGNALBOX_DATA_DIR"
        )


def _text(file: Path) -> str:
    try:
        return file.read_text().strip()
    except FileNotFoundError:
        return ""
