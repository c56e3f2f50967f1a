"""How the tests reach the agent: through the doors that a target uses."""

import array
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import unittest

AGENT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BOOT = "import sys;sys.path[0]=sys.argv.pop(1);import runtimes;runtimes.main()"


def has(module):
    """Whether this interpreter has a module; says what is skipped without it."""
    import importlib.util

    found = importlib.util.find_spec(module) is not None
    if not found:
        print(f"skipped without {module}: its tests")
    return found


def interruptible():
    """As at a terminal: what a shell starts in the background ignores SIGINT, and Python with it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Case(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="agent-")
        self.addCleanup(folder.cleanup)
        self.dir = os.path.realpath(folder.name)

    def path(self, *names):
        return os.path.join(self.dir, *names)

    def write(self, name, text):
        mode = {"mode": "wb"} if isinstance(text, bytes) else {"mode": "w", "encoding": "utf-8"}
        with open(self.path(name), **mode) as file:
            file.write(text if isinstance(text, bytes) else textwrap.dedent(text))
        return self.path(name)

    def job(self, code, handler=None, spec=None, name="code.py", **more):
        meta = {
            "uid": "a1b2",
            "name": "train",
            "project": "default",
            "iteration": 0,
            "labels": {"owner": "me"},
            "annotations": {},
        }
        path = self.write(name, code) if code is not None else self.path(name)
        return {
            "run": {"metadata": meta, "spec": spec or {}, "status": {"state": "running"}},
            "code": {"path": path}, "handler": handler, "args": [], "pythonpath": [], "report": self.path("report.json"),
            "artifact_path": self.path("artifacts"), "base_dir": self.dir, "meta_tmpfile": None, **more,
        }  # fmt: skip

    def start(self, job, env=None, flags=()):
        """Runs a job to its end: (exit code, report or None); what was printed is kept in self.out and self.err."""
        with open(self.path("run.json"), "w", encoding="utf-8") as file:
            json.dump(job, file)
        done = subprocess.run(
            [sys.executable, *flags, "-c", BOOT, AGENT, "run", self.path("run.json")],
            env={**os.environ, **(env or {})}, cwd=self.dir, capture_output=True, text=True, timeout=120,
            preexec_fn=interruptible,
        )  # fmt: skip
        self.out, self.err = done.stdout, done.stderr
        return done.returncode, self.report()

    def report(self, name="report.json"):
        if not os.path.exists(self.path(name)):
            return None
        with open(self.path(name), encoding="utf-8") as file:
            return json.load(file)

    def call(self, code, parameters=None, returns=None, handler="f", **more):
        """Runs a handler that must end well; returns its report."""
        spec = {"parameters": parameters or {}, "returns": returns or [], "inputs": more.pop("inputs", {})}
        more["inputs"] = more.pop("fetched", {})
        status, report = self.start(self.job(code, handler, spec, **more))
        self.assertEqual((status, report["state"]), (0, "completed"), self.err)
        return report

    def refuse(self, code, parameters=None, returns=None, handler="f", **more):
        """Runs a handler that must fail; returns its error."""
        spec = {"parameters": parameters or {}, "returns": returns or [], "inputs": more.pop("inputs", {})}
        status, report = self.start(self.job(code, handler, spec, **more))
        self.assertEqual((status, report["state"]), (1, "error"))
        return report["error"]

    def artifact(self, report, key):
        return next(a for a in report["artifacts"] if a["metadata"]["key"] == key)

    def read(self, path):
        with open(path, "rb") as file:
            return file.read()


class Template:
    """A template's other end, as a target holds it."""

    def __init__(self, case):
        self.case = case
        self.sock, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        command = [sys.executable, "-c", BOOT, AGENT, "template"]
        with open(case.path("template.log"), "wb") as log, theirs:
            self.process = subprocess.Popen(command, stdin=theirs, cwd=case.dir, stdout=log, stderr=log)
        self.buffer, self.states = b"", {}
        case.addCleanup(self.close)

    def close(self):
        self.sock.close()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def send(self, *frames, fds=(), split=False):
        data = b"".join(len(frame).to_bytes(4, "big") + frame for frame in frames)
        first = data[:3] if split else data
        self.sock.sendmsg([first], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else [])
        if split:
            for byte in data[3:]:
                self.sock.send(bytes([byte]))

    def receive(self, timeout=60):
        """The next line; `None` at the end."""
        while b"\n" not in self.buffer:
            if not select.select([self.sock], [], [], timeout)[0]:
                raise TimeoutError("no line")
            data = self.sock.recv(65536)
            if not data:
                return None
            self.buffer += data
        line, _, self.buffer = self.buffer.partition(b"\n")
        return line.decode()

    def load(self, code, handler="f", **more):
        """Loads the code; returns the error, or `None`."""
        job = self.case.job(code, handler, **more)
        keys = ("code", "handler", "pythonpath", "args", "base_dir")
        self.send(b"L" + json.dumps({key: job[key] for key in keys}).encode())
        answer = self.receive()
        return None if answer == "ready" else json.loads(answer[len("failed ") :])

    def frame(self, name, spec=None, mode="fork", env=None, workdir=None):
        run = {**self.case.job(None)["run"], "spec": spec or {}}
        told = {"run": run, "artifact_path": self.case.path(name), "report": None, "meta_tmpfile": (env or {}).get("MLRUN_META_TMPFILE")}
        given = "1" if spec and (spec.get("parameters") or spec.get("inputs")) else ""
        env = {"WHO": name, "RUNTIMES_RUN_FILE": self.case.path(name + ".run.json"), **(env or {})}
        fields = [workdir or self.case.dir, given, json.dumps(told), *(f"{key}={value}" for key, value in env.items())]
        return {"fork": b"F", "reuse": b"R"}[mode] + named(name) + "\0".join(fields).encode()

    def cancel(self, name):
        self.send(b"C" + named(name))

    def fds(self, name):
        """Descriptors for a run: a pipe for its state, files for what it prints."""
        self.states[name], state = os.pipe()
        flags = os.O_WRONLY | os.O_CREAT
        return [state, os.open(self.case.path(name + ".out"), flags), os.open(self.case.path(name + ".err"), flags)]

    def start(self, name, *args, **more):
        fds = self.fds(name)
        self.send(self.frame(name, *args, **more), fds=fds)
        for fd in fds:
            os.close(fd)

    def pid(self, name):
        """The process id that a run writes first."""
        line = b""
        while not line.endswith(b"\n"):
            line += os.read(self.states[name], 1)
        return int(line.split()[1])

    def until_over(self, *names):
        """How these runs ended, as the template says it."""
        ended = {}
        while set(names) - set(ended):
            name, how = self.receive().split(" ", 1)
            ended[name] = how
        return ended

    def state(self, name):
        """All that was written to a run's state but its reports, to its end; these are kept in self.said."""
        with os.fdopen(self.states.pop(name), "rb") as file:
            lines = file.read().decode().splitlines()
        self.said = [json.loads(line[len("report ") :]) for line in lines if line.startswith("report ")]
        return [line for line in lines if not line.startswith("report ")]

    def report(self, name):
        """The last report of a run that is over; `None` where it said nothing."""
        self.state(name)
        return self.said[-1] if self.said else None


def named(name):
    return bytes([len(name)]) + name.encode()
