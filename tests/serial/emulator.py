"""A worker process that knows nothing but `lineshaft._serial.worker`, and the parent's end of it.

Stands for the engine in these tests: it sends each definition once, before the first task that needs
it, and passes buffers beside the data. Scripts under test import it as a module.
"""

import pickle
import subprocess
import sys

from lineshaft._serial.main_module import describe_main
from lineshaft._serial.parent import Encoder, load_exception, load_result

CHILD = """
import sys, pickle
requests, replies = sys.stdin.buffer, sys.stdout.buffer
sys.stdout = sys.stderr
from lineshaft._serial import worker
from lineshaft._serial.main_module import prepare_main
while True:
    try:
        kind, content = pickle.load(requests)
    except EOFError:
        break
    buffers = []
    try:
        if kind == "main":
            prepare_main(**content)
            reply = ("done", b"")
        elif kind == "define":
            worker.load_definition(*content)
            reply = ("done", b"")
        elif kind == "forget":
            worker.forget(content)
            reply = ("done", b"")
        else:
            code, data, sent, inputs = content
            function = worker.code(code)
            args, kwargs = worker.loads(data, sent, inputs)
            if function is None:
                function, *args = args
            result = function(*args, **kwargs)
            reply = ("result", worker.dumps_result(result, buffers.append))
    except BaseException as error:
        reply = ("error", worker.dumps_exception(error))
    pickle.dump((*reply, [bytes(buffer) for buffer in buffers]), replies)
    replies.flush()
"""


class Worker:
    """One worker process; `call` runs a function there and waits for its result."""

    def __init__(self, encoder=None, prepare=True):
        self.encoder = Encoder() if encoder is None else encoder
        self.loaded = set()
        self.sent = []
        self._process = subprocess.Popen([sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        if prepare:
            self._ask("main", describe_main())

    def call(self, fn, *args, inputs=(), **kwargs):
        return self.run(*self.encode(fn, *args, **kwargs), inputs=inputs)

    def encode(self, fn, *args, **kwargs):
        """What the engine would keep of a submitted task."""
        buffers = []
        code = self.encoder.code(fn)
        args = args if code.has_function else (fn, *args)
        encoded = self.encoder.dumps((args, kwargs), buffers.append, call=fn)
        return code, encoded, buffers

    def run(self, code, encoded, buffers=(), inputs=()):
        for definition in (*code.needs, code, *encoded.definitions):
            self.define(definition)
        kind, data, buffers = self._ask("run", (code.id, encoded.data, [bytes(b) for b in buffers], inputs))
        if kind == "error":
            raise load_exception(data)
        return load_result(data, buffers)

    def define(self, definition):
        if definition.id in self.loaded:
            return
        assert all(need.id in self.loaded for need in definition.needs), "wrong order"
        self.loaded.add(definition.id)
        self.sent.append(definition.name)
        kind, data, _ = self._ask("define", (definition.id, definition.data, [bytes(b) for b in definition.buffers]))
        if kind == "error":
            raise load_exception(data)

    def forget(self, ids):
        self._ask("forget", list(ids))

    def close(self):
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def __reduce__(self):
        raise TypeError("a pool cannot be pickled")

    def _ask(self, kind, content):
        pickle.dump((kind, content), self._process.stdin)
        self._process.stdin.flush()
        return pickle.load(self._process.stdout)
