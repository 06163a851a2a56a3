"""User and password. They are read for each connection, because a Secret may change."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from redis.credentials import CredentialProvider
from redis.exceptions import AuthenticationError

from kubecdc.errors import KubecdcError


class Login(CredentialProvider):
    """User and password for redis-py."""

    def __init__(self, username: str, password: str | Callable[[], Awaitable[str]]) -> None:
        self._username = username
        self._password = password

    async def get_credentials_async(self) -> tuple[str] | tuple[str, str]:
        """Raises AuthenticationError, whose cause says why there is no password."""
        try:
            password = await self._password() if callable(self._password) else self._password
        except KubecdcError as e:
            # An error of redis-py: after any other one it would consider the connection usable.
            raise AuthenticationError(str(e)) from e
        return (self._username, password) if self._username else (password,)

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        """For clients that are not asynchronous, which are not used."""
        raise NotImplementedError


def login(username: str, password: str, secret: Callable[[], Awaitable[str]] | None) -> Login | None:
    """The credentials; None if there are none."""
    return Login(username, secret or password) if username or password or secret else None
