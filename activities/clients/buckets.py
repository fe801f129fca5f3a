"""The one door through which content gets into an organisation's buckets.

    webhook   a signed request, as that of a `webhook` step
    s3        one PUT, signed by `botocore` and sent through the outgoing door
    file      a file in the deployment's directory, in a folder of the organisation's

An object is called after what it is about, so that putting it again replaces it.
"""

import asyncio
import contextlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import assert_never
from urllib.parse import quote

from pydantic import JsonValue

from activities.clients.delivery import Message, as_json, deliver, hand_over, is_a_secret
from activities.clients.http import HttpDoor
from engine.bucket import FileBucket, FileConfig, S3Bucket, S3Config, WebhookBucket
from engine.errors import NotFound, StepError
from store import buckets
from store.buckets import BucketRow
from store.database import Database

#: What an object may be called: nothing that means something to a file system.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,199}")


@dataclass(frozen=True)
class Content:
    """What is to be put where.

    Attributes:
        name: what the object is called, without prefix and ending.
        key: the same each time that the same content is put.
        secrets: the values of the secrets that the bucket names.
    """

    name: str
    value: JsonValue
    key: str
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Put:
    """What has become of it: the status of an answer, or the name of an object, or both."""

    status_code: int | None = None
    object: str | None = None


class Buckets:
    """The buckets of every organisation."""

    def __init__(self, database: Database, http: HttpDoor, files: Path | None) -> None:
        """See to buckets.

        Args:
            database: Where they are described.
            http: The door that content leaves through.
            files: The directory of those that are files; None where there is none.
        """
        self._database = database
        self._http = http
        self._files = files

    async def find(self, org_id: str, named: str) -> BucketRow:
        """The bucket of this id or name.

        Raises:
            StepError: `bucket_not_found`, not retryable.
            Unavailable: the database does not answer.
        """
        try:
            return await self._database.read(lambda tx: buckets.find(tx, org_id, named))
        except NotFound:
            raise _failure("bucket_not_found", f"There is no bucket '{named[:100]}'.") from None

    async def put(self, row: BucketRow, content: Content, timeout: float) -> Put:
        """Put content into a bucket, in place of what is there under its name.

        Args:
            row: The bucket.
            content: What is put there.
            timeout: Seconds for all of it.

        Raises:
            StepError: not retryable: `secret_unfit`, `files_not_configured`, `bad_object_name`;
                `file_not_written`, which is; `http_status`, or a code of the door.
        """
        match row.bucket:
            case WebhookBucket(config=webhook):
                secret = None
                if webhook.secret is not None:
                    secret = _signing(webhook.secret, content.secrets)
                message = Message(webhook.url, content.value, secret=secret)
                return Put(await deliver(self._http, message, content.key, timeout))
            case S3Bucket(config=s3):
                return await self._put_object(s3, content, timeout)
            case FileBucket(config=folder):
                return await self._put_file(row.org_id, folder, content)
            case _:
                assert_never(row.bucket)

    async def _put_object(self, config: S3Config, content: Content, timeout: float) -> Put:
        # A tenth of the start of every process, and few have anything to sign.
        from botocore.auth import S3SigV4Auth
        from botocore.awsrequest import AWSRequest
        from botocore.credentials import Credentials

        name = _object(config.prefix, content.name)
        body = as_json(content.value).encode()
        request = AWSRequest(
            method="PUT",
            url=f"{config.url}/{quote(name, safe='/~')}",
            data=body,
            headers={"Content-Type": "application/json"},
        )
        key_id, key = (
            _printable(name, content.secrets)
            for name in (config.access_key_id, config.secret_access_key)
        )
        S3SigV4Auth(Credentials(key_id, key), "s3", config.region).add_auth(request)
        headers = dict(request.headers.items())
        status = await hand_over(self._http, "PUT", request.url, headers, body, timeout=timeout)
        return Put(status, name)

    async def _put_file(self, org_id: str, config: FileConfig, content: Content) -> Put:
        if self._files is None:
            raise _failure(
                "files_not_configured", "No file can be written: SIGNALBOX_FILES_DIR is not set."
            )
        name = _object(config.prefix, content.name)
        body = as_json(content.value).encode()
        try:
            await asyncio.to_thread(_write, self._files, f"{org_id}/{name}", body)
        except OSError as error:
            raise StepError(
                "file_not_written", f"The file cannot be written: {error.strerror or 'no reason'}."
            ) from error
        return Put(object=name)


def _object(prefix: str, name: str) -> str:
    """The full name of an object.

    Raises:
        StepError: `bad_object_name`, not retryable.
    """
    if not _NAME.fullmatch(name):
        raise _failure(
            "bad_object_name",
            "What is published has no id that a file or an object could be called after.",
        )
    return f"{prefix}/{name}.json" if prefix else f"{name}.json"


def _write(root: Path, name: str, content: bytes) -> None:
    """Write a file whole or not at all; a reader never meets half of one.

    Raises:
        OSError: it cannot be written, or a link leads out of the directory.
    """
    root.mkdir(parents=True, exist_ok=True)
    target = root / name
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.parent.resolve().is_relative_to(root.resolve()):
        raise OSError(0, "a link leads out of the directory")
    with NamedTemporaryFile("wb", dir=target.parent, prefix=".", delete=False) as file:
        try:
            file.write(content)
            file.flush()
            # Whoever shows it is mostly another user.
            os.fchmod(file.fileno(), 0o644)
            os.fsync(file.fileno())
            os.replace(file.name, target)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(file.name)
            raise


def _signing(name: str, secrets: Mapping[str, str]) -> str:
    if not is_a_secret(secrets[name]):
        raise _failure(
            "secret_unfit", f"Secret '{name}' is not `whsec_` and 24 bytes or more in base64."
        )
    return secrets[name]


def _printable(name: str, secrets: Mapping[str, str]) -> str:
    value = secrets[name].strip()
    if not (value.isascii() and value.isprintable() and value):
        raise _failure("secret_unfit", f"Secret '{name}' is no key of a store.")
    return value


def _failure(code: str, message: str) -> StepError:
    return StepError(code, message, retryable=False)
