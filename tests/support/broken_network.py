"""A way to a server that breaks: connections are cut, and bytes change on the wire."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

_PIECE = 1 << 16


class Wire:
    """A proxy on loopback that passes bytes on.

    The connection that carries the byte of one of these numbers, counted over both directions, is reset. `change` sees
    what goes to the server.
    """

    def __init__(self, server: str, cuts: Sequence[int], change: Callable[[bytes], bytes]) -> None:
        self._server = server.removeprefix("http://").partition(":")[::2]
        self._cuts, self._change = sorted(cuts), change
        self._lock = threading.Lock()
        self._passed = 0
        self.cut_count = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._open: set[socket.socket] = set()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def close(self) -> None:
        """End every connection, and all threads."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for end in self._open:
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client = self._listener.accept()[0]
                server = socket.create_connection((self._server[0], int(self._server[1])))
                with self._lock:
                    self._open |= {client, server}
                ends = [(client, server, self._change), (server, client, bytes)]
                threads = [threading.Thread(target=self._pass, args=each) for each in ends]
                self._threads += threads
                for thread in threads:
                    thread.start()

    def _pass(self, source: socket.socket, target: socket.socket, change: Callable[[bytes], bytes]) -> None:
        with suppress(OSError):
            while piece := source.recv(_PIECE):
                if self._is_cut(len(piece)):
                    for end in (source, target):
                        # A reset, and not an orderly end.
                        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    break
                target.sendall(change(piece))
        with self._lock:
            self._open -= {source, target}
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _is_cut(self, count: int) -> bool:
        with self._lock:
            self._passed += count
            if self._cuts and self._cuts[0] <= self._passed:
                self._cuts.pop(0)
                self.cut_count += 1
                return True
            return False


@contextmanager
def broken_wire(server: str, *, cuts: Sequence[int] = (), change: Callable[[bytes], bytes] = bytes) -> Iterator[Wire]:
    """A way to the server at this URL, by the URL of the wire."""
    wire = Wire(server, cuts, change)
    try:
        yield wire
    finally:
        wire.close()


class Once:
    """A change of some bytes into others of the same length, the first time that they come by."""

    def __init__(self, before: bytes, after: bytes) -> None:
        self._before, self._after, self.done = before, after, False

    def __call__(self, piece: bytes) -> bytes:
        if self.done or self._before not in piece:
            return piece
        self.done = True
        return piece.replace(self._before, self._after, 1)
