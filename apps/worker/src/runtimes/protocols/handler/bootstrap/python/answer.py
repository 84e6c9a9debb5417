# One call from its frame to its result.

_loop = None
# A frame is being read during a call: nobody else may read meanwhile.
_is_reading = False
# Why the call is being stopped, where that was read already.
_told_reason = None
_current = None
_terminating = False
# Something of an earlier call has gone wrong: this instance takes no more calls.
_is_spoilt = False


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
    except SystemExit as exits:
        _tell_of_exit(meta["id"], exits.code)
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
    _send(kind, {**answer, "fatal": True} if _is_spoilt else answer, body)
    if _is_spoilt:
        os._exit(1)
    if _terminating:
        sys.exit(_EXIT_TERMINATED)


def _flush():
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:  # closed or replaced by the function
            pass
