"""The network backend that dials only addresses which were checked.

A check of the URL's text cannot work: `http://0x7f.1`, `http://2130706433` and a name whose
answer changes between the check and the connection all end at 127.0.0.1. So the check is made
where the connection is: the name is resolved once, every address of the answer is judged, and
the numeric address that was judged is the one that is dialled. TLS and `Host` keep the name.
"""

import asyncio
import socket
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from ipaddress import ip_address

import httpcore2

from activities.clients.egress import SETTING, Address, Egress

#: True once the request of the current task has opened a connection of its own, so that a request
#: which failed on a kept one can be told from a request which failed on a fresh one.
dialled: ContextVar[bool] = ContextVar("dialled", default=False)

#: A host with dozens of addresses is not tried longer than this many.
_MOST_ADDRESSES = 4
#: Seconds that a silent address may take while there is another one to try.
_PATIENCE = 2.0
#: Look-ups at once. A thread that waits for a name server must not be one that SQL waits for, so
#: the event loop's shared executor is left alone.
_RESOLVERS = 8


class Refused(Exception):
    """The host, or one of its addresses, may not be dialled."""


class GuardedBackend(httpcore2.AnyIOBackend):
    """Resolves once, refuses unless every address may be dialled, dials what it judged."""

    def __init__(self, egress: Egress) -> None:
        self._egress = egress
        self._threads = ThreadPoolExecutor(_RESOLVERS, thread_name_prefix="resolve")

    def close(self) -> None:
        """Let the resolver's threads go; one that hangs is not waited for."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Open a connection to a host that may be reached.

        Args:
            host: A name or an address literal, IPv6 without brackets.
            port: Between 1 and 65535.
            timeout: Seconds for look-up and connection together.
            local_address: Passed on.
            socket_options: Passed on.

        Raises:
            Refused: The setting does not allow it; nothing was dialled.
            httpcore2.ConnectError: No such name, or no address accepted the connection.
            httpcore2.ConnectTimeout: Neither happened in time.
        """
        dialled.set(True)
        try:
            async with asyncio.timeout(timeout):
                addresses = await self._resolve(host, port)
                for address in addresses:
                    reason = self._egress.refusal(host, port, address)
                    if reason is not None:
                        raise Refused(_sentence(host, port, address, reason))
                return await self._dial(addresses[:_MOST_ADDRESSES], port, socket_options)
        except TimeoutError:
            raise httpcore2.ConnectTimeout(f"no connection within {timeout:g} s") from None

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Refuse: a socket in the file system has no address to judge.

        Raises:
            Refused: Always.
        """
        raise Refused("Unix sockets are not reachable from a step.")

    async def _resolve(self, host: str, port: int) -> list[Address]:
        """Every address of a host, in the resolver's order, without repetition."""
        try:
            return [ip_address(host)]
        except ValueError:
            pass
        loop = asyncio.get_running_loop()
        try:
            # As bytes: for text, Python would apply its own, older IDNA rules.
            answers = await loop.run_in_executor(
                self._threads, socket.getaddrinfo, host.encode("ascii"), port, 0, socket.SOCK_STREAM
            )
        except OSError as exc:
            raise httpcore2.ConnectError(exc.strerror or "the name does not resolve") from exc
        addresses = [
            ip_address(where[0])
            for family, _, _, _, where in answers
            if family in (socket.AF_INET, socket.AF_INET6)
        ]
        if not addresses:
            raise httpcore2.ConnectError("the name has no address")
        return list(dict.fromkeys(addresses))

    async def _dial(
        self,
        addresses: list[Address],
        port: int,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None,
    ) -> httpcore2.AsyncNetworkStream:
        """Connect to the first address that answers."""
        for address in addresses[:-1]:
            try:
                return await super().connect_tcp(
                    str(address), port, timeout=_PATIENCE, socket_options=socket_options
                )
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout):
                continue
        return await super().connect_tcp(str(addresses[-1]), port, socket_options=socket_options)


def _sentence(host: str, port: int, address: Address, reason: str) -> str:
    what = host if host == str(address) else f"{host} resolves to {address}, which"
    return (
        f"{what} {reason}. {SETTING} may allow it, for example with {_entry(host, port, address)}."
    )


def _entry(host: str, port: int, address: Address) -> str:
    """The narrowest entry of the setting that would allow this."""
    entry = f"{host.removesuffix('.')}:{port}"
    try:
        Egress.parse(entry)
    except ValueError:  # a number or an address that is not written as the setting wants it
        return f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"
    return entry
