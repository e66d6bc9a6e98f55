"""A plugin for pytest that puts Lineshaft among the backends which joblib's own tests go through.

``-p tests.joblib.conformance`` is read before the tests are: they look at joblib's table of backends
when they are imported.
"""

import lineshaft.joblib  # noqa: F401 - registers the backend
