"""The template: loads the code once, then makes runs of it."""

import os
import sys

from . import from_json, prepare, state, watch_mlrun
from .report import HandlerError, begin, describe_error, flush, warn
from .run import Loaded, run_handler
from .values import to_json


# Audit events of code that starts processes.
SPAWNS = {"subprocess.Popen", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.system", "pty.spawn"}


class Forked(dict):
    """The start of a forked run, as yet unread: the child reads it, for each object that the template makes costs it
    a copied page at the next fork."""

    HEAD = '{"start":{"id":"'
    MODE = '","mode":"fork",'

    @classmethod
    def of(cls, text):
        end = text.find('"', len(cls.HEAD))
        if not text.startswith(cls.HEAD) or not text.startswith(cls.MODE, end):
            return None
        return {"start": cls(id=text[len(cls.HEAD) : end], mode="fork", text=text)}

    def read(self):
        return from_json(self["text"])["start"]


class Template:
    """Loads the code once, then makes runs of it."""

    def __init__(self):
        import _signal as signal  # without the enumerations around it, whose pages every child would copy
        import select
        import socket

        # Descriptor 0 becomes /dev/null: the user's code must not read the frames.
        self.sock = socket.socket(fileno=os.dup(0))
        null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        os.dup2(null, 0)
        os.close(null)
        self.signal, self.poll = signal, select.poll()
        self.buffer, self.fds, self.open = bytearray(), [], True
        self.children = {}  # pid -> (id, state descriptor)
        self.flags = getattr(socket, "MSG_CMSG_CLOEXEC", 0)
        self.space = socket.CMSG_SPACE(253 * 4)
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    # Frames.

    def receive(self):
        """Reads what is there, with the descriptors that come along."""
        data, ancillary, _, _ = self.sock.recvmsg(1 << 14, self.space, self.flags)
        for _, _, payload in ancillary:
            fds = memoryview(payload[: len(payload) // 4 * 4]).cast("i")
            self.fds.extend(fds)
            if not self.flags:
                for fd in fds:
                    os.set_inheritable(fd, False)
        self.buffer += data
        self.open = bool(data)

    def frames(self):
        """The frames that have arrived whole."""
        while len(self.buffer) >= 4:
            end = 4 + int.from_bytes(self.buffer[:4], "big")
            if len(self.buffer) < end:
                return
            text = self.buffer[4:end].decode()
            del self.buffer[:end]
            yield Forked.of(text) or from_json(text)

    def send(self, kind, body):
        self.say(to_json({kind: body}).encode("utf-8", "replace"))

    def say(self, data):
        try:
            self.sock.sendall(len(data).to_bytes(4, "big") + data)
        except OSError:
            self.open = False  # nobody listens; what was begun is still finished

    # Life.

    def main(self):
        load = None
        while load is None and self.open:
            self.receive()
            for frame in self.frames():
                load = frame["load"]
                break
        if load is None:
            return 0
        try:
            if not load.get("handler"):
                raise HandlerError("a template needs a handler; whole programs run in a process of their own")
            begin({"run": {}, **load})
            prepare(load)
            watch_mlrun()
            self.loaded = Loaded(load)
            self.loaded.call(load["handler"])
        except BaseException as exc:
            error = describe_error(exc)
            warn(error["traceback"])
            self.send("failed", error)
            return 1
        self.unsaid = None  # the state descriptor of a run that has not said that it started processes
        sys.addaudithook(self.audit)
        self.freeze()
        self.send("ready", {"pid": os.getpid()})
        self.serve()
        return 0

    def freeze(self):
        """Puts all that is loaded out of the collector's way, so that children share it as it is."""
        import gc

        __import__("atexit")  # so that children need not
        to_json({}), from_json("{}")
        gc.collect()
        gc.freeze()

    def serve(self):
        import select

        wake, self.wake = os.pipe()
        for fd in (wake, self.wake):
            os.set_blocking(fd, False)
        self.signal.signal(self.signal.SIGCHLD, lambda *_: None)
        self.signal.set_wakeup_fd(self.wake, warn_on_full_buffer=False)
        self.poll.register(wake, select.POLLIN)
        self.poll.register(self.sock.fileno(), select.POLLIN)
        listening = True
        for frame in self.frames():  # what came along with "load"
            self.start(frame["start"])
        while self.open or self.children:
            if listening and not self.open:
                self.poll.unregister(self.sock.fileno())
                listening = False
            ready = [fd for fd, _ in self.poll.poll()]
            if wake in ready:
                os.read(wake, 4096)
                self.reap()
            if self.sock.fileno() in ready and self.open:
                try:
                    self.receive()
                except OSError:
                    self.open = False
                for frame in self.frames():
                    self.start(frame["start"])

    def start(self, start):
        fds, self.fds = self.fds[:3], self.fds[3:]
        if len(fds) != 3:
            raise RuntimeError(
                f"start {start.get('id')!r} came with {len(fds)} descriptors; state, stdout and stderr are needed"
            )
        (self.reuse if start.get("mode") == "reuse" else self.fork)(start, *fds)

    def fork(self, start, record, out, err):
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            self.child(start, record, out, err)
        os.close(out)
        os.close(err)
        self.children[pid] = (start["id"], record)
        self.say(b'{"started": {"id": "%s", "pid": %d}}' % (start["id"].encode(), pid))

    def child(self, start, record, out, err):
        """The run, in a process of its own. Does not return."""
        code = 1
        try:
            if isinstance(start, Forked):
                start = start.read()
            os.setpgid(0, 0)
            pid = os.getpid()
            os.write(record, b"pid %d\n" % pid)
            signal = self.signal
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.dup2(out, 1)
            os.dup2(err, 2)
            os.close(out)
            os.close(err)
            os.close(self.sock.fileno())
            os.close(self.wake)
            for _, other in self.children.values():
                os.close(other)  # else its end would not be seen while this run goes on
            for fd in self.fds:
                os.close(fd)
            self.enter(start, pid)
            if "numpy.random" in sys.modules:
                sys.modules["numpy.random"].seed()  # `random` does so by itself
            atexit = sys.modules["atexit"]
            atexit._clear()  # what the template registered is the template's
            self.unsaid = record
            code = self.run(start, record)
            threading = sys.modules.get("threading")
            if threading is not None and threading.active_count() > 1:
                threading._shutdown()
            if atexit._ncallbacks():
                atexit._run_exitfuncs()
            if not state.report.close():
                code = code or 1
        except BaseException as exc:
            warn(describe_error(exc)["traceback"])
            code = code or 1
        finally:
            flush()
            os._exit(code)

    def audit(self, event, args):
        """Says that the run starts processes: some may leave its process group, and are looked for.

        It is said at once: a run that becomes another program, or ends by `os._exit`, has no later.
        """
        if event in SPAWNS and self.unsaid is not None:
            record, self.unsaid = self.unsaid, None
            try:
                os.write(record, b"spawned 1\n")
            except OSError:
                pass  # the code has closed what it does not know

    def enter(self, start, pid):
        """The run's environment and folder. Only what differs is set: each page that is touched is copied."""
        env, known = start.get("env") or {}, os.environ._data
        for key, value in (*env.items(), ("RUNTIMES_RUN_PID", str(pid))):
            key, value = key.encode("utf-8", "surrogateescape"), value.encode("utf-8", "surrogateescape")
            if known.get(key) != value:
                known[key] = value
                os.putenv(key, value)
        if start.get("workdir"):
            os.chdir(start["workdir"])

    def run(self, start, record):
        job = start["run"]
        if job.get("args"):
            sys.argv[1:] = job["args"]
        return run_handler(job, self.loaded, record)

    def reuse(self, start, record, out, err):
        """The run, right here; afterwards everything is as it was but for what the code keeps in memory."""
        pid = os.getpid()
        os.write(record, b"pid %d\n" % pid)
        self.send("started", {"id": start["id"], "pid": pid})
        streams, argv, path, cwd = (sys.stdout, sys.stderr), sys.argv[:], sys.path[:], os.getcwd()
        env = dict(os.environ._data)
        saved = []
        for stream, number, fd in ((sys.stdout, 1, out), (sys.stderr, 2, err)):
            stream.flush()
            saved.append(os.dup(number))
            os.dup2(fd, number)
            os.close(fd)
        code = 1
        self.unsaid = record
        try:
            self.enter(start, pid)
            code = self.run(start, record)
        except BaseException as exc:
            warn(describe_error(exc)["traceback"])
        self.unsaid = None
        flush()
        sys.stdout, sys.stderr = streams
        flush()
        for number, fd in zip((1, 2), saved):
            os.dup2(fd, number)
            os.close(fd)
        sys.argv[:], sys.path[:] = argv, path
        os.chdir(cwd)
        known = os.environ._data
        if known != env:
            for key in known.keys() - env.keys():
                os.unsetenv(key)
            for key, value in env.items():
                if known.get(key) != value:
                    os.putenv(key, value)
            os.environ._data.clear()
            os.environ._data.update(env)
        self.signal.set_wakeup_fd(self.wake, warn_on_full_buffer=False)  # asyncio takes it away
        os.write(record, b"exit %d\n" % code)
        os.close(record)
        self.send("exited", {"id": start["id"], "code": code, "signal": None})

    def ended(self):
        """The children of runs that ended: these alone, for the user's code may have its own."""
        peek = os.WEXITED | os.WNOHANG | os.WNOWAIT
        while self.children:
            found = os.waitid(os.P_ALL, 0, peek)
            if found is None:
                return
            if found.si_pid not in self.children:  # it would hide those behind it
                yield from [pid for pid in self.children if os.waitid(os.P_PID, pid, peek)]
                return
            yield found.si_pid

    def reap(self):
        """Records the end of what ended."""
        for pid in self.ended():
            _, status = os.waitpid(pid, 0)
            name, record = self.children.pop(pid)
            signal = os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
            code = None if signal else os.WEXITSTATUS(status)
            try:
                os.write(record, b"signal %d\n" % signal if signal else b"exit %d\n" % code)
            except OSError:
                pass  # nobody reads it any more
            os.close(record)
            said = (name.encode(), b"null" if signal else b"%d" % code, b"%d" % signal if signal else b"null")
            self.say(b'{"exited": {"id": "%s", "code": %s, "signal": %s}}' % said)
