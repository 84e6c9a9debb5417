# How a call is stopped from outside.

def _on_terminate(_number, _frame):
    global _terminating
    if _current is not None:
        _current._signal._set(_stop_reason())
        if _current._heeds_signal:
            # It is told, and has the grace to finish.
            _terminating = True
            return
    # `finally` blocks and atexit hooks run, within the grace.
    _terminating = True
    sys.exit(_EXIT_TERMINATED)


def _tell_of_exit(number, code):
    """Nobody else can tell an exit code above 128 from an end by a signal."""
    if isinstance(code, int) and code & 0xFF > 128 and not _terminating and not _is_fork:
        _send(_ERROR, {"id": number, "exitCode": code & 0xFF})


def _stop_reason():
    """What the frame says that was sent before the signal. Where nobody is at it, it is read here; credit may stand before it."""
    if _told_reason is not None:
        return _told_reason
    try:
        data = b"" if _is_reading else _channel.recv(_MAX_MESSAGE, _socket.MSG_DONTWAIT)
        while len(data) > 0:
            size, kind, meta_size = struct.unpack_from(">IBI", data)
            meta = json.loads(data[9 : 9 + meta_size])
            if kind == _ABORT:
                return _reason_of(meta)
            data = data[4 + size :]
    except (OSError, struct.error, ValueError):
        pass
    return InterruptedError("The task was stopped.")


def _reason_of(meta):
    name = meta["name"]
    known = TimeoutError if name == "TimeoutError" else type(name, (Exception,), {"__module__": "pilum"})
    return known(meta["message"])
