"""Mail, given to one server that the deployment names; without one there is no mail.

The address and the password of the server are the operator's, so none of it is ever told to a
workflow, and the server may be a private one.
"""

import asyncio
import re
import smtplib
import ssl
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.utils import formatdate
from hashlib import sha256
from typing import Annotated
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator, Field

from engine.errors import StepError

_PORTS = {"smtp": 587, "smtps": 465}
#: Seconds after which a server that says nothing is given up.
_LONGEST = 60.0
_ADDRESS = re.compile(r"[^\s@,;<>\"]+@[^\s@,;<>\"]+")


def _is_one_address(text: str) -> str:
    if not _ADDRESS.fullmatch(text):
        raise ValueError("must be one e-mail address")
    return text


#: In a configuration: whom a letter goes to.
Address = Annotated[str, Field(max_length=320), AfterValidator(_is_one_address)]


@dataclass(frozen=True)
class MailServer:
    """Where mail is given to, read from `smtp[s]://[user:password@]host[:port]`."""

    host: str
    port: int
    encrypted: bool
    user: str = ""
    password: str = field(default="", repr=False)

    @classmethod
    def parse(cls, url: str) -> "MailServer":
        """The server of a URL.

        Raises:
            ValueError: it is none; the message does not repeat it.
        """
        complaint = "must be smtp://host or smtps://host, with user:password@ and :port as needed"
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            raise ValueError(complaint) from None
        if parts.scheme not in _PORTS or not host or parts.path.strip("/") or parts.query:
            raise ValueError(complaint)
        return cls(
            host,
            port or _PORTS[parts.scheme],
            parts.scheme == "smtps",
            unquote(parts.username or ""),
            unquote(parts.password or ""),
        )


@dataclass(frozen=True)
class Letter:
    """One message to one address."""

    to: str
    subject: str
    text: str


class Mail:
    """Gives letters to the server; `sender` is the address that they come from."""

    def __init__(self, server: MailServer | None, sender: str) -> None:
        self._server = server
        self._sender = sender

    async def send(self, letter: Letter, key: str, timeout: float) -> None:
        """Give it to the server; once it has taken it, delivering it is its business.

        Args:
            letter: What is sent.
            key: Makes the `Message-ID`, the same each time that the same letter is sent.
            timeout: Seconds.

        Raises:
            StepError: `mail_not_configured`, `mail_refused` (neither retried), `mail_failed`.
        """
        server = self._server
        if server is None or not self._sender:
            raise StepError(
                "mail_not_configured",
                "No mail can be sent: SIGNALBOX_SMTP_URL and SIGNALBOX_SMTP_FROM are not set.",
                retryable=False,
            )
        message = EmailMessage()
        message["From"], message["To"] = self._sender, letter.to
        message["Subject"] = letter.subject
        message["Date"] = formatdate()
        message["Message-ID"] = f"<{sha256(key.encode()).hexdigest()[:32]}@{server.host}>"
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(letter.text)
        try:
            await asyncio.to_thread(_give, server, message, min(timeout, _LONGEST))
        except (smtplib.SMTPException, OSError, ValueError) as error:
            raise _failure(error) from error


def _give(server: MailServer, message: EmailMessage, timeout: float) -> None:
    context = ssl.create_default_context()
    with (
        smtplib.SMTP_SSL(server.host, server.port, timeout=timeout, context=context)
        if server.encrypted
        else smtplib.SMTP(server.host, server.port, timeout=timeout)
    ) as connection:
        connection.ehlo()
        if not server.encrypted and connection.has_extn("starttls"):
            connection.starttls(context=context)
            connection.ehlo()
            encrypted = True
        else:
            encrypted = server.encrypted
        if server.user:
            if not encrypted:
                raise smtplib.SMTPNotSupportedError("no encryption for the password")
            connection.login(server.user, server.password)
        connection.send_message(message)


def _failure(error: Exception) -> StepError:
    """What a failure means; the server's own words may repeat an address, so they are left out."""
    match error:
        case smtplib.SMTPRecipientsRefused(recipients=refused):
            code = max((answer[0] for answer in refused.values()), default=0)
        case smtplib.SMTPResponseException(smtp_code=code):
            pass
        case smtplib.SMTPNotSupportedError() | ValueError():
            return StepError(
                "mail_refused",
                "The mail server lacks what the letter needs, such as encryption for a password.",
                retryable=False,
            )
        case _:
            return StepError("mail_failed", "The mail server does not answer as it should.")
    if 500 <= code < 600:
        return StepError("mail_refused", f"The mail server refused with {code}.", retryable=False)
    return StepError("mail_failed", f"The mail server answered {code}.")
