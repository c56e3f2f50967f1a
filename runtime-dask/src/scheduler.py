"""A Dask scheduler; where it is adaptive, it starts workers beside it while there is work for them, and retires them after."""

import asyncio
import json
import signal
import sys

from dask.system import CPU_COUNT
from distributed import Scheduler
from distributed.deploy.spec import SpecCluster
from distributed.deploy.subprocess import SubprocessWorker


async def replace_lost(cluster):
    """Forgets workers whose process has ended, which adaptive scaling takes for ones that are still there."""
    while True:
        ended = {
            name: worker.process.returncode
            for name, worker in cluster.workers.items()
            if worker.process is not None and worker.process.returncode is not None
        }
        if ended:
            for name, code in ended.items():
                print(f"worker {name} ended ({code}) and is replaced where it is missed", flush=True)
            await cluster.scale_down(list(ended))
        await asyncio.sleep(0.2)


async def serve(options, port, dashboard):
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    scheduler = {
        "host": "127.0.0.1",
        "port": port,
        "dashboard_address": f"127.0.0.1:{dashboard}",
        "idle_timeout": options["idle_timeout"],
    }
    adaptive = options["adaptive"]
    if adaptive:
        worker = {**adaptive["worker"], "host": "127.0.0.1", "dashboard": False}
        served = SpecCluster(
            scheduler={"cls": Scheduler, "options": scheduler},
            worker={"cls": SubprocessWorker, "options": {"worker_class": "distributed.Worker", "worker_kwargs": worker}},
            asynchronous=True,
        )
    else:
        served = Scheduler(**scheduler)
    async with served:
        one = served.scheduler if adaptive else served
        link = f"http://127.0.0.1:{one.services['dashboard'].port}/status" if "dashboard" in one.services else "none"
        print(f"scheduler: {one.address}, dashboard: {link}", flush=True)
        if adaptive:
            minimum, maximum = adaptive["minimum"], adaptive["maximum"]
            if maximum is None:
                maximum = max(minimum, CPU_COUNT // worker["nthreads"], 1)
            print(f"workers: {minimum} to {maximum}", flush=True)
            served.adapt(minimum=minimum, maximum=maximum, interval="500ms")
            lost = asyncio.ensure_future(replace_lost(served))
        ends = [asyncio.ensure_future(one.finished()), asyncio.ensure_future(stopped.wait())]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if adaptive:
            lost.cancel()


if __name__ == "__main__":
    asyncio.run(serve(json.loads(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
