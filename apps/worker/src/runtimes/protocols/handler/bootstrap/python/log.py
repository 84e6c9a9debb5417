# What is printed, as LOG frames.

class _Output(io.RawIOBase):
    """What stands behind sys.stdout and sys.stderr."""

    def __init__(self, stream, fd, level):
        self._stream, self._fd, self._level = stream, fd, level

    def writable(self):
        return True

    def fileno(self):
        return self._fd

    def write(self, data):
        size = len(data)
        if _is_fork:
            return os.write(self._fd, data)
        data = bytes(data)
        for at in range(0, size, _MAX_LOG_BYTES):
            _send(_LOG, {"stream": self._stream, "level": self._level}, data[at : at + _MAX_LOG_BYTES])
        return size


def _text_output(stream, fd, level):
    raw = _Output(stream, fd, level)
    if os.environ.get("PYTHONUNBUFFERED"):
        return io.TextIOWrapper(raw, encoding="utf-8", errors="backslashreplace", write_through=True)
    return io.TextIOWrapper(
        io.BufferedWriter(raw, 8192), encoding="utf-8", errors="backslashreplace", line_buffering=True
    )


def _after_fork():
    # A forked child prints to the pipes and never speaks on the channel, which is its parent's.
    global _is_fork, _send_lock
    _is_fork = True
    _send_lock = _thread.RLock()
    _channel.close()
    # Whoever stops a child of the function means the child.
    try:
        _signal.signal(_SIGTERM, _signal.SIG_DFL)
    except ValueError:  # not in the main thread
        pass
