# What a function is called with.

class _Signal:
    """Tells a function that its task is being stopped, as a threading.Event would; `reason` is an exception that says why.

    A lock that is held until then, because an Event must not be set by a signal handler: whoever waits for it in the
    same thread may hold the Event's own lock.
    """

    def __init__(self):
        self.reason = None
        self._latch = _thread.allocate_lock()
        self._latch.acquire()

    def is_set(self):
        return self.reason is not None

    @property
    def aborted(self):
        return self.is_set()

    def wait(self, timeout=None):
        """Waits until the task is being stopped, or for `timeout` seconds; says whether it is."""
        limit = -1 if timeout is None else min(max(timeout, 0), _thread.TIMEOUT_MAX)
        if self.reason is None and self._latch.acquire(True, limit):
            self._latch.release()
        return self.is_set()

    def _set(self, reason):
        if self.reason is None:
            self.reason = reason
            self._latch.release()


class Context:
    def __init__(self, meta):
        self._id = meta["id"]
        self.task_id = meta["taskId"]
        self.artifact_id = meta["artifactId"]
        self.version = meta["version"]
        self.namespace = meta["namespace"]
        self.attempt = meta["attempt"]
        self.deadline = meta["deadlineMs"]
        self.headers = meta["headers"]
        self.traceparent = meta["traceparent"]
        self._signal = _Signal()
        self._heeds_signal = False
        self._on_the_way = 0
        self._threads_before = _threads()

    @property
    def signal(self):
        self._heeds_signal = True
        return self._signal

    def remaining_ms(self):
        return max(0, self.deadline - int(time.time() * 1000))

    def log(self, level, message, fields=None):
        text = _utf8(_cut(str(message), _MAX_LOG_BYTES // 4))
        meta = {"id": self._id, "level": str(level), "text": text}
        if fields is not None:
            try:
                encoded = json.dumps(fields, default=str)
                meta["fields"] = {"cut": "too large"} if len(encoded) > _MAX_LOG_BYTES // 2 else json.loads(encoded)
            except Exception:
                meta["fields"] = {"cut": "not JSON"}
        if not _is_fork:
            _send(_LOG, meta)

    def progress(self, value):
        data = _encode_json(value, "Progress")
        if len(data) > _MAX_PROGRESS:
            raise ValueError(f"Progress may have {_MAX_PROGRESS} bytes as JSON.")
        if not _is_fork:
            _send(_PROGRESS, {"id": self._id}, data)


def _parse_event(content_type, payload):
    kind, *parameters = [part.strip() for part in content_type.lower().split(";")]
    if (
        kind.startswith("text/")
        or kind in ("application/x-www-form-urlencoded", "application/xml")
        or kind.endswith("+xml")
    ):
        charset = next((p[8:].strip('"') for p in parameters if p.startswith("charset=")), "utf-8")
        return payload.decode(charset, "replace")
    if len(payload) == 0:
        return {}
    if kind == "application/json" or kind.endswith("+json"):
        try:
            return json.loads(payload.decode("utf-8"), parse_constant=_no_constant)
        except UnicodeDecodeError as error:
            message = "The payload is not UTF-8, as JSON must be."
            raise _CallFailure("VALIDATION_FAILED", "SyntaxError", message) from error
        except (ValueError, RecursionError) as error:
            at = getattr(error, "pos", None)
            where = "" if at is None else f" at position {at}"
            message = f"The payload is not valid JSON: {getattr(error, 'msg', error)}{where}"
            raise _CallFailure("VALIDATION_FAILED", "SyntaxError", message) from error
    return payload


def _no_constant(name):
    raise ValueError(f"{name} is not JSON")
