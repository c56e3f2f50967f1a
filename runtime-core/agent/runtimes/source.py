"""Fetches the code of a run that is kept elsewhere: an archive (a file, or by http and https), or a commit of a
repository, with the image's `git`. What is unpacked stays in its folder and within its limits."""

import os
import stat

ARCHIVE = 4 << 30  # bytes of an archive
BYTES = 16 << 30  # bytes of all its files
ENTRIES = 200_000
TIMEOUT = 60  # seconds without a byte
TRIES = 4


class SourceError(Exception):
    pass


def prepare(job, folder):
    """Fetches `job["source"]` ({"address", "target", "workdir"}), and lets the job find its code there."""
    source = job.pop("source")
    address, target = source["address"], source.get("target")
    root = os.path.join(os.getcwd(), target) if target else os.path.join(folder, "source")
    try:
        root = fetch(address, root, folder)
        place(job, root, source)
    except OSError as exc:
        raise SourceError(f"the source {address} cannot be put into {root}: {exc}") from None


def place(job, root, source):
    """Paths are read against `workdir`, or against the source's root where the code lies there."""
    workdir = os.path.join(root, source.get("workdir") or "")
    try:
        os.chdir(workdir)
    except OSError as exc:
        raise SourceError(f"spec.workdir: there is no folder {workdir} in the source: {exc.strerror}") from None
    for kind in ("code", "script"):
        path = job.get(kind, {}).get("path", "")
        if path and not os.path.exists(path):
            inside = os.path.join(root, path)
            if not os.path.exists(inside):
                raise SourceError(f"spec.command: there is no file {path} in the source, neither in {workdir}")
            job[kind]["path"] = inside
    here = os.getcwd()
    folders = [here] if os.path.realpath(root) == os.path.realpath(here) else [here, root]
    job["pythonpath"] = [*(os.path.join(here, folder) for folder in job.get("pythonpath", ())), *folders]
    job["base_dir"] = here
    # For programs, and for what the code starts.
    others = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([*folders, *([others] if others else [])])


def fetch(address, root, folder):
    """Puts what lies at the address below `root`; returns the folder that was meant."""
    url, _, fragment = address.partition("#")
    repository = _repository(url)
    if repository:
        reference, _, path = fragment.partition(":")
        os.makedirs(root, exist_ok=True)
        commit = _git(repository, reference, root, folder)
        _told(f"{address} is at commit {commit}")
        return os.path.join(root, path.strip("/"))
    if url.startswith("file://"):
        url = url[len("file://") :]
    if url.startswith("/"):
        if os.path.isdir(url):
            return url
        _unpack(url, address, root)
        return root
    path = os.path.join(folder, "archive")
    size = _download(url, path)
    _unpack(path, address, root)
    os.remove(path)
    _told(f"{address} has {size} bytes")
    return root


def _told(what):
    import sys

    sys.stderr.write(f"runtimes: the source {what}\n")


def _repository(url):
    """The URL for `git`, where that is one of a repository. `git://` is fetched by https, as MLRun does."""
    scheme, there, rest = url.partition("://")
    if not there:
        host, colon, path = url.partition(":")
        return url if colon and path and "@" in host and "/" not in host else None
    if scheme == "git":
        return f"https://{rest}"
    if scheme.startswith("git+"):
        return url[len("git+") :]
    return url if scheme == "ssh" or rest.rstrip("/").endswith(".git") else None


def _git(url, reference, root, folder):
    import subprocess

    env = {**os.environ, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C", **_credentials(folder)}

    def git(*args):
        command = ["git", "-C", root, "-c", "core.hooksPath=/dev/null", "-c", "protocol.ext.allow=never", *args]
        return subprocess.run(command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True)

    def must(*args):
        done = git(*args)
        if done.returncode:
            said = [line for line in done.stderr.strip().splitlines() if line][-3:]
            what = f" {reference!r}" if reference else ""
            raise SourceError(
                f"git cannot fetch{what} from {url}: {' '.join(said)}; where it is private, set GIT_TOKEN "
                "(or GIT_USERNAME and GIT_PASSWORD): `runtimes secret set GIT_TOKEN`"
            )
        return done.stdout

    try:
        must("init", "-q")
    except FileNotFoundError:
        raise SourceError(
            "the image has no `git`: take one that has it, or name an archive (https://….tar.gz)"
        ) from None
    # Servers need not give a commit by its name, and none gives the beginning of one.
    if git("fetch", "-q", "--depth", "1", "--", url, reference or "HEAD").returncode:
        must("fetch", "-q", "--tags", "--", url, "+refs/heads/*:refs/remotes/origin/*")
        known = git("rev-parse", "-q", "--verify", f"refs/remotes/origin/{reference}^{{commit}}").stdout.strip()
        must("checkout", "-q", "-f", "--detach", known or reference)
    else:
        must("checkout", "-q", "-f", "--detach", "FETCH_HEAD")
    return must("rev-parse", "HEAD").strip()


def _credentials(folder):
    """Variables by which `git` asks a program for the user and the password, which are in variables, too."""
    from .context import own_secrets

    given = {**own_secrets(), **os.environ}
    user, password = given.get("GIT_USERNAME") or "oauth2", given.get("GIT_TOKEN") or given.get("GIT_PASSWORD")
    if not password:
        return {}
    path = os.path.join(folder, "askpass")
    with open(path, "w") as file:
        file.write('#!/bin/sh\ncase "$1" in Username*) echo "$GIT_ASKED_USER";; *) echo "$GIT_ASKED_PASSWORD";; esac\n')
    os.chmod(path, 0o700)
    return {"GIT_ASKPASS": path, "GIT_ASKED_USER": user, "GIT_ASKED_PASSWORD": password}


def _download(url, path):
    import http.client
    import time
    import urllib.error
    import urllib.request

    for attempt in range(TRIES):
        try:
            with urllib.request.urlopen(url, timeout=TIMEOUT) as answer, open(path, "wb") as file:
                size, wanted = _copy(answer, file, ARCHIVE, url), answer.headers.get("Content-Length")
            if wanted is None or int(wanted) == size:
                return size
            why = f"it ended after {size} of {wanted} bytes"
        except urllib.error.HTTPError as exc:
            why = f"HTTP {exc.code} {exc.reason}"
            if exc.code < 500 and exc.code not in (408, 425, 429):
                raise SourceError(f"the source {url} cannot be fetched: {why}") from None
        except urllib.error.URLError as exc:
            why = exc.reason
        except (OSError, http.client.HTTPException) as exc:
            why = str(exc) or type(exc).__name__
        if attempt + 1 < TRIES:
            time.sleep(2**attempt)
    raise SourceError(f"the source {url} cannot be fetched: {why}")


def _copy(source, file, most, name):
    size = 0
    while True:
        data = source.read(1 << 18)
        if not data:
            return size
        size += len(data)
        if size > most:
            raise SourceError(f"{name} has more than {most >> 20} MiB")
        file.write(data)


class _Folder:
    """Where an archive is unpacked: nothing is written elsewhere, and not more than it may."""

    def __init__(self, root, name):
        os.makedirs(root, exist_ok=True)
        self.root, self.name, self.left, self.entries = os.path.realpath(root), name, BYTES, 0

    def _place(self, name):
        """The path of an entry, its folder made."""
        self.entries += 1
        if self.entries > ENTRIES:
            raise SourceError(f"{self.name} has more than {ENTRIES} entries")
        path = os.path.normpath(os.path.join(self.root, name))
        if os.path.isabs(name) or not self._holds(path) or not self._holds(os.path.realpath(os.path.dirname(path))):
            raise SourceError(f"{self.name} would write to {name!r}, outside of its folder")
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return path

    def _holds(self, path):
        return path == self.root or path.startswith(self.root + os.sep)

    def folder(self, name):
        os.makedirs(self._place(name), exist_ok=True)

    def file(self, name, mode, source):
        path = self._place(name)
        if os.path.lexists(path):
            os.remove(path)
        with open(path, "wb") as file:
            self.left -= _copy(source, file, self.left, self.name)
        os.chmod(path, 0o755 if mode & 0o111 else 0o644)

    def link(self, name, to):
        path = self._place(name)
        end = os.path.realpath(os.path.join(os.path.dirname(path), to))
        if os.path.isabs(to) or not self._holds(end):
            raise SourceError(f"{self.name}: the link {name!r} leaves its folder")
        if os.path.lexists(path):
            os.remove(path)
        os.symlink(to, path)


def _unpack(path, name, root):
    import tarfile
    import zipfile
    import zlib

    folder = _Folder(root, name)
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                for entry in archive.infolist():
                    _unzip(archive, entry, folder)
            return
        with tarfile.open(path) as archive:
            for entry in archive:
                _untar(archive, entry, folder)
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as exc:
        raise SourceError(f"{name} is no archive that can be unpacked (.tar.gz, .tgz, .tar, .zip): {exc}") from None


def _unzip(archive, entry, folder):
    mode = entry.external_attr >> 16
    if entry.is_dir():
        folder.folder(entry.filename)
    elif stat.S_ISLNK(mode):
        if entry.file_size > 4096:
            raise SourceError(f"{folder.name}: the link {entry.filename!r} is too long")
        folder.link(entry.filename, archive.read(entry).decode("utf-8", "surrogateescape"))
    else:
        with archive.open(entry) as source:
            folder.file(entry.filename, mode, source)


def _untar(archive, entry, folder):
    if entry.isdir():
        folder.folder(entry.name)
    elif entry.issym():
        folder.link(entry.name, entry.linkname)
    elif entry.isfile() or entry.islnk():
        # A hard link is the file that it is another name of, which lies in the archive.
        try:
            source = archive.extractfile(entry)
        except KeyError:
            source = None
        if source is None:
            raise SourceError(f"{folder.name}: {entry.name!r} is a link to what is not in the archive")
        folder.file(entry.name, entry.mode, source)
    else:
        raise SourceError(f"{folder.name}: {entry.name!r} is neither a file, a folder nor a link")
