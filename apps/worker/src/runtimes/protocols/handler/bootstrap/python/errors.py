# Anything raised, as the fields of an ERROR frame.

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
    fields = {
        "code": code,
        "type": _cut(type(error).__name__, 256),
        "message": _utf8(_cut(message, _MAX_MESSAGE)),
        "stack": _utf8(_cut(stack, _MAX_STACK)),
    }
    causes = _causes(error)
    if causes:
        fields["causes"] = causes
    return fields


def _causes(error):
    """The errors behind an error, to the end of each chain: what it was raised from, and those that it groups."""
    found, seen, left = [], {id(error)}, 0
    waiting = [error]
    while waiting and len(seen) < 1000:
        value = waiting.pop()
        if value is not error:
            # The last one is where it began: that one is kept, and what is left out are those before it.
            if len(found) >= _MAX_CAUSES:
                found.pop()
                left += 1
            found.append(value)
        inner = [value.__cause__ or (None if value.__suppress_context__ else value.__context__)]
        grouped = getattr(value, "exceptions", None)
        if isinstance(grouped, (tuple, list)):
            inner.extend(grouped[:1000])
        for each in reversed(inner):
            if isinstance(each, BaseException) and id(each) not in seen:
                seen.add(id(each))
                waiting.append(each)
    causes = [_cause(each) for each in found]
    if left:
        causes.insert(-1, {"type": "More", "message": f"{left} more are left out"})
    return causes


def _cause(error):
    try:
        message = str(error)
    except Exception:  # a __str__ that throws
        message = "it could not be read"
    cause = {"type": _cut(type(error).__name__, 256), "message": _utf8(_cut(message, _MAX_CAUSE_MESSAGE))}
    number = getattr(error, "errno", None)
    if isinstance(error, OSError) and isinstance(number, int):
        import errno

        cause["code"] = errno.errorcode.get(number, str(number))
    return cause


class _CallFailure(Exception):
    def __init__(self, code, kind, message):
        super().__init__(message)
        self.fields = {"code": code, "type": kind, "message": message, "stack": ""}
