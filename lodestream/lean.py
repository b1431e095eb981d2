"""Imported first by a service process: loads nats and structlog without the packages that they only might use.

aiohttp (for WebSocket transport) and rich (for tracebacks on a terminal) are two thirds of the CPU of such a start.
"""

import os
import sys
from importlib import import_module

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # who wants threads has his own: BLAS's spin where cores are shared
_kept_out = [name for name in ("aiohttp", "rich") if name not in sys.modules]
sys.modules.update(dict.fromkeys(_kept_out))  # type: ignore[arg-type]  # None: not to be imported
for _name in ("nats", "structlog"):
    import_module(_name)
for _name in _kept_out:
    del sys.modules[_name]
