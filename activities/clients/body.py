"""Unpacks an answer's body under a cap that also holds for what a small body unpacks to."""

import zlib

_GZIP = 16 + zlib.MAX_WBITS


class TooLarge(Exception):
    """The body passed the cap."""


class Unusable(Exception):
    """The answer cannot be used; the message ends a sentence about it."""


class Body:
    """The bytes of one answer, at most `limit` of them, before and after decompression."""

    def __init__(self, encoding: str, limit: int) -> None:
        """Prepare for one body.

        Args:
            encoding: The answer's `Content-Encoding`; empty when it has none.
            limit: Bytes.

        Raises:
            Unusable: The encoding is one that the door does not undo.
        """
        encoding = encoding.strip().lower()
        if encoding not in ("", "identity", "gzip", "x-gzip"):
            raise Unusable("it is compressed in a way that was not asked for")
        self._limit = limit
        self._received = 0
        self._given = 0
        self._unpacker = zlib.decompressobj(_GZIP) if encoding.endswith("gzip") else None

    def feed(self, chunk: bytes) -> bytes:
        """What the next bytes of the connection add to the body.

        Raises:
            TooLarge: More than the limit, packed or unpacked; never more than that is in memory.
            Unusable: The bytes are not what the encoding promises.
        """
        self._received += len(chunk)
        if self._received > self._limit:
            raise TooLarge
        if self._unpacker is None or not chunk:
            return chunk
        return self._unpack(chunk)

    def _unpack(self, chunk: bytes) -> bytes:
        content = bytearray()
        while chunk and self._unpacker is not None:
            if self._unpacker.eof:  # a gzip body may be several members in a row
                self._unpacker = zlib.decompressobj(_GZIP)
            room = self._limit - self._given - len(content)
            try:
                # One byte more than there is room for proves that it does not fit.
                content += self._unpacker.decompress(chunk, room + 1)
            except zlib.error:
                raise Unusable("it is not valid gzip") from None
            if self._given + len(content) > self._limit:
                raise TooLarge
            chunk = self._unpacker.unused_data or self._unpacker.unconsumed_tail
        self._given += len(content)
        return bytes(content)

    def finish(self) -> None:
        """See that the body is whole.

        Raises:
            Unusable: The compressed body ends too early.
        """
        if self._received and self._unpacker is not None and not self._unpacker.eof:
            raise Unusable("its gzip body is cut short")
