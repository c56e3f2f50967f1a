"""The Dask cluster of a run, for functions of the kind `dask`."""

import os

TIMEOUT = 120.0  # seconds until the workers are there

_client = None


def client():
    """A client of the run's cluster, the same each time; it comes when the workers that are sure to come are there."""
    global _client
    if _client is None:
        address = os.environ.get("DASK_SCHEDULER_ADDRESS")
        if not address:
            raise RuntimeError("this run has no Dask cluster: functions of the kind `dask` have one")
        import atexit

        from distributed import Client

        made = Client(address, timeout=TIMEOUT)
        atexit.register(made.close)
        expected = int(os.environ.get("RUNTIMES_DASK_WORKERS") or 0)
        if expected:
            made.wait_for_workers(expected, timeout=TIMEOUT)
        _client = made
    return _client
