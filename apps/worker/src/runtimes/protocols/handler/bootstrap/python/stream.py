# What a function yields, as CHUNK frames and no faster than they are taken.

def _is_iterator(value):
    return hasattr(value, "__aiter__") or (hasattr(value, "__next__") and hasattr(value, "__iter__"))


def _encode_chunk(value):
    if isinstance(value, str):
        return _CHUNK_TEXT, _utf8_bytes(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return _CHUNK_BYTES, bytes(value)
    return _CHUNK_JSON, _encode_json(value, "What was yielded")


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
        if kind == _CHUNK_JSON and len(body) > _MAX_CHUNK:
            message = (
                f"What was yielded has {len(body)} bytes as JSON, and may have {_MAX_CHUNK}; text and bytes may be longer."
            )
            raise _CallFailure("OUTPUT_TOO_LARGE", "Output", message)
        at = 0
        while True:
            end = len(body) if kind == _CHUNK_JSON else min(len(body), at + _CHUNK_PIECE)
            # Not in the middle of a character.
            while kind == _CHUNK_TEXT and end < len(body) and body[end] & 0xC0 == 0x80:
                end -= 1
            _wait_for_room(context)
            packed = _CHUNK_HEADER.pack(end - at, kind) + body[at:end]
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
    if kinds == {_CHUNK_TEXT}:
        return "text/plain; charset=utf-8", b"".join(body for _, body in parts)
    if kinds == {_CHUNK_BYTES}:
        return "application/octet-stream", b"".join(body for _, body in parts)
    return "application/json", b"[" + b",".join(_as_json(kind, body) for kind, body in parts) + b"]"


def _gather_body(iterator, limits):
    """The same as it would be streamed: one after the other, JSON as lines."""
    parts = _collect(iterator, limits)
    kind = parts[0][0] if parts else _CHUNK_BYTES
    return _TYPES_OF_STREAMS[kind], b"".join(body + b"\n" if kind == _CHUNK_JSON else body for kind, body in parts)


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
    if kind == _CHUNK_JSON:
        return body
    if kind == _CHUNK_TEXT:
        return json.dumps(body.decode("utf-8"), ensure_ascii=False).encode("utf-8")
    import base64

    return json.dumps({"base64": base64.b64encode(body).decode()}).encode()
