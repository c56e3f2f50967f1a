import time


def square(n):
    return n * n


def slowly(n):
    time.sleep(0.5)
    return n


def workers(client):
    return set(client.scheduler_info(n_workers=-1)["workers"])


def total(context, n: int = 10):
    """Beside as many workers as were asked for."""
    client = context.dask_client
    context.log_result("workers", len(workers(client)))
    context.log_result("total", sum(client.gather(client.map(square, range(n)))))


def burst(context, n: int = 60):
    """First little, then much, then nothing."""
    client = context.dask_client
    first = len(workers(client))
    futures, most = client.map(slowly, range(n)), first
    while any(future.status == "pending" for future in futures):
        most = max(most, len(workers(client)))
        time.sleep(0.1)
    context.log_results({"first": first, "most": most, "total": sum(client.gather(futures))})
    del futures
    while len(workers(client)) > first:
        time.sleep(0.1)
    context.log_result("last", len(workers(client)))


def wait(context):
    """Until somebody ends it."""
    client = context.dask_client
    assert client.submit(square, 3).result() == 9
    print("ready", flush=True)
    while True:
        time.sleep(1)


def replaced(context):
    """Goes on when one of the workers is another one."""
    client = context.dask_client
    before = workers(client)
    print("ready", flush=True)
    while len(workers(client) - before) < 1 or len(workers(client)) < len(before):
        time.sleep(0.1)
    context.log_result("total", sum(client.gather(client.map(square, range(10)))))
