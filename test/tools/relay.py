"""A way to a server that can be held up: no client is done before a test has looked."""

import contextlib
import select
import socket
import socketserver
import threading

CHUNK = 1 << 16


class Relay(socketserver.ThreadingTCPServer):
    """Keeps back what clients send beyond `most` bytes in all, until `most` is more, or None.
    port(): of the server, asked for each connection."""

    daemon_threads = True

    def __init__(self, port, most=None):
        super().__init__(("127.0.0.1", 0), Connection)
        self.port, self.most, self.passed, self.clients = port, most, 0, []
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def holds(self):
        return self.most is not None and self.passed >= self.most

    def kill(self, process):
        """A client, and its connections: with bytes kept back they would outlive it."""
        process.kill()
        for client in self.clients:
            cut(client)

    def handle_error(self, *_):
        """Either end may go at any time."""


class Connection(socketserver.BaseRequestHandler):
    def handle(self):
        ended = select.poll()
        ended.register(self.request, select.POLLHUP)
        self.server.clients.append(self.request)
        with socket.create_connection(("127.0.0.1", self.server.port())) as server:
            answers = threading.Thread(target=self.answer, args=[server], daemon=True)
            answers.start()
            with contextlib.suppress(OSError):
                while data := self.request.recv(CHUNK):
                    server.sendall(data)
                    self.server.passed += len(data)
                    while self.server.holds() and not ended.poll(20):
                        pass
                    if ended.poll(0):
                        break
            cut(server)
            answers.join()

    def answer(self, server):
        with contextlib.suppress(OSError):
            while data := server.recv(CHUNK):
                self.request.sendall(data)
        cut(self.request)


def cut(connection):
    with contextlib.suppress(OSError):  # it may be cut already
        connection.shutdown(socket.SHUT_RDWR)
