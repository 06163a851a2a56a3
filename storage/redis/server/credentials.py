"""Who we are to a server: asked for each connection, since what is mounted may change."""

from __future__ import annotations

from collections.abc import Callable

from redis.credentials import CredentialProvider
from redis.exceptions import AuthenticationError

from kubecdc.errors import KubecdcError


class Login(CredentialProvider):
    """User and password for redis-py."""

    def __init__(self, username: str, password: str | Callable[[], str]) -> None:
        self._username = username
        self._password = password

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        """Raises AuthenticationError, the cause of which is why the password cannot be had."""
        try:
            password = self._password() if callable(self._password) else self._password
        except KubecdcError as e:
            # One of redis-py's own, or it would take the connection for a good one.
            raise AuthenticationError(str(e)) from e
        return (self._username, password) if self._username else (password,)

    async def get_credentials_async(self) -> tuple[str] | tuple[str, str]:
        """The same: a file that is mounted is read in no time."""
        return self.get_credentials()


def login(username: str, password: str, secret: Callable[[], str] | None) -> Login | None:
    """None if there is nothing to say."""
    return Login(username, secret or password) if username or password or secret else None
