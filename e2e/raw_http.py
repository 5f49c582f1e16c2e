"""HTTP without a client library: for malformed requests, timing, and who hangs up when."""

from __future__ import annotations

import http.client
import json
import select
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass

TIMEOUT = 60.0


@dataclass
class Response:
    """An answer that was read to its end. Header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    def json(self):
        return json.loads(self.body)

    def error(self) -> dict:
        """The error object, after a check that it has OpenAI's form."""
        assert self.headers.get("content-type", "").startswith("application/json"), self
        body = self.json()
        assert set(body) == {"error"}, body
        error = body["error"]
        assert isinstance(error["message"], str) and error["message"], error
        assert isinstance(error["type"], str) and error["type"], error
        assert error["param"] is None or isinstance(error["param"], str), error
        assert "code" in error, error
        return error


def request(
    port: int,
    method: str,
    path: str,
    body: bytes | str | dict | list | None = None,
    headers: dict[str, str] | None = None,
) -> Response:
    """Sends one request; `dict` and `list` bodies are sent as JSON."""
    if isinstance(body, (dict, list)):
        body = json.dumps(body)
    if isinstance(body, str):
        body = body.encode()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
    try:
        sent = {"content-type": "application/json", **(headers or {})}
        connection.request(method, path, body, sent)
        return _read(connection.getresponse())
    finally:
        connection.close()


def post(port: int, path: str, body, headers: dict[str, str] | None = None) -> Response:
    return request(port, "POST", path, body, headers)


def connect(port: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), TIMEOUT)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def send_until_answered(connection: socket.socket, pieces: Iterator[bytes]) -> Response | None:
    """Sends `pieces` until they end or the server speaks; `None` if it hung up without a word."""
    for piece in pieces:
        if select.select([connection], [], [], 0)[0]:
            break
        try:
            connection.sendall(piece)
        except (BrokenPipeError, ConnectionResetError):
            break
    return read_response(connection)


def read_response(connection: socket.socket) -> Response | None:
    """The answer on `connection`; `None` if the server hung up without a word."""
    answer = http.client.HTTPResponse(connection)
    try:
        answer.begin()
        return _read(answer)
    except (http.client.BadStatusLine, ConnectionResetError):
        return None


def _read(answer: http.client.HTTPResponse) -> Response:
    headers = {name.lower(): value for name, value in answer.getheaders()}
    return Response(answer.status, headers, answer.read())


class EventStream:
    """A streamed answer, read by hand: each HTTP chunk with the time of its arrival."""

    def __init__(
        self, port: int, path: str, body: dict, headers: dict[str, str] | None = None
    ) -> None:
        text = json.dumps(body).encode()
        more = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
        head = (
            f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(text)}\r\n{more}\r\n"
        )
        self._connection = connect(port)
        self._file = self._connection.makefile("rb")
        self.sent_at = time.monotonic()
        self._connection.sendall(head.encode() + text)
        self.status = int(self._file.readline().split()[1])
        self.headers: dict[str, str] = {}
        while line := self._file.readline().strip():
            name, _, value = line.decode().partition(":")
            self.headers[name.strip().lower()] = value.strip()
        assert self.status == 200, self._file.read(2000)
        assert self.headers["transfer-encoding"] == "chunked", self.headers
        self.complete = False

    def chunks(self) -> Iterator[tuple[float, bytes]]:
        """(seconds since the request was sent, bytes) of each HTTP chunk."""
        while True:
            size = self._file.readline()
            if not size:
                return
            length = int(size, 16)
            chunk = self._file.read(length)
            assert self._file.readline() == b"\r\n"
            if length == 0:
                self.complete = True
                return
            yield time.monotonic() - self.sent_at, chunk

    def events(self) -> Iterator[str]:
        """The data of each event."""
        for _, chunk in self.chunks():
            yield from event_data(chunk.decode())

    def close(self) -> None:
        """Hangs up, whether or not the answer is complete."""
        self._file.close()
        self._connection.close()

    def __enter__(self) -> EventStream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def event_data(text: str) -> list[str]:
    """The data of each server-sent event in `text`, which must hold nothing else."""
    events = text.split("\n\n")
    assert events.pop() == "", f"an event is cut off: {text[-200:]!r}"
    for event in events:
        assert event.startswith("data: ") and "\n" not in event, event
    return [event.removeprefix("data: ") for event in events]
