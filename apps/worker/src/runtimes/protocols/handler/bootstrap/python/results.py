# What a function has returned, as bytes.

def _encode_result(value):
    if isinstance(value, str):
        return "text/plain; charset=utf-8", _utf8_bytes(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return "application/octet-stream", bytes(value)
    return "application/json", _encode_json(value, "The result")


def _encode_json(value, what):
    try:
        try:
            text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        except (TypeError, ValueError):
            # Something in it that JSON does not have.
            text = json.dumps(_plain(value, "", ()), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        message = f"{what} cannot be written as JSON: {error}"
        raise _CallFailure("FUNCTION_FAILED", type(error).__name__, message) from error
    return _utf8_bytes(text)


def _plain(value, path, above):
    """A value in the types that JSON has: what stands for others by custom, else an error with its type and path."""
    if value is None or isinstance(value, (bool, str)):
        return _plain(value.value, path, above) if _is_of(value, "enum", "Enum") else value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        value = float(value)
        return value if value - value == 0 else None
    if any(value is each for each in above):
        raise ValueError(f"Circular reference: {_named(value, path)} contains itself")
    within = (*above, value)
    if isinstance(value, dict):
        return {_key(key, path): _plain(item, f"{path}.{key}", within) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item, f"{path}[{index}]", within) for index, item in enumerate(value)]
    if isinstance(value, (bytes, bytearray, memoryview)):
        raise TypeError(f"{_named(value, path)} has no JSON form; return bytes alone, or as base64")
    text = _text_of(value)
    if text is not None:
        return text
    if _is_of(value, "enum", "Enum"):
        return _plain(value.value, path, within)
    if _is_of(value, "datetime", "timedelta"):
        return value.total_seconds()
    fields = getattr(type(value), "__dataclass_fields__", None) or getattr(type(value), "__attrs_attrs__", None)
    if fields is not None:
        names = fields if isinstance(fields, dict) else [field.name for field in fields]
        return {name: _plain(getattr(value, name), f"{path}.{name}", within) for name in names if hasattr(value, name)}
    if hasattr(value, "tolist") and hasattr(value, "dtype"):
        # Of numpy, and of what is made like it.
        return _plain(value.tolist(), path, within)
    if callable(getattr(value, "model_dump", None)) and not isinstance(value, type):
        return _plain(value.model_dump(), path, within)
    if _is_of(value, "collections.abc", "Mapping"):
        return _plain(dict(value), path, within)
    if _is_of(value, "collections", "deque") or isinstance(value, (range, type({}.keys()), type({}.values()))):
        return _plain(list(value), path, within)
    if _is_of(value, "collections", "UserList"):
        return _plain(list(value), path, within)
    hint = "; make it a list" if isinstance(value, (set, frozenset)) or hasattr(value, "__next__") else ""
    raise TypeError(f"{_named(value, path)} has no JSON form{hint}")


def _text_of(value):
    """What stands as text by custom; exact, which a number would not be for a Decimal."""
    for module, name in (("decimal", "Decimal"), ("uuid", "UUID"), ("pathlib", "PurePath"), ("ipaddress", "_IPAddressBase")):
        if _is_of(value, module, name):
            return str(value)
    for name in ("datetime", "date", "time"):
        if _is_of(value, "datetime", name):
            return value.isoformat()
    return str(value) if _is_of(value, "collections", "UserString") else None


def _key(key, path):
    if isinstance(key, str) and not _is_of(key, "enum", "Enum"):
        return key
    if _is_of(key, "enum", "Enum"):
        return _key(key.value, path)
    if key is None or isinstance(key, (bool, int, float)):
        return json.dumps(key)
    text = _text_of(key)
    if text is None:
        raise TypeError(f"a key of type {type(key).__name__}{_at(path)} has no JSON form; make it a str")
    return text


def _is_of(value, module, name):
    """Whether a value is of a class whose module nobody need import for that: without it there is no such value."""
    known = getattr(sys.modules.get(module), name, None)
    return known is not None and isinstance(value, known)


def _named(value, path):
    return f"a value of type {type(value).__name__}{_at(path)}"


def _at(path):
    return f" (at {path.lstrip('.')[:200]})" if path else ""


def _utf8_bytes(text):
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        # Half a character becomes U+FFFD, as it does in Node.
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode("utf-8")
