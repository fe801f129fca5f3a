"""Serves the API over HTTP until it is told to stop."""

import logging
import signal
import socket

import uvicorn

from app.main import create_app
from app.settings import Settings

#: Seconds that requests in flight have to finish when the API is asked to stop.
_GRACE = 5


def serve(settings: Settings, listener: socket.socket, *, access_log: bool = False) -> int:
    """Serve on the socket until SIGTERM or SIGINT. Answers the exit status.

    Args:
        settings: of the deployment.
        listener: is listening already.
        access_log: say a line for every request.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    # It says of every start and stop what the supervisor says too.
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    server = uvicorn.Server(
        uvicorn.Config(
            create_app(settings),
            loop="asyncio",
            http="h11",
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=access_log,
            server_header=False,
            timeout_graceful_shutdown=_GRACE,
        )
    )
    # The server raises the signal again once it has stopped, which would make a clean stop look
    # like a crash; it finds itself as the handler then.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, server.handle_exit)
    server.run(sockets=[listener])
    return 0 if server.started else 1
