"""One rank of several that `mpirun` starts: the first one reports, the others say what went wrong in them."""

import os

from . import _set_env, state
from .report import end_of_program, exit_code, flush, warn
from .values import to_json

# Set for all ranks by whoever starts them: how many there are. Without it, ranks are nothing to the agent.
RANKS = "RUNTIMES_RANKS"
# What begins a line in which a rank says its report to whoever started it: this, its rank, and which part of how many.
MARK = b"\x1eruntimes-report"
# What fits into a line that nobody else's output comes between, as long as it goes through a pipe.
PART = 2048


def number():
    """Which rank this process is."""
    for name in ("OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK"):
        if os.environ.get(name, "").isdigit():
            return int(os.environ[name])
    return 0


def enter(job):
    """Keeps what this rank says apart from what the others say."""
    state.rank = number()
    if state.rank:
        for key in ("report", "meta_tmpfile"):
            if job.get(key):
                job[key] = f"{job[key]}.{state.rank}"
        _set_env("MLRUN_META_TMPFILE", job.get("meta_tmpfile") or "")


def leave(code):
    """Ends a rank that failed at once: MPI's own end waits for all ranks, and these may wait for this one."""
    flush()
    os._exit(code)


def end_of_failed_program(job, exc, close):
    """Ends a rank whose program raised this, unless it asked for a good end."""
    code = exit_code(exc) if isinstance(exc, SystemExit) else 1
    if not code:
        return
    try:
        end_of_program(job, exc)
    except SystemExit:
        pass
    if isinstance(exc, SystemExit) and isinstance(exc.code, str):
        warn(exc.code)
    close()
    leave(code)


def tell(report):
    """Says the report to whoever started the ranks, where they have no files in common: in lines of its output. Returns the
    exit code of that."""
    import base64

    flush()
    data = base64.b64encode(to_json(report).encode("utf-8", "replace"))
    parts = [data[at : at + PART] for at in range(0, len(data), PART)]
    for index, part in enumerate(parts):
        line = b"%s %d %d/%d %s\n" % (MARK, number(), index + 1, len(parts), part)
        while line:
            line = line[os.write(1, line) :]
    return 0
