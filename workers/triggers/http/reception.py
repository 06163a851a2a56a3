"""Reads what a peer sends on a connection: one answer for each request. Anything more ends the connection."""

from __future__ import annotations

from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.http import HttpProcessingError, RawResponseMessage
from aiohttp.streams import StreamReader

HEAD_BYTES = 256 * 1024  # of an answer, from its status to the empty line
MOST_INTERIM = 100  # answers of 1xx before the answer
_END = b"\r\n\r\n"


class Answers(ResponseHandler):
    """The library's protocol, with two differences.

    A status counts as soon as its head is complete, whatever follows in the same piece: the library reads a piece as a
    whole, or not at all. And what comes after an answer ends the connection, instead of answering the next request.
    """

    _content: StreamReader | None = None  # of the answer to this request, once its head is there
    _head_bytes = 0
    _interim = 0
    _before = b""  # the last bytes, if the end of the head may begin in them

    def set_response_params(self, **params: Any) -> None:
        """A request begins."""
        self._content, self._head_bytes, self._interim, self._before = None, 0, 0, b""
        super().set_response_params(**params)

    def feed_data(self, data: tuple[RawResponseMessage, StreamReader], size: int = 0) -> None:
        """The parser has read a head."""
        if self._content is not None:
            self.force_close()
            return
        message, content = data
        if message.code >= 200 or message.code == 101:
            self._content = content
        else:
            self._interim += 1
            if self._interim > MOST_INTERIM:
                self._refuse(f"it has more than {MOST_INTERIM} interim answers")
                return
        super().feed_data(data, size)

    def data_received(self, data: bytes) -> None:
        """Bytes have come."""
        while data and self._content is None:
            part, data = self._head_of(data)
            super().data_received(part)
            if self.exception() is not None:
                return
        if self._content is None:
            super().data_received(data)
        elif self._content.is_eof():
            if data:
                self.force_close()
        else:
            super().data_received(data)
            if (error := self.exception()) is not None and not self._content.is_eof():
                self._content.set_exception(aiohttp.ClientPayloadError(str(error)))

    def _refuse(self, why: str) -> None:
        self.set_exception(HttpProcessingError(message=why))
        if self.transport is not None:
            self.transport.close()

    def _head_of(self, data: bytes) -> tuple[bytes, bytes]:
        """What of the bytes belongs to the head, and the rest."""
        joined = self._before + data if self._before else data
        end = joined.find(_END)
        cut = len(data) if end < 0 else end + len(_END) - len(self._before)
        self._head_bytes += cut
        if self._head_bytes > HEAD_BYTES:
            self._refuse(f"its head has more than {HEAD_BYTES} bytes")
            return b"", b""
        self._before = joined[-len(_END) + 1 :] if end < 0 else b""
        return data[:cut], data[cut:]
