"""Sends a report to the endpoint of an orchestrator elsewhere: what a run in a pod has to say, and the files that it wrote."""

import os
import time

# Where the endpoint is, and the token of this run: the names that clients of MLRun know.
URL, TOKEN = "MLRUN_DBPATH", "MLRUN_AUTH_SESSION"

TIMEOUT = 10.0  # seconds that one request may take
PATIENCE = 60.0  # seconds after which it is not tried again
LARGEST = 16 * 1024 * 1024  # bytes that an endpoint takes
PART = 8 * 1024 * 1024  # bytes of a file that are sent at once
_PAUSE, _LONGEST = 0.25, 8.0


class EndpointError(Exception):
    """The report could not be delivered. Its text says why; `temporary`: whether it may go well later."""

    def __init__(self, message, temporary=False):
        super().__init__(message)
        self.temporary = temporary


def send(report, url, project, uid, iteration=0, token="", timeout=TIMEOUT, patience=PATIENCE):
    """Sends the report, a dictionary or its JSON, and returns when it is kept. What may pass is tried again."""
    if not isinstance(report, (bytes, bytearray)):
        from .values import to_json

        report = to_json(report).encode("utf-8", "replace")
    if len(report) > LARGEST:
        raise EndpointError(
            f"the report has {len(report)} bytes, and an endpoint takes {LARGEST}: log what is large as an artifact"
        )
    # A word that comes late is told from a new one by the time at which it was said.
    address = f"{_run(url, project, uid, token)}/report?iter={int(iteration)}&sequence={time.time_ns()}"
    _keep_trying("the report of this run", address, report, token, timeout, patience)


def send_file(path, name, url, project, uid, token="", timeout=TIMEOUT, patience=PATIENCE):
    """Sends a file under this name, in parts, and returns the folder in which it is kept."""
    from urllib.parse import quote

    address = f"{_run(url, project, uid, token)}/files/{quote(name, '/')}"
    with open(path, "rb") as file:
        size, offset = os.fstat(file.fileno()).st_size, 0
        while True:
            data = file.read(min(PART, size - offset))
            if len(data) < min(PART, size - offset):
                raise EndpointError(f"{path} became shorter while it was sent")
            what = f"{address}?offset={offset}&size={size}"
            answer = _keep_trying(f"the file {path}", what, data, token, timeout, patience)
            offset += len(data)
            if offset >= size:
                from . import from_json

                return from_json(answer.decode())["folder"]


def _run(url, project, uid, token):
    """The address of the run."""
    from urllib.parse import quote

    if not url.startswith(("http://", "https://")):
        raise EndpointError(f"{URL} is no URL of an endpoint: {url!r}; it begins with http:// or https://")
    if not token or not token.isascii() or not token.isprintable():
        raise EndpointError(f"{TOKEN} holds no token: a run reports with the one that it was started with")
    return f"{url.rstrip('/')}/api/v1/projects/{quote(project, '')}/runs/{quote(uid, '')}"


def _keep_trying(what, address, body, token, timeout, patience):
    end, pause = time.monotonic() + patience, _PAUSE
    while True:
        try:
            return _put(what, address, body, token, timeout)
        except _Later as exc:
            pause = min(max(pause * 2, exc.seconds), _LONGEST)
            if time.monotonic() + pause > end:
                url = address.partition("/api/v1/")[0]
                raise EndpointError(f"{what} could not be sent to {url}: {exc}", True) from None
            time.sleep(pause)


def send_from_env(report, run, **more):
    """Sends the report of this run, an object of MLRun's form, to the endpoint that the environment names; `False`: none."""
    url = os.environ.get(URL)
    if not url or "://" not in url:
        return False
    meta = run.get("metadata") or {}
    send(report, url, meta.get("project") or "default", meta["uid"], meta.get("iteration") or 0,
         os.environ.get(TOKEN, ""), **more)  # fmt: skip
    return True


def send_artifacts(report, folder, run, **more):
    """Sends the files in the folder of artifacts, and lets the report say where they are. What cannot be sent is noted."""
    meta, kept = run.get("metadata") or {}, None
    try:
        for path, name in _files(folder):
            kept = send_file(path, name, os.environ.get(URL, ""), meta.get("project") or "default", meta["uid"],
                             os.environ.get(TOKEN, ""), **more)  # fmt: skip
    except (EndpointError, OSError) as exc:
        report.setdefault("notes", []).append(f"artifacts are gone with their pod: {exc}")
        return
    for artifact in report.get("artifacts") or () if kept else ():
        path = artifact["spec"].get("target_path") or ""
        if path.startswith(folder + os.sep):
            # Its folder is one of that machine, which may not be the one where somebody looks for it.
            artifact["spec"].update(target_path=kept + path[len(folder) :], endpoint=os.environ[URL])


def _files(folder):
    for root, _, names in sorted(os.walk(folder)):
        for name in sorted(names):
            path = os.path.join(root, name)
            # What is being written has such a name.
            if not (name.startswith(".") and name.endswith(".tmp")):
                yield path, os.path.relpath(path, folder)


class _Later(Exception):
    """It may go well another time, after so many seconds."""

    def __init__(self, message, seconds=0.0):
        super().__init__(message)
        self.seconds = seconds


def _put(what, address, body, token, timeout):
    import http.client
    import urllib.error
    import urllib.request

    class Stay(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_):
            return None  # the token is for this endpoint alone

    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    request = urllib.request.Request(address, body, headers, method="PUT")
    try:
        with urllib.request.build_opener(Stay).open(request, timeout=timeout) as answer:
            return answer.read(64 * 1024)
    except urllib.error.HTTPError as exc:
        said = f"HTTP {exc.code}: {_detail(exc)}"
        if exc.code in (408, 425, 429) or exc.code >= 500:
            raise _Later(said, _seconds(exc.headers.get("Retry-After"))) from None
        raise EndpointError(f"{what} was refused: {said}") from None
    except urllib.error.URLError as exc:
        raise _Later(exc.reason) from None
    except (OSError, http.client.HTTPException) as exc:
        raise _Later(str(exc) or type(exc).__name__) from None


def _detail(exc):
    from . import from_json

    try:
        text = exc.read(64 * 1024).decode("utf-8", "replace")
    except Exception:  # the status says enough
        return exc.reason
    try:
        return from_json(text)["detail"]
    except Exception:
        return text[:500] or exc.reason


def _seconds(text):
    try:
        return float(text)
    except (TypeError, ValueError):
        return 0.0
