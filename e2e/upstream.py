"""A model server that tells what it was asked."""

from __future__ import annotations

import gzip
import json
import ssl
import sys
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Empty, Queue

USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


@dataclass
class Seen:
    """A request as it arrived. Header names are in lower case."""

    path: str
    headers: dict[str, str]
    body: bytes

    def json(self):
        return json.loads(self.body)


@dataclass
class Stream:
    """A streamed answer, piece by piece: the test says when the next one is sent."""

    pieces: Queue[bytes | None] = field(default_factory=Queue)
    client_left: threading.Event = field(default_factory=threading.Event)

    def send(self, text: str) -> None:
        self.pieces.put(f"data: {text}\n\n".encode())

    def end(self) -> None:
        self.pieces.put(None)


class Upstream:
    """Answers every POST; the text of the answer is that of the last message."""

    def __init__(self, tls: tuple[Path, Path] | None = None) -> None:
        """With `tls`, the files of a certificate and its key, it speaks HTTPS."""
        self.seen: Queue[Seen] = Queue()
        self.stream: Stream | None = None
        self.status = 200
        self.delay = 0.0
        """Seconds until it answers."""
        self.headers: dict[str, str] = {}
        self.says: str | None = None
        """The text of the answers, if it is not that of the question."""
        self.judge = ""
        """What the model of that name says; nobody sees who asks it."""
        upstream = self

        class Handler(_Handler):
            server_upstream = upstream

        class Server(ThreadingHTTPServer):
            request_queue_size = 512
            daemon_threads = True

            def handle_error(self, *about: object) -> None:
                # Clients may leave.
                if not isinstance(sys.exc_info()[1], OSError):
                    super().handle_error(*about)

        self._server = Server(("127.0.0.1", 0), Handler)
        if tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def last(self) -> Seen:
        """The only request since the last call."""
        seen = self.seen.get(timeout=10)
        assert self.seen.empty(), "more than one request"
        return seen

    def nothing(self) -> bool:
        """Whether nobody has asked anything."""
        try:
            self.seen.get(timeout=0.2)
        except Empty:
            return True
        return False

    def reset(self) -> None:
        while not self.seen.empty():
            self.seen.get_nowait()
        self.stream, self.status, self.headers, self.says = None, 200, {}, None
        self.delay = 0.0

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # A whole answer is written at once: one that is killed has answered, or not.
    wbufsize = -1
    server_upstream: Upstream

    def do_POST(self) -> None:
        upstream = self.server_upstream
        headers = {name.lower(): value for name, value in self.headers.items()}
        if headers.get("transfer-encoding") == "chunked":
            body = self._chunks()
        else:
            body = self.rfile.read(int(headers.get("content-length", 0)))
        asked = json.loads(body)
        content = asked.get("messages", [{}])[-1].get("content")
        if asked.get("model") == "judge":
            content = upstream.judge
        else:
            upstream.seen.put(Seen(self.path, headers, body))
            content = content if upstream.says is None else upstream.says
        time.sleep(upstream.delay)
        if upstream.stream is not None:
            self._stream(upstream.stream)
            return
        message = {"role": "assistant", "content": content}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        answer = json.dumps({"id": "x", "choices": [choice], "usage": USAGE}).encode()
        if "gzip" in headers.get("accept-encoding", ""):
            answer = gzip.compress(answer)
            self._head({"content-encoding": "gzip", "content-length": str(len(answer))})
        else:
            self._head({"content-length": str(len(answer))})
        self.wfile.write(answer)

    def _head(self, headers: dict[str, str]) -> None:
        upstream = self.server_upstream
        self.send_response(upstream.status)
        kind = {"content-type": "application/json"}
        for name, value in {**kind, **headers, **upstream.headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def _stream(self, stream: Stream) -> None:
        self._head({"content-type": "text/event-stream", "transfer-encoding": "chunked"})
        try:
            self.wfile.flush()
            while True:
                try:
                    piece = stream.pieces.get(timeout=0.05)
                except Empty:
                    # A comment: only by writing does a server learn that nobody listens.
                    piece = b": still here\n\n"
                if piece is None:
                    break
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                self.wfile.flush()
            self.wfile.write(b"0\r\n\r\n")
            self.wfile.flush()
        except OSError:
            stream.client_left.set()
            self.close_connection = True

    def _chunks(self) -> bytes:
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def log_message(self, *_: object) -> None:
        pass


def main() -> None:
    """Serves until it is killed, and says where; the argument is the delay."""
    upstream = Upstream()
    upstream.delay = float(sys.argv[1])
    print(upstream.port, flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
