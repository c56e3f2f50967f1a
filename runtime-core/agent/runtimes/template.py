"""The template: loads the code once, then makes runs of it.

After a fork, each page that either side writes to is copied, and nearly all that Python does writes: it counts
references. What a forked run costs is thus how many different things are touched on its way, here and in the child. So
that way is short, uses few functions, and leaves unread what a run does not ask for.
"""

import os
import sys

from . import from_json, prepare, state, watch_mlrun
from .report import HandlerError, begin, describe_error, flush, warn
from .run import Loaded, run_handler
from .values import to_json

# Audit events of code that starts processes.
SPAWNS = {"subprocess.Popen", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.system", "pty.spawn"}
# Modules that start processes without such an event.
SPAWNERS = {"_posixsubprocess", "multiprocessing.util"}
LOAD, FORK, REUSE, CANCEL = b"LFRC"
PART = 1 << 17


class Job(dict):
    """RUN_JSON of a warm run, read when something in it is asked for."""

    __slots__ = ("given", "text")

    def __missing__(self, key):
        text, self.text = self.text, None
        if text is None:
            raise KeyError(key)
        self.update(from_json(text.decode()))
        return self[key]

    def get(self, key, default=None):
        try:
            return self[key]
        except KeyError:
            return default


class Template:
    """Loads the code once, then makes runs of it."""

    def __init__(self):
        # Without `socket` and `signal` around these, whose pages every child would copy.
        import _signal as signal
        import _socket
        import select

        # Descriptor 0 becomes /dev/null: the user's code must not read the frames.
        self.sock = _socket.socket(fileno=os.dup(0))
        null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        os.dup2(null, 0)
        os.close(null)
        self.signal, self.poll = signal, select.poll()
        self.recvmsg, self.sendall = self.sock.recvmsg, self.sock.sendall
        self.rest, self.fds, self.open = b"", [], True
        self.children = {}  # pid -> (id, state descriptor)
        self.queue = []  # runs that wait for their turn: frame, descriptors
        self.flags = getattr(_socket, "MSG_CMSG_CLOEXEC", 0)
        self.space = _socket.CMSG_SPACE(253 * 4)
        # What a run has not said or done yet: that it started processes, and the environment for these.
        self.unsaid, self.unset = None, None

    # Frames.

    def receive(self):
        """Reads what is there. A frame that comes whole and alone, as they do, is taken as it is."""
        data, extra, _, _ = self.recvmsg(PART, self.space, self.flags)
        if extra and self.flags and not self.rest and len(data) > 4 and data[4] == FORK:
            fds = extra[0][2]
            if len(data) == 4 + (data[0] << 24) + (data[1] << 16) + (data[2] << 8) + data[3] and len(fds) == 12:
                return self.fork(data, *memoryview(fds).cast("i"))
        for _, _, payload in extra:
            fds = memoryview(payload[: len(payload) // 4 * 4]).cast("i")
            self.fds.extend(fds)
            if not self.flags:
                for fd in fds:
                    os.set_inheritable(fd, False)
        self.rest += data
        self.open = bool(data)
        while len(self.rest) >= 4:
            end = 4 + int.from_bytes(self.rest[:4], "big")
            if len(self.rest) < end:
                break
            frame, self.rest = self.rest[:end], self.rest[end:]
            self.take(frame)

    def take(self, frame):
        """Does what a frame asks for."""
        kind = frame[4]
        if kind == LOAD:
            return self.load(from_json(frame[5:].decode()))
        if kind == CANCEL:
            for run in self.queue:
                if name_of(run[0]) == name_of(frame):
                    self.queue.remove(run)
                    for fd in run[1:]:
                        os.close(fd)
                    return self.say(name_of(frame) + b" cancelled\n")
            return None  # it has begun, or ended
        fds, self.fds = self.fds[:3], self.fds[3:]
        if len(fds) != 3:
            raise RuntimeError(f"a start came with {len(fds)} descriptors; state, stdout and stderr are needed")
        if kind == FORK:
            return self.fork(frame, *fds)
        if kind == REUSE:
            return self.queue.append((frame, *fds))
        raise RuntimeError(f"a frame of the kind {kind} is none")

    def say(self, line):
        try:
            self.sendall(line)
        except OSError:
            self.open = False  # nobody listens; what was begun is still finished

    # Life.

    def main(self):
        self.loaded = None
        while self.open and self.loaded is None:
            try:
                self.receive()
            except Failed:
                return 1
        if self.loaded is None:
            return 0
        self.serve()
        return 0

    def load(self, load):
        """Loads the code, and says whether that went well."""
        try:
            if not load.get("handler"):
                raise HandlerError("a template needs a handler; whole programs run in a process of their own")
            begin({"run": {}, **load})
            prepare(load)
            watch_mlrun()
            loaded = Loaded(load)
            loaded.call(load["handler"]).prepare()
        except BaseException as exc:
            error = describe_error(exc)
            warn(error["traceback"])
            self.say(b"failed " + to_json(error).encode("utf-8", "replace") + b"\n")
            raise Failed from None
        self.job, self.loaded, self.folder = load, loaded, os.getcwd().encode("utf-8", "surrogateescape")
        sys.addaudithook(self.audit)
        self.freeze()
        self.say(b"ready\n")

    def freeze(self):
        """Puts all that is loaded out of the collector's way, so that children share it as it is."""
        import gc

        __import__("atexit")  # so that children need not
        to_json({}), from_json("{}")
        flush()
        gc.collect()
        gc.freeze()

    def serve(self):
        import select

        wake, self.wake = os.pipe()
        for fd in (wake, self.wake):
            os.set_blocking(fd, False)
        self.signal.signal(self.signal.SIGCHLD, nothing)
        self.signal.set_wakeup_fd(self.wake, warn_on_full_buffer=False)
        poll, queue, children, listening = self.poll, self.queue, self.children, True
        poll.register(wake, select.POLLIN)
        poll.register(self.sock.fileno(), select.POLLIN)
        while self.open or children:
            ready = poll.poll(0 if queue else None)
            for fd, _ in ready:
                if fd == wake:
                    os.read(wake, 512)
                    self.reap()
                elif self.open:
                    try:
                        self.receive()
                    except OSError:
                        self.open = False
            if queue and not ready:
                self.reuse(*queue.pop(0))
            if listening and not self.open:
                poll.unregister(self.sock.fileno())
                listening = False
                queue.clear()  # nothing more is begun

    def fork(self, frame, record, out, err):
        pid = os.fork()
        if not pid:
            self.child(frame, record, out, err)
        os.close(out)
        os.close(err)
        self.children[pid] = frame[6 : 6 + frame[5]], record

    def child(self, frame, record, out, err):
        """The run, in a process of its own. Does not return."""
        code = 1
        try:
            os.setpgid(0, 0)
            pid = os.getpid()
            os.write(record, b"pid %d\n" % pid)
            self.signal.set_wakeup_fd(-1)
            self.signal.signal(self.signal.SIGCHLD, self.signal.SIG_DFL)
            os.dup2(out, 1)
            os.dup2(err, 2)
            for fd in (out, err, self.sock.fileno(), self.wake):
                os.close(fd)
            for _, other in self.children.values():
                os.close(other)  # else its end would not be seen while this run goes on
            for fd in self.fds:
                os.close(fd)
            job = self.enter(frame, pid)
            if "numpy.random" in sys.modules:
                sys.modules["numpy.random"].seed()  # `random` does so by itself
            atexit = sys.modules["atexit"]
            atexit._clear()  # what the template registered is the template's
            self.unsaid = record
            code = run_handler(job, self.loaded, record)
            if sys.modules["_thread"]._count():
                sys.modules["threading"]._shutdown()
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

    def enter(self, frame, pid):
        """The run's environment and folder; returns what it is told."""
        workdir, given, text, *env = frame[6 + frame[5] :].split(b"\0")
        if workdir != self.folder:
            os.chdir(workdir)
        env.append(b"RUNTIMES_RUN_PID=%d" % pid)
        known = os.environ._data
        for item in env:
            key, _, value = item.partition(b"=")
            known[key] = value
        job = Job(self.job)
        job.given, job.text = given, text
        self.unset = env, job
        if "multiprocessing.util" in sys.modules:
            self.put()
        return job

    def put(self):
        """Lets programs that the run starts have its environment: nobody else has asked for it from the process."""
        (env, job), self.unset = self.unset, None
        known = os.environ._data
        for key in [item.partition(b"=")[0] for item in env]:
            if key in known:  # as the code has left it
                os.putenv(key, known[key])
        # Programs that ask for the run's context find it in its file.
        path = known.get(b"RUNTIMES_RUN_FILE")
        if path and job["run"]:
            try:
                with open(path, "w", encoding="utf-8") as file:
                    file.write(to_json(job))
            except OSError:
                pass  # whoever asks for it says so

    def audit(self, event, args):
        """Says that the run starts processes: some may leave its process group, and are looked for.

        It is said at once: a run that becomes another program, or ends by `os._exit`, has no later.
        """
        if event in SPAWNS:
            if self.unset:
                self.put()
            if self.unsaid is not None:
                record, self.unsaid = self.unsaid, None
                try:
                    os.write(record, b"spawned 1\n")
                except OSError:
                    pass  # the code has closed what it does not know
        elif event == "import" and self.unset and args[0] in SPAWNERS:
            self.put()

    def reuse(self, frame, record, out, err):
        """The run, right here; afterwards everything is as it was but for what the code keeps in memory."""
        pid = os.getpid()
        os.write(record, b"pid %d\n" % pid)
        streams, argv, path, cwd = (sys.stdout, sys.stderr), sys.argv[:], sys.path[:], os.getcwd()
        env = dict(os.environ._data)
        saved = []
        for number, fd in ((1, out), (2, err)):
            saved.append(os.dup(number))
            os.dup2(fd, number)
            os.close(fd)
        code = 1
        self.unsaid = record
        try:
            code = run_handler(self.enter(frame, pid), self.loaded, record)
        except BaseException as exc:
            warn(describe_error(exc)["traceback"])
        self.unsaid, unset, self.unset = None, self.unset, None
        flush()
        if (sys.stdout, sys.stderr) != streams:
            sys.stdout, sys.stderr = streams
            flush()
        for number, fd in zip((1, 2), saved):
            os.dup2(fd, number)
            os.close(fd)
        sys.argv[:], sys.path[:] = argv, path
        os.chdir(cwd)
        known = os.environ._data
        for item in unset[0] if unset else ():  # what nobody was given is simply forgotten
            key = item.partition(b"=")[0]
            if key in env:
                known[key] = env[key]
            else:
                known.pop(key, None)
        if known != env:
            for key in known.keys() - env.keys():
                os.unsetenv(key)
            for key, value in env.items():
                if known.get(key) != value:
                    os.putenv(key, value)
            known.clear()
            known.update(env)
        self.signal.set_wakeup_fd(self.wake, warn_on_full_buffer=False)  # asyncio takes it away
        end = b"exit %d\n" % code
        os.write(record, end)
        os.close(record)
        self.say(name_of(frame) + b" " + end)

    def ended(self):
        """The children of runs that ended: these alone, for the user's code may have its own."""
        peek = os.WEXITED | os.WNOHANG | os.WNOWAIT
        while self.children:
            found = os.waitid(os.P_ALL, 0, peek)
            if found is None:
                return
            if found.si_pid not in self.children:  # it would hide those behind it
                yield from filter(None, [os.waitid(os.P_PID, pid, peek) for pid in self.children])
                return
            yield found

    def reap(self):
        """Records the end of what ended. Until that is written its process id stays: without both, a run is lost."""
        for found in self.ended():
            name, record = self.children.pop(found.si_pid)
            end = (b"exit %d\n" if found.si_code == os.CLD_EXITED else b"signal %d\n") % found.si_status
            try:
                os.write(record, end)
            except OSError:
                pass  # nobody reads it any more
            os.waitpid(found.si_pid, 0)
            os.close(record)
            self.say(name + b" " + end)


class Failed(Exception):
    """The code could not be loaded."""


def name_of(frame):
    """The id of the run that a frame is about."""
    return frame[6 : 6 + frame[5]]


def nothing(*_):
    """A signal's handler that only wakes."""
