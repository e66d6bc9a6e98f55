"""How Python functions and values travel between the user's process and the workers.

* `parent`: the side that submits. `Encoder.code` for callables, `Encoder.dumps` for values,
  `load_result` and `load_exception` for what comes back.
* `worker`: the side that runs. Definitions, values, results and exceptions.
* `definition`: what the two exchange.
* `namespace`: which globals of ``__main__`` a function needs, and in which version.
* `pickler`: the by-value pickler, the only module that imports cloudpickle.
* `exceptions`, `explain`, `main_module`: errors across processes, why a value cannot travel, and
  the worker's ``__main__``.

The rule that everything here serves: all functions of the user's ``__main__`` share one namespace
in a worker, the dict of the worker's own ``__main__``, and a class of ``__main__`` is one class there.

Importing `parent` or `worker` costs no more than `pickle` does; the rest is imported when needed.
"""
