"""How things become files."""

import os
import sys

from .values import plain, to_json


class Artifact(dict):
    """What was logged; what its `metadata` and `spec` hold can be asked for as attributes."""

    def __getattr__(self, name):
        for part in (self, self["metadata"], self["spec"]):
            if name in part:
                return part[name]
        raise AttributeError(name)

    @property
    def uri(self):
        """Where it is."""
        return self["spec"]["target_path"]


def is_a(value, module, *names):
    """Whether the value's class, or one that it derives from, is one of these, without importing anything."""
    return any(c.__name__ in names and c.__module__.split(".")[0] == module for c in type(value).__mro__)


def is_frame(value):
    return is_a(value, "pandas", "DataFrame") or is_a(value, "polars", "DataFrame")


def is_figure(value):
    return callable(getattr(value, "savefig", None)) or is_a(value, "plotly", "BaseFigure")


def has(module):
    from importlib.util import find_spec

    return find_spec(module) is not None


def existing(key, path):
    if not os.path.exists(path):
        raise FileNotFoundError(f"artifact {key!r}: there is no file {os.path.abspath(path)}")
    return path


def measure(path):
    """Bytes and SHA-1 of a file; of a folder, all bytes and no hash."""
    if os.path.isdir(path):
        return sum(os.path.getsize(os.path.join(top, name)) for top, _, names in os.walk(path) for name in names), None
    import hashlib

    digest = hashlib.sha1(usedforsecurity=False)
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
        return file.tell(), digest.hexdigest()


def writer(ctx, key, body, form):
    """How a body is written to a path, and the format that it gets."""
    if isinstance(body, (str, bytes, bytearray)):
        data = body.encode("utf-8", "replace") if isinstance(body, str) else body
        return _bytes_writer(data), form or os.path.splitext(key)[1].lstrip(".")
    if callable(getattr(body, "savefig", None)):
        return lambda path: body.savefig(path, format=form or "png"), form or "png"
    if is_a(body, "plotly", "BaseFigure"):
        return _bytes_writer(body.to_html().encode()), "html"
    if is_frame(body):
        return _frame_writer(body, form or "csv"), form or "csv"
    if is_a(body, "numpy", "ndarray") and form in ("", "npy"):
        numpy = sys.modules["numpy"]

        def save(path):
            with open(path, "wb") as file:
                numpy.save(file, body)

        return save, "npy"
    if form == "json" or (not form and isinstance(body, (dict, list, tuple))):
        return _bytes_writer(to_json(plain(body)).encode("utf-8", "replace")), "json"
    if form not in ("", "pkl", "pickle"):
        raise ValueError(f"artifact {key!r}: a {type(body).__name__} cannot be written as {form}")
    if not form:
        ctx._report.note(f"artifact {key!r}: a {type(body).__name__} was kept as a pickle")

    def dump(path):
        import pickle

        with open(path, "wb") as file:
            pickle.dump(body, file, protocol=4)

    return dump, form or "pkl"


def _bytes_writer(data):
    def write(path):
        with open(path, "wb") as file:
            file.write(data)

    return write


def _frame_writer(df, form):
    polars = is_a(df, "polars", "DataFrame")
    names = {"csv": "csv", "tsv": "csv", "parquet": "parquet", "pq": "parquet", "json": "json", "feather": "ipc" if polars else "feather",
             "xlsx": "excel", "pkl": "pickle", "html": "html"}  # fmt: skip
    method = getattr(df, ("write_" if polars else "to_") + names.get(form, "?"), None)
    if method is None:
        raise ValueError(f"a table cannot be written as {form!r}; known: {', '.join(names)}")
    options = {"separator" if polars else "sep": "\t"} if form == "tsv" else {}
    if not polars and form in ("csv", "tsv"):
        # The numbers of the rows are not data; an index that somebody set is.
        options["index"] = type(df.index).__name__ != "RangeIndex" or df.index.name is not None
    if polars or form in ("parquet", "pq", "feather", "pkl"):
        return lambda path: method(path, **options)

    def write(path):
        mode = {"mode": "wb"} if form == "xlsx" else {"mode": "w", "encoding": "utf-8", "newline": ""}
        with open(path, **mode) as file:
            method(file, **options)

    return write


def table(value):
    """The value as a table: as it is, or as pandas sees it."""
    if is_frame(value) or is_a(value, "numpy", "ndarray"):
        return value
    if is_a(value, "pandas", "Series"):
        return value.to_frame()
    try:
        import pandas
    except ImportError:
        return value  # kept as JSON
    return pandas.DataFrame(value)


def describe_table(df, rows):
    """What a reader wants to know of a table without opening it."""
    if not hasattr(df, "columns"):
        return {"length": len(df)} if hasattr(df, "__len__") else {}
    columns = list(df.columns)
    types = df.dtypes if isinstance(df.dtypes, list) else df.dtypes.tolist()
    fields = [{"name": str(name), "type": str(kind)} for name, kind in zip(columns, types)]
    head = df.head(rows)
    values = head.rows() if hasattr(head, "rows") else head.values.tolist()
    shown = [[plain(cell) for cell in row[:100]] for row in values]
    return {
        "header": [str(name) for name in columns],
        "length": len(df),
        "schema": {"fields": fields},
        "preview": shown,
    }
