"""The HTTP client with which the bot process calls Rasa and Meta."""

from aiohttp import ClientSession, ClientTimeout, DummyCookieJar, TCPConnector

# Rasa closes a connection that is idle for five seconds; one that is kept longer may go just as it is used.
IDLE_SECONDS = 4.0


class Client:
    """One session, opened when it is first used: it belongs to the event loop that runs then."""

    def __init__(self, timeout: ClientTimeout) -> None:
        self._timeout = timeout
        self._session: ClientSession | None = None

    @property
    def session(self) -> ClientSession:
        """Connections are kept for a while, cookies never."""
        if self._session is None:
            self._session = ClientSession(
                connector=TCPConnector(keepalive_timeout=IDLE_SECONDS),
                cookie_jar=DummyCookieJar(),
                timeout=self._timeout,
            )
        return self._session

    async def close(self) -> None:
        """Closes the connections, if there are any."""
        if self._session:
            await self._session.close()
