"""Messages over SOCK_SEQPACKET sockets that are known by their descriptors alone.

A child inherits every object of the server that forks it. A descriptor that it closed is a number; a socket object
would stay there to be found. So the object is made for one message and let go of.
"""

from __future__ import annotations

import socket


def pair(stream: bool = False) -> tuple[int, int]:
    """Descriptors of two connected sockets. stream: for bytes, not messages."""
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM if stream else socket.SOCK_SEQPACKET)
    return one.detach(), other.detach()


def receive(fd: int, max_bytes: int, max_descriptors: int) -> tuple[bytes, list[int]]:
    """The next message and the descriptors that came with it; an empty one when the other end is gone."""
    end = _socket(fd)
    try:
        message, descriptors, _, _ = socket.recv_fds(end, max_bytes, max_descriptors)
        return message, descriptors
    finally:
        end.detach()


def send(fd: int, message: bytes, descriptors: list[int]) -> None:
    """Send a message. Raises `OSError` when the other end is gone."""
    end = _socket(fd)
    try:
        socket.send_fds(end, [message], descriptors)
    finally:
        end.detach()


def _socket(fd: int) -> socket.socket:
    return socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, 0, fileno=fd)
