"""Runs inside the sandbox: loads one handler and answers calls over fd 3. The frames are those of ../frames.ts.

Imports as little as it can, because every import is paid for at each cold start: `_socket` and `_thread` are what
`socket` and `threading` are made of, and cost milliseconds less.
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
_LOAD, _CALL, _READY, _RESULT, _ERROR, _LOG, _ABORT, _PING, _PONG, _PREPARE = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10
_CHUNK, _CREDIT, _PROGRESS, _HEAD = 11, 12, 13, 14
_MAX_MESSAGE = 8 * 1024
_MAX_STACK = 16 * 1024
_MAX_LOG_BYTES = 64 * 1024
_MAX_PROGRESS = 16 * 1024
# Of a streamed call: what a chunk is, and how much of it may be on its way.
_JSON_CHUNK, _TEXT_CHUNK, _BYTES_CHUNK = 1, 2, 3
_MAX_CHUNK = 1024 * 1024
# Longer text and bytes go in pieces of this.
_CHUNK_PIECE = 256 * 1024
_CHUNK_WINDOW = 256 * 1024
# What stands before a chunk: its length and kind.
_CHUNK_HEAD = struct.Struct(">IB")
# Of a web endpoint's answer. The worker looks at a head again, and ends whoever sends one that is none.
_TOKEN = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz")
_MAX_HEADERS = 256
_MAX_HEADER_BYTES = 32 * 1024
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
    raw = io.BufferedWriter(_Output(stream, fd, level), 8192)
    return io.TextIOWrapper(raw, encoding="utf-8", errors="backslashreplace", line_buffering=True)


def _after_fork():
    # A forked child prints to the pipes and never speaks on the channel, which is its parent's.
    global _is_fork, _send_lock
    _is_fork = True
    _send_lock = _thread.RLock()
    _channel.close()


def _cut(text, limit):
    return text if len(text) <= limit else text[:limit] + "… [cut]"


def _utf8(text):
    return text.encode("utf-8", "replace").decode("utf-8")


def _describe(error, code="FUNCTION_FAILED", skip=1):
    import traceback

    trace = error.__traceback__
    for _ in range(skip):
        if trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
    # How it was called is not the function's business.
    while trace is not None and trace.tb_next is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    try:
        stack = "".join(traceback.format_exception(type(error), error, trace))
        message = str(error)
    except Exception:  # a __str__ that throws
        stack, message = "", "the thrown value could not be read"
    if isinstance(error, MemoryError):
        code = "OUT_OF_MEMORY"
    return {
        "code": code,
        "type": _cut(type(error).__name__, 256),
        "message": _utf8(_cut(message, _MAX_MESSAGE)),
        "stack": _utf8(_cut(stack, _MAX_STACK)),
    }


class _CallFailure(Exception):
    def __init__(self, code, kind, message):
        super().__init__(message)
        self.fields = {"code": code, "type": kind, "message": message, "stack": ""}


# ---- Load


class _LoadFailure(Exception):
    pass


def _load(meta):
    os.environ.clear()
    os.environ.update(meta["env"])
    if hasattr(time, "tzset"):
        time.tzset()
    directory = meta["codeDirectory"]
    os.chdir(directory)
    # The first entry is where this file lies: not the function's business.
    sys.path[:0] = [directory, *_module_directories(meta["layers"])]
    file, _, name = meta["entry"].partition("#")
    name = name or "handler"
    path = os.path.join(directory, file)
    sys.argv = [path]
    if not os.path.isfile(path):
        there = ", ".join(sorted(os.listdir(directory))[:20])
        raise _LoadFailure(f"The code has no file {file}; it has: {there}")
    module = _import_file(file, path)
    handler = getattr(module, name, None)
    if not callable(handler):
        names = ", ".join([n for n in vars(module) if not n.startswith("_")][:50]) or "nothing"
        raise _LoadFailure(f"{file} does not define a function {name}; it defines: {names}")
    return handler


def _module_directories(layers):
    """Where layers have modules: at their top, and in `python`, as archives for other platforms have them."""
    places = [place for layer in layers for place in (layer, os.path.join(layer, "python"))]
    return [place for place in places if os.path.isdir(place)]


def _import_file(file, path):
    name, extension = os.path.splitext(file)
    name = name.replace("/", ".")
    top = name.partition(".")[0]
    taken = name in sys.modules or top in sys.modules or top in getattr(sys, "stdlib_module_names", ())
    if extension == ".py" and not taken and all(part.isidentifier() for part in name.split(".")):
        __import__(name)
        return sys.modules[name]

    from importlib.util import module_from_spec, spec_from_file_location

    if taken:
        # A file of the function's may bear the name of a module of the library that is loaded already.
        name = "function_" + name
    spec = spec_from_file_location(name, path)
    if spec is None:
        raise _LoadFailure(f"{file} is not a Python file")
    module = module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


# ---- Call


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


def _without_nan(value):
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(item) for item in value]
    return value


def _encode_result(value):
    if isinstance(value, str):
        return "text/plain; charset=utf-8", value.encode("utf-8", "replace")
    if isinstance(value, (bytes, bytearray, memoryview)):
        return "application/octet-stream", bytes(value)
    return "application/json", _encode_json(value, "The result")


def _encode_json(value, what):
    try:
        try:
            text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        except ValueError as error:
            if "Circular" in str(error):
                raise
            text = json.dumps(_without_nan(value), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        message = f"{what} cannot be written as JSON: {error}"
        raise _CallFailure("FUNCTION_FAILED", type(error).__name__, message) from error
    return _utf8_bytes(text)


def _utf8_bytes(text):
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace")


# ---- Streams


def _is_iterator(value):
    return hasattr(value, "__aiter__") or (hasattr(value, "__next__") and hasattr(value, "__iter__"))


def _encode_chunk(value):
    if isinstance(value, str):
        return _TEXT_CHUNK, _utf8_bytes(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return _BYTES_CHUNK, bytes(value)
    return _JSON_CHUNK, _encode_json(value, "What was yielded")


def _each(iterator, take):
    """Hands over what is yielded, one after the other; returns what a generator returns in the end."""
    if hasattr(iterator, "__aiter__"):

        async def walk():
            async for value in iterator:
                take(value)

        _event_loop().run_until_complete(walk())
        return None
    while True:
        try:
            value = next(iterator)
        except StopIteration as end:
            return end.value
        take(value)


def _stream(context, iterator, begin=None):
    """Passes on what is yielded as it comes, as fast as it is taken; `begin` is told before the first of what kind it is."""

    def take(value):
        nonlocal begin
        kind, body = _encode_chunk(value)
        if begin is not None:
            begin(kind)
            begin = None
        if kind == _JSON_CHUNK and len(body) > _MAX_CHUNK:
            message = (
                f"What was yielded has {len(body)} bytes as JSON, and may have {_MAX_CHUNK}; text and bytes may be longer."
            )
            raise _CallFailure("OUTPUT_TOO_LARGE", "Output", message)
        at = 0
        while True:
            end = len(body) if kind == _JSON_CHUNK else min(len(body), at + _CHUNK_PIECE)
            # Not in the middle of a character.
            while kind == _TEXT_CHUNK and end < len(body) and body[end] & 0xC0 == 0x80:
                end -= 1
            _wait_for_room(context)
            packed = _CHUNK_HEAD.pack(end - at, kind) + body[at:end]
            context._on_the_way += len(packed)
            _send(_CHUNK, {"id": context._id}, packed)
            at = end
            if at >= len(body):
                return

    try:
        return _each(iterator, take)
    finally:
        # Its own `finally` blocks run now, and not when it is collected.
        if hasattr(iterator, "close"):
            iterator.close()


def _wait_for_room(context):
    """Blocks for as long as so much is on its way that nobody has taken."""
    while context._on_the_way >= _CHUNK_WINDOW:
        _on_frame_in_call(context, *_frame_in_call())


def _frame_in_call():
    global _is_reading
    _is_reading = True
    try:
        return _next_frame()[:2]
    finally:
        _is_reading = False


def _on_frame_in_call(context, kind, meta):
    global _told_reason
    if kind == _CREDIT and meta["id"] == context._id:
        context._on_the_way -= meta["bytes"]
    elif kind == _ABORT:
        # SIGTERM follows.
        _told_reason = _reason_of(meta)


def _gather(iterator, limits):
    """The whole of what is yielded, for a caller who wants it at once: text, bytes, or a JSON array."""
    parts = _collect(iterator, limits)
    kinds = {kind for kind, _ in parts}
    if kinds == {_TEXT_CHUNK}:
        return "text/plain; charset=utf-8", b"".join(body for _, body in parts)
    if kinds == {_BYTES_CHUNK}:
        return "application/octet-stream", b"".join(body for _, body in parts)
    return "application/json", b"[" + b",".join(_as_json(kind, body) for kind, body in parts) + b"]"


def _gather_body(iterator, limits):
    """The same as it would be streamed: one after the other, JSON as lines."""
    parts = _collect(iterator, limits)
    kind = parts[0][0] if parts else _BYTES_CHUNK
    return _TYPES_OF_STREAMS[kind], b"".join(body + b"\n" if kind == _JSON_CHUNK else body for kind, body in parts)


def _collect(iterator, limits):
    """What is yielded, each with its kind."""
    parts = []
    size = 0

    def take(value):
        nonlocal size
        part = _encode_chunk(value)
        size += len(part[1])
        if size > limits["outputBytes"]:
            message = f"What was yielded has more than {limits['outputBytes']} bytes."
            raise _CallFailure("OUTPUT_TOO_LARGE", "Output", message)
        parts.append(part)

    try:
        _each(iterator, take)
    finally:
        if hasattr(iterator, "close"):
            iterator.close()
    return parts


def _as_json(kind, body):
    if kind == _JSON_CHUNK:
        return body
    if kind == _TEXT_CHUNK:
        return json.dumps(body.decode("utf-8"), ensure_ascii=False).encode("utf-8")
    import base64

    return json.dumps({"base64": base64.b64encode(body).decode()}).encode()


# ---- Web endpoints

# What the content type of a body is where nobody says it, by the kind of its chunks.
_TYPES_OF_STREAMS = {
    _JSON_CHUNK: "application/x-ndjson",
    _TEXT_CHUNK: "text/plain; charset=utf-8",
    _BYTES_CHUNK: "application/octet-stream",
}


def _request_event(meta, payload):
    """A request as the event of a handler."""
    headers = meta["headers"]
    path, _, text = meta["http"]["url"].partition("?")
    content_type = headers.get("content-type", "application/octet-stream")
    if headers.get("content-encoding", "identity") != "identity":
        content_type = "application/octet-stream"
    return {
        "method": meta["http"]["method"],
        "path": path,
        "query": _query(text),
        "headers": headers,
        "body": _parse_event(content_type, payload) if payload else None,
    }


def _query(text):
    """Names with their values: one as text, several as a list."""
    if not text:
        return {}
    from urllib.parse import parse_qs

    return {name: values[0] if len(values) == 1 else values for name, values in parse_qs(text, True).items()}


def _no_answer(why):
    return _CallFailure("FUNCTION_FAILED", "TypeError", "This is no answer: " + why + ".")


def _read_answer(value):
    """What a function has returned as an answer: `{"statusCode", "headers", "body"}`, or the body alone."""
    if not isinstance(value, dict) or "statusCode" not in value:
        return {"status": 200, "headers": []}, value, False
    head = _head(value["statusCode"], _pairs(value))
    body = value.get("body")
    if body is None:
        body = b""
    elif value.get("isBase64Encoded") is True:
        import base64

        if not isinstance(body, str):
            raise _no_answer("isBase64Encoded is true, and body is no text")
        body = base64.b64decode(body)
    has_type = any(name == "content-type" for name, _ in head["headers"])
    return head, body, has_type or value.get("body") is None


def _pairs(answer):
    """Headers of an answer as Lambda's proxies take them, a list as several of one name."""
    fields = {}
    for field in ("headers", "multiValueHeaders"):
        fields[field] = answer.get(field) or {}
        if not isinstance(fields[field], dict):
            raise _no_answer(field + " is a dict of names and values")
    several = {str(name).lower() for name in fields["multiValueHeaders"]}
    single = [(name, given) for name, given in fields["headers"].items() if str(name).lower() not in several]
    pairs = []
    for name, given in [*single, *fields["multiValueHeaders"].items()]:
        pairs.extend((str(name), str(each)) for each in (given if isinstance(given, (list, tuple)) else [given]))
    cookies = answer.get("cookies") or []
    if not isinstance(cookies, (list, tuple)):
        raise _no_answer("cookies is a list of text, each what a Set-Cookie says")
    return pairs + [("set-cookie", str(cookie)) for cookie in cookies]


def _head(status, pairs):
    if not isinstance(status, int) or not 200 <= status <= 599:
        raise _no_answer(f"a status is a whole number from 200 to 599, and not {status!r}")
    headers = []
    size = 0
    for given, value in pairs:
        name = given.lower()
        if not name or not _TOKEN.issuperset(name):
            raise _no_answer(f"{_cut(given, 100)!r} is no name of a header")
        if any((c < " " and c != "\t") or c == "\x7f" or c > "\xff" for c in value):
            raise _no_answer(f"the header {name} has characters that no header may have")
        if name == "content-length":
            # The size is that of what comes, whatever it says.
            continue
        size += len(name) + len(value)
        headers.append([name, value])
    if len(headers) > _MAX_HEADERS or size > _MAX_HEADER_BYTES:
        raise _no_answer(f"it may have {_MAX_HEADERS} headers with {_MAX_HEADER_BYTES} bytes")
    return {"status": status, "headers": headers}


def _answer(context, meta, value, limits):
    """What becomes of an answer: the fields of a RESULT frame, and the body."""
    head, value, has_type = _read_answer(value)

    def with_type(content_type):
        return head if has_type else {**head, "headers": [*head["headers"], ["content-type", content_type]]}

    if _is_iterator(value) and meta.get("stream"):
        begun = has_type

        def begin(kind):
            nonlocal begun
            begun = True
            _send(_HEAD, {"id": meta["id"], "head": with_type(_TYPES_OF_STREAMS[kind])})

        if has_type:
            _send(_HEAD, {"id": meta["id"], "head": head})
        _stream(context, value, None if has_type else begin)
        if not begun:
            _send(_HEAD, {"id": meta["id"], "head": head})
        return {"contentType": "application/json", "streamed": True}, b"null"
    content_type, body = _gather_body(value, limits) if _is_iterator(value) else _encode_result(value)
    said = next((text for name, text in head["headers"] if name == "content-type"), content_type)
    return {"contentType": said, "head": with_type(content_type)}, body


_loop = None
# A frame is being read during a call: nobody else may read meanwhile.
_is_reading = False
# Why the call is being stopped, where that was read already.
_told_reason = None
_current = None
_terminating = False


def _event_loop():
    global _loop
    import asyncio

    if _loop is None:
        # One loop for the life of the instance: clients that a handler keeps are bound to it.
        _loop = asyncio.new_event_loop()
        asyncio.set_event_loop(_loop)
    return _loop


def _invoke(handler, event, context):
    value = handler(event, context)
    if not hasattr(value, "__await__"):
        return value

    async def wait():
        return await value

    return _event_loop().run_until_complete(wait())


def _result(context, meta, value, limits):
    """What becomes of what a function has returned to an invoke: the fields of a RESULT frame, and the body."""
    if not _is_iterator(value):
        content_type, body = _encode_result(value)
    elif meta.get("stream"):
        content_type, body = _encode_result(_stream(context, value))
        return {"contentType": content_type, "streamed": True}, body
    else:
        content_type, body = _gather(value, limits)
    return {"contentType": content_type}, body


def _run(handler, meta, payload, limits):
    global _current, _told_reason
    context = Context(meta)
    _current, _told_reason = context, None
    try:
        if "http" in meta:
            about, body = _answer(context, meta, _invoke(handler, _request_event(meta, payload), context), limits)
        else:
            about, body = _result(context, meta, _invoke(handler, _parse_event(meta["contentType"], payload), context), limits)
        if len(body) > limits["outputBytes"]:
            raise _CallFailure("OUTPUT_TOO_LARGE", "Output", f"The result has {len(body)} bytes.")
        kind, answer = _RESULT, {"id": meta["id"], **about}
    except _CallFailure as failure:
        kind, answer, body = _ERROR, {"id": meta["id"], **failure.fields}, b""
    except SystemExit:
        raise
    except BaseException as error:
        if _is_fork:
            raise
        kind, answer, body = _ERROR, {"id": meta["id"], **_describe(error, skip=2)}, b""
    _flush()
    if _is_fork:
        # A forked child that came back from the handler: the answer is its parent's to give.
        os._exit(0)
    _current = None
    _send(kind, answer, body)
    if _terminating:
        sys.exit(_EXIT_TERMINATED)


def _flush():
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:  # closed or replaced by the function
            pass


def _on_terminate(_number, _frame):
    global _terminating
    if _current is not None:
        _current._signal._set(_stop_reason())
        if _current._heeds_signal:
            # It is told, and has the grace to finish.
            _terminating = True
            return
    # `finally` blocks and atexit hooks run, within the grace.
    sys.exit(_EXIT_TERMINATED)


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


def _next_frame():
    (size,) = struct.unpack(">I", _receive(4))
    data = _receive(size)
    kind, meta_size = struct.unpack_from(">BI", data)
    end = 5 + meta_size
    return kind, json.loads(data[5:end]), bytes(memoryview(data)[end:])


def _main():
    handler, limits = None, {}
    while True:
        kind, meta, payload = _next_frame()
        if kind == _CALL:
            _run(handler, meta, payload, limits)
        elif kind in (_PING, _PREPARE):
            # Nothing is imported ahead: it would hide a module of the function's own that has the same name.
            _send(_PONG, {})
        elif kind == _LOAD:
            limits = meta["limits"]
            sys.stdout = sys.__stdout__ = _text_output("stdout", 1, "info")
            sys.stderr = sys.__stderr__ = _text_output("stderr", 2, "error")
            os.register_at_fork(after_in_child=_after_fork)
            _signal.signal(_SIGTERM, _on_terminate)
            try:
                handler = _load(meta)
            except _LoadFailure as error:
                fields = {"code": "INSTANCE_START_FAILED", "type": "Entry", "message": str(error), "stack": ""}
                _send(_ERROR, {"id": 0, **fields})
                os._exit(1)
            except Exception as error:
                fields = _describe(error, "INSTANCE_START_FAILED", skip=2)
                sys.stderr.write(fields["stack"])
                _flush()
                _send(_ERROR, {"id": 0, **fields})
                os._exit(1)
            _flush()
            _send(_READY, {"interpreter": "python " + sys.version.split()[0]})


_main()
