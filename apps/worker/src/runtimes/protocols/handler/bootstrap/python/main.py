# Frames from the worker.

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
            os.register_at_fork(after_in_child=_after_fork)
            _watch_threads()
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
