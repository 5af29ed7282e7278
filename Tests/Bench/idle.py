"""Connections that have served one request each and then do nothing."""

import socket


class IdleConnections:
    """Opened from several loopback addresses: one peer may have only half of all connections."""

    PER_ADDRESS = 3000
    REQUEST = b"GET /healthz HTTP/1.1\r\nHost: bench\r\n\r\n"

    def __init__(self, port, count):
        self.sockets = []
        for number in range(count):
            self.sockets.append(self.open(port, f"127.0.0.{2 + number // self.PER_ADDRESS}"))
            # In batches, so that no queue of the kernel overflows.
            if number % 100 == 99:
                self.read_answers(self.sockets[-100:])
        self.read_answers(self.sockets[count - count % 100:])

    def open(self, port, address):
        connection = socket.create_connection(
            ("127.0.0.1", port), timeout=10, source_address=(address, 0)
        )
        connection.sendall(self.REQUEST)
        return connection

    def read_answers(self, sockets):
        for connection in sockets:
            if not connection.recv(4096).startswith(b"HTTP/1.1 200"):
                raise SystemExit("an idle connection was not answered 200")

    def are_open(self):
        """Whether the server has closed none of them."""
        for connection in self.sockets:
            connection.setblocking(False)
            try:
                if connection.recv(1) == b"":
                    return False
            except BlockingIOError:
                pass
        return True

    def close(self):
        for connection in self.sockets:
            connection.close()
        self.sockets = []
