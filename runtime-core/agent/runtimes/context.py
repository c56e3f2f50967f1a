"""The run, as its code sees it."""

import os

from . import from_json, state
from .artifacts import Artifact, describe_table, existing, has, is_figure, is_frame, measure, table, writer
from .data import DataItem, input_of
from .logger import Logger
from .report import Report, text_of
from .values import clip, plain, to_json


class Context:
    """The run, as its code sees it: what was asked, and what is to be kept."""

    def __init__(self, job, report):
        run = job["run"]
        meta, spec = run.get("metadata") or {}, run.get("spec") or {}
        self._job, self._report = job, report
        self.uid, self.name = meta.get("uid") or "", meta.get("name") or ""
        self.project, self.iteration = meta.get("project") or "default", meta.get("iteration") or 0
        self._labels, self._annotations = dict(meta.get("labels") or {}), dict(meta.get("annotations") or {})
        self.parameters = spec.get("parameters") or {}
        self.inputs = {key: input_of(job, key, url) for key, url in (spec.get("inputs") or {}).items()}
        self.in_path, self._function = spec.get("input_path") or "", spec.get("function") or ""
        path = job.get("artifact_path") or spec.get("output_path") or "artifacts"
        self.artifact_path = DataItem(path) if path.startswith("file://") or "://" not in path else path
        self.log_level = spec.get("log_level") or "info"
        self.logger = Logger(self.log_level)

    tag = property(lambda self: self._labels.get("workflow") or self.uid, doc="What its artifacts are filed under.")
    state = property(lambda self: self._report.state, doc="`running`, `completed` or `error`.")
    results = property(lambda self: dict(self._report.results), doc="What was logged as results.")
    artifacts = property(lambda self: list(self._report.artifacts.values()), doc="What was written.")
    artifact_uris = property(lambda self: {a.key: a.uri for a in self.artifacts}, doc="Where that is, by key.")
    labels = property(lambda self: {**self._labels, **self._report.labels}, doc="Labels, with those that were set.")
    annotations = property(lambda self: {**self._annotations, **self._report.annotations}, doc="Annotations, likewise.")
    out_path = property(lambda self: self.artifact_path, doc="Where artifacts go.")

    @property
    def dask_client(self):
        """A client of the run's Dask cluster, whose workers are there."""
        from .with_dask import client

        return client()

    @property
    def spark(self):
        """The run's session of Spark."""
        from .with_spark import session

        return session()

    def __enter__(self):
        return self

    def __exit__(self, kind, exc, tb):
        if exc:
            self.set_state(error=text_of(exc))
        self.commit(completed=exc is None)

    # What was asked.

    def get_param(self, key, default=None):
        """A parameter; the default is kept as its value where it was not given."""
        return self.parameters.setdefault(key, default)

    def get_input(self, key, url=""):
        """An input by its name, or one that is read from this URL or path."""
        if key not in self.inputs:
            self.inputs[key] = input_of(self._job, key, str(url or key))
        return self.inputs[key]

    def get_dataitem(self, url, secrets=None):
        """What is at this URL or path."""
        return input_of(self._job, "", str(url))

    def get_secret(self, key, default=None):
        """A secret: from the run's files, or the environment (also under the name that MLRun gives it there)."""
        folder = os.environ.get("RUNTIMES_SECRETS_DIR")
        if folder and key and os.path.basename(key) == key and not key.startswith("."):
            try:
                with open(os.path.join(folder, key), encoding="utf-8") as file:
                    return file.read().rstrip("\n")
            except FileNotFoundError:
                pass
        for name in (f"MLRUN_K8S_SECRET__{key.upper()}", f"MLRUN_K8S_SECRET__{key}", key):
            if name in os.environ:
                return os.environ[name]
        return default

    def get_project_param(self, key, default=None):
        """The default: projects keep no parameters here."""
        return default

    def artifact_subpath(self, *names):
        """A path in the folder of the artifacts, which is there from now on."""
        if "://" not in self.artifact_path:
            os.makedirs(self.artifact_path, exist_ok=True)
        return os.path.join(self.artifact_path, *names)

    def is_logging_worker(self):
        """Whether this process is the one of its run that logs."""
        return os.environ.get("OMPI_COMM_WORLD_RANK", "0") == "0" if state.rank is None else state.rank == 0

    def get_meta(self):
        """Who made what is logged here."""
        return {
            "name": self.name,
            "kind": "run",
            "uri": f"{self.project}/{self.uid}" + (f"-{self.iteration}" if self.iteration else ""),
        }

    def to_dict(self):
        """The run object."""
        run, report = self._job["run"], self._report
        meta = {**(run.get("metadata") or {}), "labels": self.labels, "annotations": self.annotations}
        status = {"state": report.state, "results": self.results, "artifacts": self.artifacts}
        if report.error:
            status["error"] = report.error["message"]
        return {
            "kind": "run",
            "metadata": meta,
            "spec": {**(run.get("spec") or {}), "parameters": plain(self.parameters)},
            "status": status,
        }

    def to_json(self):
        """The run object, as text."""
        return to_json(self.to_dict())

    # What is to be kept.

    def log_result(self, key, value, commit=False):
        """Keeps a value as a result."""
        self._report.results[str(key)] = plain(value)
        self._changed(commit)

    def log_results(self, results, commit=False):
        """Keeps several."""
        if not isinstance(results, dict):
            raise TypeError(f"log_results takes a dictionary, not {type(results).__name__}")
        self._report.results.update((str(key), plain(value)) for key, value in results.items())
        self._changed(commit)

    def set_label(self, key, value, replace=True):
        """Sets a label of the run."""
        if replace or key not in self.labels:
            self._report.labels[str(key)] = str(value)
            self._changed()

    def set_labels(self, labels):
        """Sets several."""
        for key, value in labels.items():
            self.set_label(key, value)

    def set_annotation(self, key, value, replace=True):
        """Sets an annotation of the run."""
        if replace or key not in self.annotations:
            self._report.annotations[str(key)] = str(value)
            self._changed()

    def set_state(self, execution_state=None, error=None, commit=True):
        """Says how the run stands; an error makes it a failed one, whatever the exit code."""
        if error or execution_state == "error":
            self._report.failed(
                {"type": "", "message": clip(str(error or "the code set the state to error"), 20_000), "traceback": ""}
            )
        elif execution_state == "completed" and not self._report.error:
            self._report.state = "completed"
        self._changed(commit)

    def commit(self, message="", completed=False):
        """Writes what is known so far."""
        if message:
            self._report.annotations["message"] = str(message)
        if completed and not self._report.error:
            self._report.state = "completed"
        self._report.write()

    def _changed(self, commit=False):
        self._report.write() if commit else self._report.changed()

    def log_artifact(self, item, body=None, local_path=None, artifact_path=None, tag="", viewer=None, target_path="",
                     src_path=None, upload=None, labels=None, format=None, db_key=None, **more):  # fmt: skip
        """Keeps a file, a folder, or an object as a file: text, bytes, a figure, a table, anything that pickles."""
        key = item if isinstance(item, str) else item.key
        body = getattr(item, "body", None) if body is None and not isinstance(item, str) else body
        source, form = local_path or src_path or getattr(item, "src_path", None), (format or "").lstrip(".")
        spec = {"viewer": viewer} if viewer else {}
        if target_path:
            path, form = target_path, form or os.path.splitext(target_path)[1].lstrip(".")
        elif body is not None:
            write, form = writer(self, key, body, form)
            path = self._write(key, form, write, artifact_path)
        else:
            path, form = self._keep(key, str(source or key), form, artifact_path)
        kind = more.pop("kind", None) or ("plot" if is_figure(body) else "dir" if os.path.isdir(path) else "artifact")
        return self._add(kind, key, path, form, {**spec, **more, "db_key": db_key}, tag, labels)

    def log_dataset(self, key, df=None, tag="", local_path=None, artifact_path=None, upload=None, labels=None, format="",
                    preview=None, stats=None, db_key=None, target_path="", extra_data=None, label_column=None, **more):  # fmt: skip
        """Keeps a table: a DataFrame of pandas or polars, an array, or what pandas makes a DataFrame of."""
        spec = {"label_column": label_column, "extra_data": plain(extra_data), "db_key": db_key}
        if df is None:
            return self.log_artifact(
                key,
                None,
                local_path,
                artifact_path,
                tag,
                None,
                target_path,
                labels=labels,
                format=format,
                kind="dataset",
                **spec,
            )
        df, form = table(df), format.lstrip(".") or os.path.splitext(key)[1].lstrip(".")
        if not form and is_frame(df):
            form = (
                "parquet" if type(df).__module__.startswith("polars") or has("pyarrow") or has("fastparquet") else "csv"
            )
        write, form = writer(self, key, df, form)
        path = target_path or self._write(key, form, write, artifact_path)
        spec.update(describe_table(df, 20 if preview is None else int(preview)))
        if stats and hasattr(df, "describe"):
            spec["stats"] = plain(df.describe().to_dict())
        spec.update((name, plain(value)) for name, value in more.items())
        return self._add("dataset", key, path, form, spec, tag, labels)

    def log_model(self, key, body=None, framework="", tag="", model_dir=None, model_file=None, algorithm=None, metrics=None,
                  parameters=None, artifact_path=None, upload=True, labels=None, inputs=None, outputs=None, feature_vector=None,
                  feature_weights=None, training_set=None, label_column=None, extra_data=None, db_key=None, **more):  # fmt: skip
        """Keeps a model: a folder with the model's file (bytes, an object that is pickled, or a file or folder of yours)
        and `model_spec.yaml`, which says what it is."""
        import shutil

        if body is None and not model_file and not model_dir:
            raise ValueError(f"log_model({key!r}) needs the model: body=, model_file= or model_dir=")
        spec = {"framework": framework, "algorithm": algorithm, "metrics": metrics, "parameters": parameters, "inputs": inputs,
                "outputs": outputs, "feature_vector": feature_vector, "label_column": label_column, "feature_weights": feature_weights, **more}  # fmt: skip
        if training_set is not None and not inputs:
            labelled = [label_column] if isinstance(label_column, str) else label_column or []
            fields = describe_table(training_set, 0).get("schema", {}).get("fields", [])
            spec["inputs"] = [field for field in fields if field["name"] not in labelled]
        spec = plain({name: value for name, value in spec.items() if value})
        spec["model_file"] = name = (
            os.path.basename(str(model_file))
            if model_file
            else f"{os.path.basename(key)}.pkl"
            if body is not None
            else ""
        )

        def write(temp):
            if body is not None:
                os.mkdir(temp)
                writer(self, key, body, "" if isinstance(body, (bytes, str)) else "pkl")[0](os.path.join(temp, name))
            elif model_dir:
                shutil.copytree(existing(key, str(model_dir)), temp)
            else:
                os.mkdir(temp)
                shutil.copyfile(existing(key, str(model_file)), os.path.join(temp, name))
            for extra, data in (extra_data or {}).items():
                if isinstance(data, bytes):
                    with open(os.path.join(temp, os.path.basename(extra)), "wb") as file:
                        file.write(data)
            with open(os.path.join(temp, "model_spec.yaml"), "w", encoding="utf-8") as file:
                file.write(to_json({"kind": "model", "metadata": {"key": key, "project": self.project}, "spec": spec}))

        path = self._write(key, "", write, artifact_path)
        return self._add("model", key, path, "", {**spec, "db_key": db_key}, tag, labels)

    def _target(self, key, form, artifact_path):
        """Where an artifact of this key goes; its folder exists afterwards."""
        folder = self._folder(key, str(artifact_path or self.artifact_path))
        parts = key.split("/")
        if not key or os.path.isabs(key) or ".." in parts or "\0" in key:
            raise ValueError(f"artifact key {key!r} must be a name, or a relative path without '..'")
        folder = os.path.join(DataItem(folder), str(self.iteration)) if self.iteration else DataItem(folder)
        ext = "" if not form or key.lower().endswith(f".{form}") else f".{form}"
        path = os.path.join(folder, *parts) + ext
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return path

    def _folder(self, key, folder):
        """The folder of this machine for artifacts that go to this folder, or URL: what lies in `.urls` is moved on."""
        if "://" not in folder or folder.startswith("file://"):
            return folder
        if "://" in str(self.artifact_path) or not self._job.get("artifact_path"):
            raise ValueError(f"artifact {key!r}: artifacts are written to folders of this machine, not to {folder}")
        for name, value in (("run.uid", self.uid), ("run.project", self.project), ("project", self.project)):
            folder = folder.replace("{{%s}}" % name, value)
        scheme, _, rest = folder.partition("://")
        return os.path.join(self.artifact_path, ".urls", scheme, rest)

    def _write(self, key, form, write, artifact_path=None):
        """Lets `write(path)` make a file or folder beside its place, then moves it there."""
        import shutil

        path = self._target(key, form, artifact_path)
        if state.rank:  # the first rank keeps it, for all
            return path
        temp = os.path.join(os.path.dirname(path), f".{os.path.basename(path)}.{os.getpid()}.tmp")
        try:
            write(temp)
            if os.path.isdir(temp) and os.path.lexists(path):
                shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)
            os.replace(temp, path)
        except BaseException:
            shutil.rmtree(temp, ignore_errors=True) if os.path.isdir(temp) else os.path.exists(temp) and os.unlink(temp)
            raise
        return path

    def _keep(self, key, source, form, artifact_path):
        """Takes over a file or folder, by a copy unless it lies with the artifacts already."""
        import shutil

        if state.rank:
            return source, form
        if source == key and not os.path.exists(source) and os.path.exists(self.artifact_subpath(key)):
            source = self.artifact_subpath(key)
        source = os.path.abspath(existing(key, source))
        ext = "" if os.path.isdir(source) else os.path.splitext(source)[1]
        form = form or ext.lstrip(".")
        root = os.path.realpath(self._folder(key, str(artifact_path or self.artifact_path)))
        if os.path.realpath(source).startswith(root + os.sep):
            return source, form
        copy = shutil.copytree if os.path.isdir(source) else shutil.copyfile
        return self._write(key, ext.lstrip("."), lambda temp: copy(source, temp), artifact_path), form

    def _add(self, kind, key, path, form, spec, tag, labels):
        meta = {"key": key, "project": self.project, "iter": self.iteration, "tree": self.tag}
        if tag:
            meta["tag"] = tag
        if labels:
            meta["labels"] = {str(name): str(value) for name, value in labels.items()}
        is_dir = os.path.isdir(path)
        known = {"target_path": path.rstrip("/") + "/" if is_dir else path, "format": form, "producer": self.get_meta()}
        if os.path.exists(path) and not state.rank:
            known["size"], known["hash"] = measure(path)
        spec = {name: plain(value) for name, value in spec.items() if value is not None and value != ""}
        spec.setdefault("db_key", f"{self.name}_{key}" if self.name else key)
        spec.update((name, value) for name, value in known.items() if value not in ("", None))
        artifact = Artifact(kind=kind, metadata=meta, spec=spec)
        if not state.rank:
            self._report.artifacts[key] = artifact
            self._changed()
        return artifact


def own_secrets():
    """The secrets that are given to this run as files."""
    folder, secrets = os.environ.get("RUNTIMES_SECRETS_DIR"), {}
    for key in os.listdir(folder) if folder else ():
        if key.startswith("."):  # a cluster keeps its own there
            continue
        with open(os.path.join(folder, key), encoding="utf-8") as file:
            secrets[key] = file.read()
    return secrets


def open_context(name, spec, with_env, project):
    """Makes the context that `get_or_create_ctx` gives out."""
    path = os.environ.get("RUNTIMES_RUN_FILE") if with_env else None
    if state.job is not None:
        state.report = state.report or Report(state.job.get("report"))
    elif path:
        with open(path, encoding="utf-8") as file:
            state.job = from_json(file.read())
        # A process that a run started logs nothing: the run itself reports.
        state.report = Report(None if "RUNTIMES_RUN_PID" in os.environ else state.job.get("report"))
        os.environ.setdefault("RUNTIMES_RUN_PID", str(os.getpid()))
        _close_at_exit()
    else:
        state.job = {"run": {"metadata": {"name": name, "project": project}, "spec": spec or {}}}
        state.report = Report()
        _close_at_exit(show=True)
    state.current = Context(state.job, state.report)
    state.current.name = state.current.name or name


def _close_at_exit(show=False):
    import atexit

    atexit.register(_close, state.report, show)


def _close(report, show):
    if report.owner != os.getpid():
        return
    if show and (report.results or report.artifacts):
        print("> results:", to_json(report.results))
        for artifact in report.artifacts.values():
            print(f"> {artifact['kind']} {artifact['metadata']['key']}: {artifact['spec']['target_path']}")
    report.close_or_die()
