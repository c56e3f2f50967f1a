"""One run of a handler."""

import sys

from . import state
from .call import Call
from .load import load_module
from .report import begin, exit_code, fail, warn
from .values import SIMPLE, plain


def run_and_exit(job):
    """The one run of this process."""
    import atexit

    code = run_handler(job)
    if code and state.rank is not None:
        from .rank import leave

        leave(code)
    # What threads and exit functions log after the handler has returned belongs to the run too.
    atexit.register(state.report.close_or_die)
    raise SystemExit(code)


def run_handler(job, loaded=None, record=None):
    """One call of the handler, reported. Returns the exit code; never raises."""
    report, code = begin(job, record), 1
    try:
        loaded = loaded or Loaded(job)
        value = loaded.call(job.get("handler"))(job)
        if value is not None:
            _keep(report, value, (job["run"].get("spec") or {}).get("returns"))
        code = 0
    except SystemExit as exc:
        code = exit_code(exc)
        if code:
            report.failed(exc)
        if isinstance(exc.code, str):
            warn(exc.code)
    except BaseException as exc:  # whatever it is, the run ends with it
        fail(report, exc)
    if "mlrun" in sys.modules:
        from .with_mlrun import absorb_mlrun

        absorb_mlrun(job)
    if not report.close(always=True):
        code = code or 1
    return code


def _keep(report, value, returns):
    """Keeps what the handler returned. What is simple needs no more of the agent: a forked run pays for all it touches."""
    if not returns or (len(returns) == 1 and type(returns[0]) is str and returns[0].isidentifier() and type(value) in SIMPLE):
        report.results[returns[0] if returns else "return"] = plain(value)
        return report.changed()
    from .returns import log_returns

    return log_returns(value, returns)


class Loaded:
    """The user's code, loaded, with the handlers that were asked for so far."""

    def __init__(self, job):
        self.calls, self.handler = {}, job.get("handler")
        self.module = load_module(job["code"])

    def call(self, handler):
        """How this handler is called."""
        handler = handler or self.handler
        if handler not in self.calls:
            self.calls[handler] = Call(self.module, handler)
        return self.calls[handler]
