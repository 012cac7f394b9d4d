"""A web of one machine: names resolve to public addresses, which lead to a local server."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from llmos_workers.execution.net.reach import WebEdge

PUBLIC = "93.184.215.14"
Page = Callable[[BaseHTTPRequestHandler], None]


class LocalWeb:
    """Pages by path; ``names`` maps a host to what each further question about it is answered;
    the last answer stays. Others resolve to PUBLIC.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.pages: dict[str, Page] = {}
        self.names: dict[str, list[Sequence[str]]] = {}
        self.connected: list[tuple[str, int]] = []
        self.requests: list[tuple[str, str]] = []
        """Host header and path."""

    def resolve(self, host: str, timeout_s: float) -> Sequence[str]:
        answers = self.names.get(host, [[PUBLIC]])
        return answers.pop(0) if len(answers) > 1 else answers[0]

    def connect(self, address: str, port: int, timeout_s: float) -> socket.socket:
        self.connected.append((address, port))
        return socket.create_connection(("127.0.0.1", self.port), timeout=timeout_s)

    @property
    def edge(self) -> WebEdge:
        return WebEdge(resolve=self.resolve, connect=self.connect)

    def says(self, path: str, text: str | bytes, kind: str = "text/plain", **headers: str) -> None:
        body = text.encode() if isinstance(text, str) else text

        def page(request: BaseHTTPRequestHandler) -> None:
            request.send_response(200)
            request.send_header("Content-Type", kind)
            for name, value in headers.items():
                request.send_header(name.replace("_", "-"), value)
            request.end_headers()
            request.wfile.write(body)

        self.pages[path] = page

    def moves(self, path: str, to: str, status: int = 302) -> None:
        def page(request: BaseHTTPRequestHandler) -> None:
            request.send_response(status)
            request.send_header("Location", to)
            request.end_headers()

        self.pages[path] = page


@contextmanager
def local_web(certificate: Path | None = None) -> Iterator[LocalWeb]:
    """``certificate``: a PEM file with key and certificate, to speak TLS."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            web.requests.append((self.headers["Host"], self.path))
            page = web.pages.get(self.path.partition("?")[0])
            if page is None:
                self.send_error(404)
                return
            page(self)

        def log_message(self, *args: object) -> None:
            return

    class Server(ThreadingHTTPServer):
        def handle_error(self, *args: object) -> None:
            """Clients that hang up are what is tested."""

    server = Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if certificate is not None:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificate)
        server.socket = tls.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
    web = LocalWeb(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield web
    finally:
        server.shutdown()
        server.server_close()
