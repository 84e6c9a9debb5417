"""Runs inside the sandbox: loads one handler and answers calls over fd 3. The frames are those of ../../frames.ts.

Imports as little as it can, because every import is paid for at each cold start: `_socket` and `_thread` are what
`socket` and `threading` are made of, and cost milliseconds less.

The files of this directory are one module: ../../bootstraps.ts joins them, this one first.
"""

import _signal
import _socket
import _thread
import io
import json
import os
import struct
import sys
import time

_CHANNEL = 3
# <generated>
# From frames.ts and wire-limits.ts, by `npm run docs`; change it there.
_LOAD = 1
_CALL = 2
_READY = 3
_RESULT = 4
_ERROR = 5
_LOG = 6
_ABORT = 7
_PING = 8
_PONG = 9
_PREPARE = 10
_CHUNK = 11
_CREDIT = 12
_PROGRESS = 13
_HEAD = 14
_CHUNK_JSON = 1
_CHUNK_TEXT = 2
_CHUNK_BYTES = 3
_MAX_MESSAGE = 8192
_MAX_STACK = 16384
_MAX_CAUSES = 16
_MAX_CAUSE_MESSAGE = 2048
_MAX_LOG_BYTES = 65536
_MAX_PROGRESS = 16384
_MAX_CHUNK = 1048576
_CHUNK_PIECE = 262144
_CHUNK_WINDOW = 262144
_MAX_HEADERS = 256
_MAX_HEADER_BYTES = 32768
# </generated>
# What stands before a chunk: its length and kind.
_CHUNK_HEADER = struct.Struct(">IB")
# Of a web endpoint's answer. The worker looks at a head again, and ends whoever sends one that is none.
_TOKEN = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz")
_LEVELS = ("debug", "info", "warn", "error")

_SIGTERM = 15
_EXIT_TERMINATED = 128 + _SIGTERM


def _connect(path):
    """In a container the channel is not inherited: the worker listens at a path that it has mounted there."""
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    connection.connect(path)
    descriptor = connection.detach()
    if descriptor != _CHANNEL:
        os.dup2(descriptor, _CHANNEL)
        os.close(descriptor)


if "PILUM_CHANNEL" in os.environ:
    _connect(os.environ["PILUM_CHANNEL"])
_channel = _socket.socket(fileno=_CHANNEL)
_channel.setblocking(True)
# Not for children of the function.
os.set_inheritable(_CHANNEL, False)
_send_lock = _thread.RLock()
_is_fork = False


def _send(kind, meta, payload=b""):
    text = json.dumps(meta).encode()
    head = struct.pack(">IBI", 5 + len(text) + len(payload), kind, len(text))
    with _send_lock:
        try:
            if len(payload) <= _MAX_LOG_BYTES:
                _channel.sendall(head + text + payload)
            else:
                _channel.sendall(head + text)
                _channel.sendall(payload)
        except OSError:
            os._exit(1)


def _receive(size):
    data = bytearray(size)
    view = memoryview(data)
    while size > 0:
        count = _channel.recv_into(view[-size:], size)
        if count == 0:
            # The worker is gone, and so is the reason to be here.
            os._exit(0)
        size -= count
    return data
