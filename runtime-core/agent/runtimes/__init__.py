"""The agent that runs Python code for an orchestrator. Standard library only, Python 3.9 or later.

User code may import it: `from runtimes import Context, DataItem, get_or_create_ctx`.

The folder that holds this package (AGENT_DIR) is given as the first argument; the second is the mode:

    run RUN_JSON    One run in this process. `handler` null runs the file (or module) as the main program, as
                    `python3 FILE ARGS` would; otherwise the file is imported and the handler in it is called.
    template        Loads the code once and makes one run after the other of it, each in a forked child ("fork") or
                    right there ("reuse"). Speaks frames over the Unix stream socket that is its standard input.
    pod JSON        One run as the first process of a container; see `pod`.
    mpi JSON COMMAND ARGS...    A command as several ranks, started by `mpirun`; see `mpi`. JSON may be a file with it.
    spark JSON COMMAND ARGS...  A command as the driver of Spark, started by `spark-submit`; see `spark`.

RUN_JSON holds `run` (metadata, spec, status), `code` ({"path"} or {"module"}, and "name" for tracebacks), `handler`,
`args`, `pythonpath`, `report`, `artifact_path`, `inputs` (where fetched ones are), `base_dir`, `meta_tmpfile`. The report (state, results, artifacts,
labels, annotations, error, notes) is written to `report` by rename, when there is something to say: no report and exit
code 0 mean "completed". Every handler writes one. The process exits with 1 after an exception, otherwise as it asks.

A frame to the template is its length in 4 bytes, big-endian, then a letter and what belongs to it; N is the length of
ID in one byte, RUN_JSON lacks what the template knows (the code and how it is called):
    L JSON                                  load this code: {code, handler, pythonpath, args, base_dir}; first, once
    F N ID WORKDIR|GIVEN|RUN_JSON|NAME=VALUE...   fork a run with variables of its own; a zero byte for each `|`. With
                                            3 descriptors: state, stdout, stderr. GIVEN is empty where the handler is
                                            given neither parameters nor inputs
    R ...                                   the same, made by the worker itself, one after the other
    C N ID                                  take a run back that has not begun
and it answers in lines: "ready", "failed ERROR_JSON", "ID exit CODE", "ID signal N", "ID cancelled".
To `state` are written, as lines: "pid N" by the run itself, first; "exit CODE" or "signal N" by the template. A run
that starts processes says so: "spawned 1". Where a run's `report` is null, its report is a line there too,
"report JSON": making a file costs more than a small run.
At the end of the input the template starts nothing more, waits for its children and exits with 0.

Start-up is measured against `python3 FILE`, so this file holds what a whole program needs and no more; the rest is
imported when something asks for it, and `re`, `json`, `inspect` and `typing` only where a run goes wrong or needs them.
Not even `os` is: `python3 -S` starts without it.

    values    what JSON can hold          report   errors, the report        run        one run of a handler
    data      inputs                      load     finds and loads code      call       binds and calls
    context   what the code sees          convert  type hints                returns    logs what came back
    artifacts how things become files     logger   log lines                 with_mlrun code that uses MLRun
    template  warm processes        pod      runs in containers
    endpoint  reports to an orchestrator elsewhere                   source     code that a pod fetches
    mpi       starts ranks by `mpirun`  rank     one of several ranks    with_dask  the run's Dask cluster
    spark     starts `spark-submit`     submit   what that starts         with_spark the run's session of Spark
"""

import sys

try:
    import posix
except ImportError:  # not a Unix
    import os as posix

__all__ = ["Artifact", "Context", "DataItem", "get_or_create_ctx"]


class state:
    """This process's run: its RUN_JSON, its report, its context once somebody asked for it, and which of several ranks it is."""

    job = report = current = rank = None


class _Scan:
    strict = False
    object_hook = object_pairs_hook = None
    parse_float = parse_constant = float
    parse_int = int
    memo = {}


_scanner = None


def from_json(text):
    """Reads JSON with the C scanner alone: `json` imports `re`, which takes longer than all else here."""
    global _scanner
    try:
        if _scanner is None:
            from _json import make_scanner

            _scanner = make_scanner(_Scan)
        value, end = _scanner(text, 0)
        if end == len(text):
            return value
    except Exception:  # whatever the matter is, `json` copes with it or says it better
        pass
    import json

    return json.loads(text)


def get_or_create_ctx(name="", event=None, spec=None, with_env=True, project="", **_):
    """The context of this run; where there is no run, one of its own that writes to ./artifacts and prints its results."""
    if state.current is None:
        from .context import open_context

        open_context(name, spec, with_env, project)
    return state.current


def __getattr__(name):
    home = {"Context": "context", "DataItem": "data", "Artifact": "artifacts"}.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(__import__(f"{__name__}.{home}", fromlist=[name]), name)


def _set_env(name, value, replace=True):
    os = sys.modules.get("os")
    environ = posix.environ if os is None else os.environ  # what `os.environ` will be made of, and what it is
    key, value = (name, value) if os is not None else (name.encode(), value.encode())
    if replace or key not in environ:
        environ[key] = value
        if os is None:
            posix.putenv(key, value)


def _has_env(name):
    os = sys.modules.get("os")
    return name.encode() in posix.environ if os is None else name in os.environ


def watch_mlrun():
    """Lets `with_mlrun` know when the code imports MLRun's stand-in for a database."""
    _set_env("MLRUN_HTTPDB__NOP_DB__VERBOSE", "false", replace=False)  # no warnings that there is no API server
    sys.meta_path.insert(0, _WatchMlrun)


class _WatchMlrun:
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name != "mlrun.db.nopdb":
            return None
        sys.meta_path.remove(cls)
        from .with_mlrun import spec_that_remembers

        return spec_that_remembers(name)


def prepare(job):
    """sys.path and sys.argv, as if the code had been started by itself."""
    code, base = job["code"], job.get("base_dir") or posix.getcwd()
    path = code.get("path")
    sys.path[0] = path.rpartition("/")[0] or "/" if path else base
    if job.get("pythonpath"):
        from os.path import join

        sys.path[1:1] = [join(base, folder) for folder in job["pythonpath"]]
    sys.argv[:] = [path or code["module"], *(job.get("args") or ())]


def _load_main(code):
    """The main module and its code, ready to be executed as `python3 FILE` would."""
    path = code.get("path")
    if path is None or code.get("name", path) != path:
        from .load import load_main

        return load_main(code)
    from _frozen_importlib_external import SourceFileLoader

    # As an import does, with its cache beside the file: the first compile() of a process makes all classes of `ast`,
    # which takes longer than the rest of this.
    loader = SourceFileLoader("__main__", path)
    try:
        code = loader.get_code("__main__")
    except OSError as exc:
        from .report import HandlerError

        raise HandlerError(f"the code {path} cannot be read: {exc.strerror}") from None
    module = type(sys)("__main__")
    module.__file__, module.__cached__, module.__loader__ = path, None, loader
    sys.modules["__main__"] = module
    return module, code


def _run_program(job):
    """The whole program. Ends by an exception, as a program does."""
    import atexit

    owner, meta = posix.getpid(), job.get("meta_tmpfile")

    def close():  # registered first, so it comes after all that the program itself does at its end
        if owner != posix.getpid():
            return
        if "mlrun" in sys.modules or meta and _exists(meta):
            from .with_mlrun import absorb_mlrun

            absorb_mlrun(job)
        if state.report is not None:
            state.report.close_or_die()

    atexit.register(close)
    try:
        module, code = _load_main(job["code"])
        exec(code, module.__dict__)
    except BaseException as exc:
        from .report import end_of_program

        if state.rank is not None:
            from .rank import end_of_failed_program

            end_of_failed_program(job, exc, close)
        end_of_program(job, exc)
        raise


def _exists(path):
    try:
        return bool(posix.stat(path))
    except OSError:
        return False


def _read_options(text):
    """The options of what starts others: JSON, or a file with it."""
    if text[:1] != "{":
        with open(text, "rb") as file:
            text = file.read().decode()
    return from_json(text)


def main():
    """The entry point: `run RUN_JSON` or `template`, after AGENT_DIR was put at sys.path[0]."""
    sys.path.append(sys.path[0])
    _set_env("MPLBACKEND", "Agg", replace=False)  # figures need no display
    if sys.stdout is not None:
        sys.stdout.reconfigure(line_buffering=True)  # lines appear as they are printed
    if sys.argv[1:] == ["template"]:
        from .template import Template

        raise SystemExit(Template().main())
    if sys.argv[1:2] in (["mpi"], ["spark"]) and len(sys.argv) > 3:
        launcher = __import__(f"{__name__}.{sys.argv[1]}", fromlist=["main"])
        raise SystemExit(launcher.main(_read_options(sys.argv[2]), sys.argv[3:]))
    if len(sys.argv) != 3 or sys.argv[1] not in ("run", "pod"):
        raise SystemExit("runtimes: start it with `run RUN_JSON`, `pod JSON`, `template`, `mpi JSON COMMAND` or `spark JSON COMMAND`")
    path = sys.argv[2]
    if sys.argv[1] == "pod":
        from .pod import main as start

        path = start(path)
    with open(path, "rb") as file:
        job = state.job = from_json(file.read().decode())
    _set_env("RUNTIMES_RUN_FILE", path)
    _set_env("RUNTIMES_RUN_PID", str(posix.getpid()))
    if _has_env("RUNTIMES_RANKS"):
        from .rank import enter

        enter(job)
    prepare(job)
    if _has_env("RUNTIMES_SPARK"):
        from .with_spark import watch

        watch()
    if job.get("meta_tmpfile"):
        watch_mlrun()
    if not job.get("handler"):
        return _run_program(job)
    from .run import run_and_exit

    return run_and_exit(job)
