"""What `signalbox secrets` does in the database; every function is one transaction of its own."""

import re

from app import deployment
from app.services.secrets import NAME, check, require
from app.settings import Settings
from engine.errors import Conflict, Invalid
from store import organisations, secrets
from store.database import Tx
from store.secrets import SecretRow

#: Rows that are read at once.
_ALL = 1_000_000


def put(settings: Settings, org: str, name: str, value: str) -> bool:
    """Keep a value; whether the name is new.

    Raises:
        Invalid: the name or the value cannot be.
        NotFound: there is no such organisation.
        Unavailable: there is no key.
    """
    if not re.fullmatch(NAME, name):
        raise Invalid("a name is 1 to 64 letters, digits and underscores, and begins with no digit")
    check(value)
    require(settings.keyring)

    def work(tx: Tx) -> bool:
        return secrets.put(tx, organisations.find(tx, org), name, value, settings.keyring)[1]

    return deployment.write(settings, work)


def listed(settings: Settings, org: str) -> list[SecretRow]:
    """The organisation's secrets by name.

    Raises:
        NotFound: there is no such organisation.
    """
    return deployment.write(
        settings,
        lambda tx: secrets.page(tx, organisations.find(tx, org), limit=_ALL, offset=0)[0],
    )


def remove(settings: Settings, org: str, name: str) -> None:
    """Forget a secret.

    Raises:
        NotFound: there is no such organisation, or it has no such secret.
    """
    deployment.write(settings, lambda tx: secrets.remove(tx, organisations.find(tx, org), name))


def rotate(settings: Settings) -> int:
    """Seal everything under the first key; how many secrets were sealed anew.

    Raises:
        Unavailable: there is no key.
        Conflict: no key opens some of them; the others were sealed anew.
    """
    require(settings.keyring)
    anew, closed = deployment.write(settings, lambda tx: secrets.reseal(tx, settings.keyring))
    if closed:
        raise Conflict(
            f"{closed} secrets were written under a key that SIGNALBOX_SECRETS_KEY does not name; "
            f"{anew} others were encrypted anew"
        )
    return anew
