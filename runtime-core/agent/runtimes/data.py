"""Inputs."""

import os

from .report import InputError


class DataItem(str):
    """An input: the text is the absolute path of a file, or the URL, so it goes wherever a path goes."""

    key = url = ""

    def __new__(cls, url, key="", folder=None, local=None):
        path = local or url
        if not local and url.startswith("file://"):
            from urllib.request import url2pathname

            path = url2pathname(url[7:])
        if "://" not in path:
            path = os.path.normpath(os.path.join(folder or os.getcwd(), os.path.expanduser(path)))
        self = super().__new__(cls, path)
        self.key, self.url, self._local = key, url, None if "://" in path else path
        return self

    @property
    def kind(self):
        """`file`, or the URL's scheme."""
        return self.split("://")[0] if "://" in self else "file"

    @property
    def suffix(self):
        """The extension, with its dot."""
        return os.path.splitext(self.split("?")[0])[1]

    def check(self):
        """Raises where it is clear before reading that it cannot be read."""
        name = f"input {self.key!r}" if self.key else "this input"
        if self.kind in ("http", "https"):
            return
        if self.kind != "file":
            raise InputError(
                f"{name}: {self.url} cannot be read here; give a path, file:// or http(s)://, or name it as an input of"
                " the run: those are fetched first"
            )
        if not os.path.exists(self):
            raise InputError(f"{name}: there is no file {str(self)}")

    def local(self):
        """The path of a local file with the content; downloads it the first time."""
        if self._local is None:
            self.check()
            import shutil
            import tempfile
            import urllib.request

            fd, path = tempfile.mkstemp(self.suffix, "input-")
            try:
                with os.fdopen(fd, "wb") as out, urllib.request.urlopen(str(self), timeout=60) as response:
                    shutil.copyfileobj(response, out)
            except OSError as exc:
                os.unlink(path)
                raise InputError(f"input {self.key!r}: {self.url} could not be read: {exc}") from exc
            self._local = path
        return self._local

    def get(self, size=None, offset=0, encoding=None):
        """The content: bytes, or text where an encoding is given."""
        with open(self.local(), "rb") as file:
            file.seek(offset)
            data = file.read(-1 if size is None else size)
        return data.decode(encoding) if encoding else data

    def open(self, mode="r", **kwargs):
        """An open file."""
        return open(self.local(), mode, **kwargs)

    def download(self, target_path):
        """Copies the content to a file."""
        import shutil

        shutil.copyfile(self.local(), target_path)

    def ls(self):
        """The names in a folder."""
        return sorted(os.listdir(self.local()))

    listdir = ls

    def as_df(self, columns=None, df_module=None, format="", **kwargs):
        """The content as a pandas.DataFrame, read by its extension or by `format`."""
        what = (format or self.suffix.lstrip(".")).lower()
        compressed = what in ("gz", "bz2", "zip", "xz", "zst")
        if compressed:
            what = os.path.splitext(os.path.splitext(self.split("?")[0])[0])[1].lstrip(".").lower()
        reader = _READERS.get(what)
        if not reader:
            raise InputError(
                f"input {self.key!r}: a table cannot be read from {what or 'no extension'!r}; known: {', '.join(_READERS)}"
            )
        if df_module is None:
            try:
                import pandas as df_module
            except ImportError as exc:
                raise InputError(
                    f"input {self.key!r}: a DataFrame was asked for, but pandas is not installed; add it to the requirements"
                ) from exc
        if what == "tsv":
            kwargs.setdefault("sep", "\t")
        if what == "jsonl":
            kwargs.setdefault("lines", True)
        if columns is not None:
            kwargs["columns" if reader in ("read_parquet", "read_feather") else "usecols"] = columns
        return getattr(df_module, reader)(self.local(), **kwargs)

    def show(self):
        """Prints it."""
        print(self.get(encoding="utf-8"))


_READERS = {
    "csv": "read_csv", "tsv": "read_csv", "txt": "read_csv", "json": "read_json", "jsonl": "read_json",
    "parquet": "read_parquet", "pq": "read_parquet", "feather": "read_feather", "xlsx": "read_excel",
    "xls": "read_excel", "pkl": "read_pickle", "html": "read_html", "xml": "read_xml",
}  # fmt: skip


def input_of(job, key, url):
    spec = job["run"].get("spec") or {}
    base = job.get("base_dir") or os.getcwd()
    fetched = (job.get("inputs") or {}).get(key) if url == (spec.get("inputs") or {}).get(key) else None
    return DataItem(url, key, os.path.join(base, spec.get("input_path") or ""), fetched)
