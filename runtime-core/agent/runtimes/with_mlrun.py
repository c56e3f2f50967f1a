"""Code that uses MLRun: its context for this run, and what it noted there."""

import os
import sys

from . import from_json, get_or_create_ctx, state
from .context import own_secrets
from .report import Report
from .values import plain

_kept = {}  # the artifacts that MLRun wrote in this run, by their key in its database
_ctx = None


def spec_that_remembers(name):
    """How MLRun's stand-in for a database is loaded: it forgets artifacts by itself, and is taught to keep them."""
    from importlib.util import find_spec

    spec = find_spec(name)
    execute = spec.loader.exec_module

    def exec_module(module):
        execute(module)
        module.NopDB.store_artifact = lambda self, key, artifact, *_, **__: _kept.__setitem__(key, artifact)
        module.NopDB.read_artifact = lambda self, key, *_, **__: _kept.get(key)

    spec.loader.exec_module = exec_module
    return spec


def mlrun_context(job):
    """MLRun's own context for this run, where the code has imported MLRun."""
    global _ctx
    make = getattr(sys.modules["mlrun"], "get_or_create_ctx", None)
    if make is None:
        return None
    _kept.clear()
    own, run = get_or_create_ctx(), job["run"]
    spec = {
        **(run.get("spec") or {}),
        "output_path": str(own.artifact_path),
        "inputs": {key: str(item) for key, item in own.inputs.items()},
        # Its secrets are files here; MLRun would look for their sources.
        "secret_sources": [{"kind": "inline", "source": own_secrets()}],
    }
    _ctx = make(own.name or "run", spec={"metadata": dict(run.get("metadata") or {}), "spec": spec})
    return _ctx


def absorb_mlrun(job):
    """Takes over what MLRun has noted of this run: from its context, or from the file that it leaves behind."""
    global _ctx
    report = state.report = state.report or Report(job.get("report"))
    run, path = None, job.get("meta_tmpfile")
    store = getattr(sys.modules.get("mlrun.runtimes.utils"), "global_context", None)
    try:
        # The context knows more than its file: an error that the code sets is not written there.
        context = _ctx or (store and store.get())
        _ctx = None
        if context is not None:
            run = context.to_dict()
        elif path and os.path.exists(path) and os.path.getsize(path):
            with open(path, encoding="utf-8") as file:
                run = from_json(file.read())
    except Exception as exc:  # the run itself is over; say it, and keep its end
        report.note(f"what MLRun noted of this run could not be read: {exc}")
    if not isinstance(run, dict):
        return
    meta, status = run.get("metadata") or {}, run.get("status") or {}
    before = (job["run"].get("metadata") or {}).get("labels") or {}
    report.results.update(plain(status.get("results") or {}))
    by_key = {
        artifact.get("metadata", {}).get("key"): artifact
        for artifact in [*(status.get("artifacts") or []), *_kept.values()]
    }
    for key, uri in (status.get("artifact_uris") or {}).items():
        by_key.setdefault(key, {"metadata": {"key": key}, "spec": {"target_path": uri}})
    for key, artifact in by_key.items():
        report.artifacts[key] = {**plain(artifact), "kind": artifact.get("kind") or "artifact"}
    own = ("kind", "host", "owner", "v3io_user")
    report.labels.update(
        (key, str(value))
        for key, value in (meta.get("labels") or {}).items()
        if before.get(key) != value and key not in own
    )
    report.annotations.update((key, str(value)) for key, value in (meta.get("annotations") or {}).items())
    report.dirty = True
    if status.get("error") and not report.error:
        report.failed({"type": "", "message": str(status["error"]), "traceback": ""})
