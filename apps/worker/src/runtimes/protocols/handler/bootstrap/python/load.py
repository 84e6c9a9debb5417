# The code: where it is found, what of it is called.

class _LoadFailure(Exception):
    pass


def _load(meta):
    os.environ.clear()
    os.environ.update(meta["env"])
    sys.stdout = sys.__stdout__ = _text_output("stdout", 1, "info")
    sys.stderr = sys.__stderr__ = _text_output("stderr", 2, "error")
    if hasattr(time, "tzset"):
        time.tzset()
    directory = meta["codeDirectory"]
    os.chdir(directory)
    if not sys.flags.isolated and sys.path[:1] == [os.path.dirname(__file__)]:
        # Where this file lies is not the function's business.
        del sys.path[0]
    sys.path[:0] = [directory, *_module_directories(meta["layers"])]
    file, _, name = meta["entry"].partition("#")
    name = name or "handler"
    path = os.path.join(directory, file)
    # Not the entry's path: a module that finds itself there takes itself for the program.
    sys.argv = [__file__]
    # This file is nobody's main module: `multiprocessing` would run it again in every child that it spawns.
    sys.modules["__main__"] = type(sys)("__main__")
    if not os.path.isfile(path):
        there = ", ".join(sorted(os.listdir(directory))[:20])
        raise _LoadFailure(f"The code has no file {file}; it has: {there}")
    module = _import_file(file, path)
    handler = getattr(module, name, None)
    if not callable(handler):
        names = ", ".join([n for n in vars(module) if not n.startswith("_")][:50]) or "nothing"
        raise _LoadFailure(f"{file} does not define a function {name}; it defines: {names}")
    foreign = _taken_for(handler)
    if foreign is not None:
        raise _LoadFailure(f"{file} defines as {name} {foreign}")
    return handler


_AS_SERVER = "Deploy it with protocol http and a command that serves it on the port in the environment's PORT"


def _taken_for(handler):
    """What a callable is for that is no handler of (event, context), and what to do with it; None where it may be one."""
    if isinstance(handler, type):
        return None
    kind = type(handler).__module__.partition(".")[0]
    if kind in ("flask", "fastapi", "starlette", "django", "bottle", "falcon", "quart", "aiohttp", "sanic", "litestar"):
        return f"an application of {kind}, and not a function of (event, context). {_AS_SERVER}."
    code = getattr(getattr(handler, "__func__", handler), "__code__", None)
    bound = hasattr(handler, "__self__")
    if code is None:
        call = type(handler).__call__
        code, bound, handler = getattr(call, "__code__", None), True, call
    if code is None or hasattr(handler, "__wrapped__"):
        return None
    names = code.co_varnames[bound : code.co_argcount]
    if names[:2] == ("environ", "start_response"):
        return f"a WSGI application, and not a function of (event, context). {_AS_SERVER}, with gunicorn for one."
    if names[:3] == ("scope", "receive", "send"):
        return f"an ASGI application, and not a function of (event, context). {_AS_SERVER}, with uvicorn for one."
    takes = ", ".join(names)
    has_more = code.co_flags & 0x04 != 0
    required = len(names) - len(getattr(handler, "__defaults__", None) or ())
    given = getattr(handler, "__kwdefaults__", None) or {}
    keywords = [name for name in code.co_varnames[code.co_argcount :][: code.co_kwonlyargcount] if name not in given]
    if not has_more and len(names) == 1 and names[0] in ("req", "request"):
        return (
            f"what looks like a function of OpenFaaS or Google Cloud, which takes ({takes}); here a function takes "
            f"(event, context) and returns its answer: write def handler(event, context), and find a request in event."
        )
    if (not has_more and len(names) < 2) or required > 2 or keywords:
        more = f", and by name {', '.join(keywords)}" if keywords else ""
        return f"a function that takes ({takes}){more}; a handler is called with two values: write def handler(event, context)."
    return None


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
