"""Adds up arrays of several sizes over all ranks: is it right, and how long does it take?"""

import numpy as np
from mpi4py import MPI


def measure(context, largest: int = 4 << 20, times: int = 50):
    """Arrays from 8 bytes to `largest`, each `times` times. Logs whether all sums were right, and a table."""
    ranks = MPI.COMM_WORLD
    rank, size = ranks.Get_rank(), ranks.Get_size()
    rows, right, count = [], True, 1
    while 8 * count <= largest:
        own, total = np.full(count, rank + 1.0), np.empty(count)
        ranks.Allreduce(own, total)  # the first one also sets up what later ones use
        right &= bool((total == size * (size + 1) / 2).all())
        ranks.Barrier()
        began = MPI.Wtime()
        for _ in range(times):
            ranks.Allreduce(own, total)
        # As long as it takes the slowest one.
        seconds = ranks.allreduce((MPI.Wtime() - began) / times, op=MPI.MAX)
        rows.append((8 * count, 1e6 * seconds, 8e-6 * count / seconds))
        count *= 8
    right = ranks.allreduce(right, op=MPI.LAND)
    if rank == 0:
        print(f"{'bytes':>10} {'microseconds':>14} {'MB/s':>10}")
        for row in rows:
            print("%10d %14.1f %10.1f" % row)
    context.log_results({"ranks": size, "right": right})
    context.log_results({"microseconds": round(rows[0][1], 2), "megabytes_per_second": round(rows[-1][2], 1)})
    table = "bytes,microseconds,megabytes_per_second\n" + "".join("%d,%.2f,%.2f\n" % row for row in rows)
    context.log_artifact("allreduce", body=table, format="csv")
