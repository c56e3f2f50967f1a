"""A run in a container: `pod JSON`. The first process of the container starts the code as its child, passes signals on,
takes what nobody waits for, and says at the end what the child reported: to the endpoint where there is one, else in the
termination message. A rank of several tells it to whoever started the ranks.

JSON says what is started: `code` ({"path"}, {"module"} or {"variable", "name"}), `handler`, `args`, `pythonpath`, as in
RUN_JSON; or `script`, as `code`, and its `args`; or `program`, a list. `source` says what is fetched first (see `source`).
The run itself is in MLRUN_EXEC_CONFIG.
"""

import os
import signal
import sys

from . import _has_env, _set_env, from_json
from .values import to_json

# What a container may say at its end, in bytes.
LIMIT = 4096
MESSAGE = "/dev/termination-log"
PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)


def main(text):
    what = from_json(text)
    run = from_json(os.environ.get("MLRUN_EXEC_CONFIG") or "{}")
    folder = _folder()
    job = {
        "run": run,
        "report": os.path.join(folder, "report.json"),
        "meta_tmpfile": os.path.join(folder, "meta.json"),
        "artifact_path": (run.get("spec") or {}).get("output_path") or os.path.join(folder, "artifacts"),
        "inputs": {},
        "base_dir": os.getcwd(),
        **what,
    }
    _set_env("MLRUN_META_TMPFILE", job["meta_tmpfile"])
    _set_env("RUNTIMES_REPORT", job["report"])
    if "source" in job and not _fetch(job, folder):
        raise SystemExit(1)
    child = os.fork()
    if not child:
        return _start(job, folder)
    raise SystemExit(_attend(child, job))


def _folder():
    import tempfile

    try:
        return tempfile.mkdtemp(prefix="runtimes-")
    except OSError as exc:
        raise SystemExit(f"runtimes: there is no folder to write to: {exc}; mount an `emptyDir` at /tmp") from None


def _fetch(job, folder):
    """Fetches the code; whether it is there. It takes a moment in which the container may be told to end."""
    from .source import SourceError, prepare

    default = {number: signal.signal(number, _leave) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        prepare(job, folder)
    except SourceError as exc:
        sys.stderr.write(f"runtimes: {exc}\n")
        _end({"state": "error", "error": {"type": "SourceError", "message": str(exc)}}, job)
        return False
    finally:
        for number, handler in default.items():
            signal.signal(number, handler)
    return True


def _leave(number, _):
    raise SystemExit(128 + number)


def _start(job, folder):
    """In the child: becomes the program, or returns the job of the agent."""
    kind = "script" if "script" in job else "code"
    if kind in job and "variable" in job[kind]:
        job[kind] = {"path": _write(job[kind], folder), "name": job[kind]["name"]}
    program = job.get("program")
    if kind == "script":
        path = job["script"]["path"]
        with open(path, "rb") as file:
            shell = [] if file.read(2) == b"#!" and os.access(path, os.X_OK) else ["/bin/sh"]
        program = [*shell, path, *job.get("args", ())]
    if program:
        try:
            os.execvp(program[0], program)
        except OSError as exc:
            sys.stderr.write(f"runtimes: {program[0]}: {exc.strerror}\n")
            os._exit(127 if isinstance(exc, FileNotFoundError) else 126)
    path = os.path.join(folder, "run.json")
    with open(path, "w") as file:
        file.write(to_json(job))
    return path


def _write(code, folder):
    """Puts code that is in a variable into a file of its name."""
    import base64

    path = os.path.join(folder, os.path.basename(code["name"]) or "main.py")
    with open(path, "wb") as file:
        file.write(base64.b64decode(os.environ[code["variable"]]))
    os.chmod(path, 0o755)
    return path


def _attend(child, job):
    """Waits for the child; returns the exit code of the container."""
    for number in PASSED_ON:
        signal.signal(number, lambda number, _: _kill(child, number))
    news = _report_meanwhile(job)
    status = None
    while status is None:
        try:
            pid, ended = os.wait()  # also for those that lost their parents
        except ChildProcessError:
            return 1
        if pid == child:
            status = ended
    news.set()
    code, failed = os.waitstatus_to_exitcode(status), 0
    report = _report(job)
    if report is not None:
        failed = _end(report, job)
    if code < 0 and _rank() is not None:
        # mpirun says of a rank which signal it was.
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    return failed or (128 - code if code < 0 else code)


def _kill(child, number):
    try:
        os.kill(child, number)
    except ProcessLookupError:
        pass


def _rank():
    """Which of several ranks this is; `None` where there are none."""
    if not _has_env("RUNTIMES_RANKS"):
        return None
    from .rank import number

    return number()


def _report(job):
    rank = _rank()
    try:
        with open(f"{job['report']}.{rank}" if rank else job["report"], "rb") as file:
            return from_json(file.read().decode())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as exc:
        sys.stderr.write(f"runtimes: the report of this run cannot be read: {exc}\n")
        return None


def _report_meanwhile(job):
    """Sends what the code says while it goes on, where there is an endpoint; ends when the returned event is set."""
    import threading

    over = threading.Event()
    if _has_endpoint() and not _rank():
        threading.Thread(target=_watch, args=(job, over), daemon=True).start()
    return over


def _watch(job, over):
    from .endpoint import EndpointError, send_from_env

    seen, folder = None, job["artifact_path"] + os.sep
    while not over.wait(1.0):
        try:
            found = os.stat(job["report"])
            if (found.st_mtime_ns, found.st_ino) == seen:
                continue
            seen = found.st_mtime_ns, found.st_ino
            with open(job["report"], "rb") as file:
                report = from_json(file.read().decode())
            if report.get("state") != "running":
                continue
            # Files are sent at the end.
            artifacts = report.get("artifacts") or []
            report["artifacts"] = [
                one for one in artifacts if not (one["spec"].get("target_path") or "").startswith(folder)
            ]
            send_from_env(report, job["run"], patience=0)
        except (OSError, ValueError, EndpointError):
            pass  # the last word says so


def _has_endpoint():
    return bool(os.environ.get("MLRUN_AUTH_SESSION"))


def _end(report, job):
    """Says the last word of the code; returns the exit code of that."""
    if _has_endpoint() and not (job["run"].get("spec") or {}).get("output_path"):
        from .endpoint import send_artifacts

        send_artifacts(report, job["artifact_path"], job["run"])
    if _rank() is None:
        return tell(report, job["run"])
    from .rank import tell as say

    return say(report)


def tell(report, run):
    """To the endpoint where there is one, else to the cluster; returns the exit code of that."""
    return _send(report, run) if _has_endpoint() else _say(report)


def _send(report, run):
    from .endpoint import send_from_env

    try:
        if send_from_env(report, run) is not False:
            return 0
    except Exception as exc:
        sys.stderr.write(f"runtimes: the report of this run could not be sent: {exc}\n")
    return _say(report)


def _say(report):
    """Leaves the report where the cluster keeps it. What is too large for that goes to the log, whole."""
    data = to_json(report).encode("utf-8", "replace")
    failed = 0
    if len(data) > LIMIT and report.get("error"):
        report["error"] = {**report["error"], "traceback": "", "message": report["error"].get("message", "")[:300]}
        data = to_json(report).encode("utf-8", "replace")
    if len(data) > LIMIT:
        sys.stderr.write(f"runtimes: the report of this run: {data.decode()}\n")
        data, failed = _too_large(report, len(data)), 1
    try:
        with open(MESSAGE, "wb") as file:
            file.write(data)
    except OSError as exc:
        sys.stderr.write(f"runtimes: the report of this run cannot be written to {MESSAGE}: {exc.strerror}\n")
        return 1
    return failed


def _too_large(report, size):
    largest = sorted((report.get("results") or {}).items(), key=lambda item: -len(to_json(item[1])))[:3]
    names = ", ".join(f"{name[:60]} ({len(to_json(value))} bytes)" for name, value in largest)
    message = (
        f"the results have {size} bytes, and without a report endpoint a pod can say {LIMIT}"
        + (f"; the largest: {names}" if names else "")
        + ". They are in the log. Log large values as artifacts, or start `runtimes daemon --listen`"
    )
    error = report.get("error") or {"type": "ReportTooLarge", "message": message}
    return to_json({"state": "error", "error": error, "notes": [message]}).encode("utf-8", "replace")
