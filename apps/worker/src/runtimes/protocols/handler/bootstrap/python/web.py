# Requests and answers of web endpoints.

# What the content type of a body is where nobody says it, by the kind of its chunks.
_TYPES_OF_STREAMS = {
    _CHUNK_JSON: "application/x-ndjson",
    _CHUNK_TEXT: "text/plain; charset=utf-8",
    _CHUNK_BYTES: "application/octet-stream",
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
