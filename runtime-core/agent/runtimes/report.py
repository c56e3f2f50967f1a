"""What went wrong, and what is said about a run."""

import os
import sys
import time

from . import state
from .values import clip, to_json

_AGENT = os.path.dirname(__file__) + os.sep


class RunError(Exception):
    """Something that was asked of the run is wrong. Its text is the whole story, so no traceback is shown."""

    def __init__(self, message, file=None, line=None):
        super().__init__(message)
        self.file, self.line = file, line


class HandlerError(RunError):
    """The handler is not there, or is no function."""


class ParameterError(RunError):
    """A parameter is missing, unknown, or not of the type that the handler asks for."""


class InputError(RunError):
    """An input is missing, or cannot be read as what the handler asks for."""


class ReturnError(RunError):
    """What the handler returned is not what `returns` says."""


def did_you_mean(name, known):
    import difflib

    close = difflib.get_close_matches(name, known, 1, 0.6)
    return f" (did you mean {close[0]!r}?)" if close else ""


def text_of(exc):
    try:
        return str(exc)
    except Exception:  # a __str__ that fails must not hide what failed first
        return "(its text cannot be shown)"


def _trim(tb):
    """The traceback without the agent's and the import system's frames in front of the user's."""
    first = tb
    while tb and tb.tb_frame.f_code.co_filename.startswith((_AGENT, "<frozen ")):
        tb = tb.tb_next
    return tb or first


def _place(tb):
    """File and line of the innermost frame that is the user's own code."""
    library = os.path.dirname(os.__file__) + os.sep
    found = last = (None, None)
    while tb:
        file = tb.tb_frame.f_code.co_filename
        if not file.startswith((_AGENT, "<frozen ")):
            last = (file, tb.tb_lineno)
            foreign = file.startswith(library) or "site-packages" in file or "dist-packages" in file
            if not foreign and not file.startswith("<"):
                found = last
        tb = tb.tb_next
    return found if found[0] else last


def describe_error(exc):
    """The exception as the report holds it."""
    kind = type(exc)
    name = (
        kind.__qualname__
        if kind.__module__ in ("builtins", "__main__", __name__)
        else f"{kind.__module__}.{kind.__qualname__}"
    )
    error = {"type": name, "message": clip(text_of(exc), 20_000), "traceback": ""}
    file, line = _place(exc.__traceback__)
    if isinstance(exc, RunError):
        if exc.file:
            file, line = exc.file, exc.line
        error["traceback"] = f"{name}: {text_of(exc)}\n"
    else:
        import traceback

        if isinstance(exc, SyntaxError) and exc.filename:
            file, line = exc.filename, exc.lineno
            shown = [part.rstrip("\n") for part in traceback.format_exception_only(kind, exc)][1:-1]
            error["message"] = "\n".join([exc.msg or "invalid syntax", *shown])
        tb = _trim(exc.__traceback__)
        try:
            lines = traceback.format_exception(kind, exc, tb)
        except Exception:
            lines = [*traceback.format_tb(tb), f"{name}: {text_of(exc)}\n"]
        error["traceback"] = clip("".join(lines), 200_000)
    if file:
        error["file"] = file
    if line:
        error["line"] = line
    if "py4j" in sys.modules or "pyspark" in sys.modules:
        from .with_spark import explain

        explain(exc, error)
    return error


def warn(text):
    """A line for people, on stderr, whatever has become of it."""
    try:
        sys.stderr.write(text if text.endswith("\n") else text + "\n")
        sys.stderr.flush()
    except Exception:
        pass


class Report:
    """What the code says about its run, and where that goes."""

    def __init__(self, path=None, record=None):
        self.path, self.record, self.owner = path, record, os.getpid()
        self.state, self.error, self.notes = "running", None, []
        self.results, self.artifacts, self.labels, self.annotations = {}, {}, {}, {}
        self.dirty, self.written = False, 0.0

    def changed(self):
        """Notes a change; what a long run logs is on disk about a second later, should it be killed."""
        self.dirty = True
        if time.monotonic() - self.written > 1.0:
            try:
                self.write()
            except OSError:
                pass  # the last write says so

    def note(self, text):
        if text not in self.notes:
            self.notes.append(text)
            self.dirty = True

    def failed(self, exc):
        self.state, self.dirty = "error", True
        self.error = exc if isinstance(exc, dict) else describe_error(exc)

    def write(self):
        """Puts the report in its place in one step; where it has no file of its own, into the record of the run."""
        self.dirty, self.written = False, time.monotonic()
        if self.owner != os.getpid() or not self.path and self.record is None:
            return
        data = self._json()
        if not self.path:
            return _write_all(self.record, b"report " + data + b"\n")
        temp = f"{self.path}.{self.owner}.tmp"
        try:
            fd = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
            try:
                _write_all(fd, data)
            finally:
                os.close(fd)
            os.rename(temp, self.path)
        except OSError:
            self.dirty = True
            try:
                os.unlink(temp)
            except OSError:
                pass
            raise

    def _json(self):
        said = [("results", self.results), ("labels", self.labels), ("annotations", self.annotations),
                ("error", self.error), ("notes", self.notes), ("artifacts", list(self.artifacts.values()))]  # fmt: skip
        what = {key: value for key, value in said if value}
        if not what and self.state == "completed":
            return b'{"state": "completed"}'  # as most are; a forked run need not even touch the encoder
        return to_json({"state": self.state, **what}).encode("utf-8", "replace")

    def close(self, always=False):
        """The last word. Returns whether it could be said."""
        if self.owner != os.getpid():
            return True
        if self.state == "running":
            if not (self.dirty or always or self.written):
                return True
            self.state, self.dirty = "completed", True
        if not self.dirty:
            return True
        try:
            self.write()
            return True
        except OSError as exc:
            warn(f"runtimes: the report of this run could not be written to {self.path}: {exc.strerror or exc}")
            return False

    def close_or_die(self):
        """The last word at the interpreter's end, where an exception would change nothing any more."""
        if not self.close():
            flush()
            os._exit(1)


def _write_all(fd, data):
    while data:
        data = data[os.write(fd, data) :]


def begin(job, record=None):
    """Makes this job the run of this process; returns its report, which goes into the record where there is one."""
    state.job, state.current = job, None
    state.report = Report(job.get("report")) if record is None else Report(None, record)
    return state.report


def flush():
    """What has been printed is out."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:  # closed, replaced, or nobody reads it
            pass


def exit_code(exc):
    """The exit code that a SystemExit asks for."""
    if exc.code is None:
        return 0
    return exc.code & 0xFF if isinstance(exc.code, int) else 1


def fail(report, exc):
    """Shows an exception as Python would, and reports it at once: what comes after may end in a crash."""
    report.failed(exc)
    if sys.excepthook is not sys.__excepthook__ and not isinstance(exc, RunError):
        sys.excepthook(type(exc), exc, _trim(exc.__traceback__))
    else:
        warn(report.error["traceback"])
    try:
        report.write()
    except OSError:
        pass  # the last write says so


def end_of_program(job, exc):
    """Reports an exception that reached the end of a whole program. The caller raises it on if this returns."""
    report = state.report = state.report or Report(job.get("report"))
    if isinstance(exc, SystemExit):
        if isinstance(exc.code, str):
            report.failed(exc)
        elif exit_code(exc) and (report.dirty or report.written):
            report.state, report.dirty = "error", True
        return
    fail(report, exc)
    if not isinstance(exc, KeyboardInterrupt):
        raise SystemExit(1) from None
    sys.excepthook = lambda *_: None  # it has been shown; the interpreter ends as after a SIGINT
