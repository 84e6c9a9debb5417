# Errors that nothing catches.

def _watch_threads():
    """Hears of each error that ends a thread, whatever the function makes of `threading.excepthook`.

    `threading` takes these from `_thread` when it is imported, which it need not be for this.
    """
    if not hasattr(_thread, "_ExceptHookArgs"):
        return
    make_arguments, print_error = _thread._ExceptHookArgs, _thread._excepthook

    def arguments_of(given):
        global _is_spoilt
        arguments = make_arguments(given)
        if _is_fork or arguments.exc_type is SystemExit:
            return arguments
        if _current is not None and arguments.thread.ident in _current._threads_before:
            # The call that runs has no part in it: it goes on, and the instance goes after it.
            _is_spoilt = True
            sys.stderr.write(f"uncaught, of a thread that task {_current.task_id} has not started:\n")
            return arguments
        hook = getattr(sys.modules.get("threading"), "excepthook", None) or print_error
        try:
            hook(arguments)
        finally:
            _on_uncaught(arguments.exc_value)
        return arguments

    _thread._ExceptHookArgs = arguments_of
    known = sys.modules.get("threading")
    if known is not None:
        known.ExceptHookArgs = arguments_of


def _on_uncaught(error):
    _flush()
    if _current is not None:
        _send(_ERROR, {"id": _current._id, **_describe(error, skip=0), "fatal": True})
    else:
        _send(_ERROR, {"id": None, "lost": True})
    os._exit(1)


def _threads():
    """The threads that live now; none where the function has never used any."""
    return frozenset(getattr(sys.modules.get("threading"), "_active", ()))
