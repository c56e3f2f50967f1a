"""The session of Spark of a run, and what Spark's exceptions mean."""

import os
import re
import sys

from .params import SPARK

APPLICATION = "spark/application-id"

_TRACEBACK = re.compile(r"Traceback \(most recent call last\):\n((?:[ \t].*\n|\n(?=[ \t]))+)(\S[^\n]*(?:\n(?!\s*at |\n)[^\n]+)*)")
_FRAME = re.compile(r'  File "([^"]+)", line (\d+)')
_JAVA = re.compile(r"^: ([\w.$]+)(?:: (.*))?$", re.MULTILINE)
_TASK = re.compile(r"Task \d+ in stage [\d.]+")
_ENGINE = re.compile(r"[/\\](pyspark|py4j)[/\\]|pyspark\.zip|py4j-[\d.]+-src\.zip")


def watch():
    """Keeps the id of the application with the run, whoever begins it."""
    try:
        from pyspark import SparkContext
    except ImportError:  # what needs it says so
        return
    begin = SparkContext._do_init

    def begin_and_tell(context, *args, **kwargs):
        begin(context, *args, **kwargs)
        from . import state
        from .report import Report

        state.report = state.report or Report((state.job or {}).get("report"))
        state.report.annotations[APPLICATION] = context.applicationId
        state.report.changed()

    SparkContext._do_init = begin_and_tell


def session():
    """The session of this run, the same each time; the functions of its own code go to the executors whole, which do not have
    its file."""
    from . import state

    if not os.environ.get(SPARK):
        raise RuntimeError("this run has no Spark: functions of the kind `spark` have it")
    from pyspark.sql import SparkSession

    _send_code(state.job or {})
    return SparkSession.builder.getOrCreate()


def _send_code(job):
    from pyspark import cloudpickle

    code = job.get("code") or {}
    for name, module in list(sys.modules.items()):
        own = name == code.get("module") or code.get("path") and getattr(module, "__file__", None) == code["path"]
        if own and name != "__main__":
            cloudpickle.register_pickle_by_value(module)


def explain(exc, error):
    """What an exception that came through Spark says of the code that raised it, in place of how it came."""
    kind = type(exc)
    if kind.__module__.partition(".")[0] not in ("py4j", "pyspark"):
        return
    if _ENGINE.search(error.get("file", "")):
        error.pop("file")
        error.pop("line", None)
    text = error["message"]
    found = list(_TRACEBACK.finditer(text))
    if found:
        frames, last = found[-1].groups()
        name, _, message = last.partition(": ")
        task = _TASK.search(text)
        error["type"], error["message"] = name.strip(), f"{message.strip()} ({task[0] if task else 'in a task of Spark'})".strip()
        own = [frame for frame in _FRAME.findall(frames) if not _ENGINE.search(frame[0])]
        if own:
            error["file"], error["line"] = own[-1][0], int(own[-1][1])
    elif kind.__name__ == "Py4JJavaError":
        java = _JAVA.search(text)
        if java:
            error["type"], error["message"] = java[1], (java[2] or "").strip()
    elif kind.__name__ == "Py4JNetworkError":
        error["message"] = f"the Java of the driver is gone, or does not answer: {text}"
