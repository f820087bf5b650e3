"""Takes part when `levee watch` guards this program's memory.

A training loop reports each finished step, and hears what memory asks of it:

    import levee.watch

    for batch in batches:
        train(batch)
        wish = levee.watch.step()
        if wish == "shrink":
            micro_batch = max(1, micro_batch // 2)
        elif wish == "stop":
            save()
            break

Without `levee watch` (the variable LEVEE_WATCH is not set) every call does nothing and costs next to nothing. A wish
is given once; when the next step is reported it counts as carried out, unless `refuse()` was called. Nothing here
raises: a program must not fail because nobody watches it any more.

One loop belongs to one process; a process that forks takes part with the process that calls `step`. All functions may
be called from any thread.
"""

import os
import socket
import threading
from typing import Optional

__all__ = ["watched", "step", "refuse", "can_pause", "wait"]

WISHES = ("shrink", "grow", "pause", "stop")


class _Connection:
    """The socket to levee watch. Packets are words; see the wishes above and `step N [wish]`, `refused`, `paused`."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.pid = os.getpid()
        self.steps = 0
        self.answer = ""
        self.socket: Optional[socket.socket] = _connect(os.environ.get("LEVEE_WATCH", ""))

    def send(self, word: str) -> None:
        if self.socket is None:
            return
        try:
            self.socket.send(word.encode(), socket.MSG_DONTWAIT)
        except BlockingIOError:
            pass  # the next step's number says it too
        except OSError:
            self.close()

    def receive(self, wait: bool = False) -> Optional[str]:
        """The last word that came; with `wait`, the next one. None when there is none, or nobody to say one."""
        word = None
        while self.socket is not None:
            try:
                packet = self.socket.recv(64, 0 if wait else socket.MSG_DONTWAIT)
            except BlockingIOError:
                break
            except OSError:
                packet = b""
            if not packet:
                self.close()
                break
            word = packet.decode(errors="replace")
            if wait:
                break
        return word

    def close(self) -> None:
        if self.socket is not None:
            self.socket.close()
        self.socket = None


def _connect(name: str) -> Optional[socket.socket]:
    """From "@name" in the abstract name space, or a path."""
    try:
        if not name:
            return None
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        connection.connect("\0" + name[1:] if name.startswith("@") else name)
        connection.setblocking(True)  # whatever the default timeout is; each call says if it waits
        return connection
    except (OSError, AttributeError):
        return None


_made = threading.Lock()
_connection: Optional[_Connection] = None


def _get() -> _Connection:
    """The connection of this process: after a fork the child gets one of its own, if it asks."""
    global _connection
    with _made:
        if _connection is None or _connection.pid != os.getpid():
            _connection = _Connection()
        return _connection


def watched() -> bool:
    """Does `levee watch` guard this program?"""
    return _get().socket is not None


def step(number: Optional[int] = None) -> Optional[str]:
    """Reports a finished step, or the number of steps finished so far; returns the newest wish, or None.

    "shrink": go on with less memory, as with half the micro-batch and twice the accumulation.
    "grow": memory has been plenty for long enough to take back what a "shrink" gave up. May be ignored.
    "pause": save, give everything back, and call `wait`. Only after `can_pause`.
    "stop": save and end; the program is ended otherwise.
    """
    connection = _get()
    if connection.socket is None:
        return None
    with connection.lock:
        connection.steps = connection.steps + 1 if number is None else int(number)
        connection.send(f"step {connection.steps} {connection.answer}".rstrip())
        wish = connection.receive()
        connection.answer = wish if wish in WISHES else ""
        return connection.answer or None


def refuse() -> None:
    """Says that the last wish cannot be carried out, as a "shrink" when the micro-batch is one example."""
    connection = _get()
    with connection.lock:
        connection.answer = ""
        connection.send("refused")


def can_pause() -> None:
    """Says that this program pauses when asked: it saves, gives its memory back and calls `wait`."""
    connection = _get()
    with connection.lock:
        connection.send("can-pause")


def wait() -> str:
    """After "pause": returns "resume" when there is memory again, or "stop". Without levee watch, "resume" at once."""
    connection = _get()
    with connection.lock:
        connection.answer = ""
        connection.send("paused")
        while True:
            word = connection.receive(wait=True)
            if word is None:
                return "resume"
            if word in ("resume", "stop"):
                return word
