"""The Dask cluster of a run, for functions of the kind `dask`."""

import os

TIMEOUT = 120.0  # seconds until the workers are there

_client = None


def _send_code():
    """Has the run's own code go to the workers with each call of it: they were there before, and may know an older one."""
    import sys

    from . import state

    code = (state.job or {}).get("code") or {}
    path = code.get("path")
    for name, module in list(sys.modules.items()):
        own = name == code.get("module") or path and getattr(module, "__file__", None) == path
        if own and name != "__main__":
            for it in vars(module).values():
                if callable(it) and getattr(it, "__module__", None) == name:
                    it.__module__ = "__main__"  # which is what Dask sends whole, in place of a name to be imported


def client():
    """A client of the run's cluster, the same each time; it comes when the workers that are sure to come are there."""
    global _client
    if _client is None:
        address = os.environ.get("DASK_SCHEDULER_ADDRESS")
        if not address:
            raise RuntimeError("this run has no Dask cluster: functions of the kind `dask` have one")
        import atexit

        from distributed import Client

        if os.environ.get("RUNTIMES_DASK_SHARED"):
            _send_code()

        made = Client(address, timeout=TIMEOUT)
        atexit.register(made.close)
        expected = int(os.environ.get("RUNTIMES_DASK_WORKERS") or 0)
        if expected:
            made.wait_for_workers(expected, timeout=TIMEOUT)
        _client = made
    return _client
