"""Tests of the agent, each through the door that a target uses: `python3 test_agent.py` with any Python from 3.9 on."""

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

HERE = os.path.dirname(os.path.abspath(__file__))
BOOT = "import sys;sys.path[0]=sys.argv.pop(1);import runtimes;runtimes.main()"


def has(module):
    """Whether this interpreter has a module; says what is skipped without it."""
    import importlib.util

    found = importlib.util.find_spec(module) is not None
    if not found:
        print(f"skipped without {module}: its tests")
    return found


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
        meta = {"uid": "a1b2", "name": "train", "project": "default", "iteration": 0, "labels": {"owner": "me"}, "annotations": {}}
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
            [sys.executable, *flags, "-c", BOOT, HERE, "run", self.path("run.json")],
            env={**os.environ, **(env or {})}, cwd=self.dir, capture_output=True, text=True, timeout=120,
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


class Programs(Case):
    def test_a_quiet_program_leaves_no_report(self):
        for flags in ((), ("-S", "-E")):
            self.assertEqual(self.start(self.job("x = 1"), flags=flags), (0, None), self.err)

    def test_it_finds_itself_at_home(self):
        self.write("neighbour.py", "word = 'here'")
        job = self.job("""
            import os, pickle, sys, neighbour
            class Thing: pass
            assert __name__ == "__main__" and sys.modules["__main__"].Thing is Thing
            assert type(pickle.loads(pickle.dumps(Thing()))) is Thing
            assert os.environ["MPLBACKEND"] == "Agg"
            print(sys.argv[0] == __file__, sys.argv[1:], sys.path[0] == os.path.dirname(__file__), neighbour.word)
            """)
        job["args"] = ["--n", "é"]
        self.assertEqual(self.start(job), (0, None), self.err)
        self.assertEqual(self.out, "True ['--n', 'é'] True here\n")

    def test_environment_is_the_same_with_and_without_os(self):
        code = "import os; print(os.environ['MPLBACKEND'], os.environ['RUNTIMES_RUN_PID'] == str(os.getpid())); os.system('echo $MPLBACKEND')"
        for flags in ((), ("-S", "-E")):
            self.start(self.job(code), flags=flags)
            self.assertEqual(self.out, "Agg True\nAgg\n")
            self.start(self.job(code), env={"MPLBACKEND": "svg"}, flags=flags)
            self.assertEqual(self.out, "svg True\nsvg\n")

    def test_exit_codes_are_the_programs(self):
        for text, code in (("3", 3), ("0", 0), ("None", 0), ("'no data'", 1)):
            status, report = self.start(self.job(f"import sys; sys.exit({text})"))
            self.assertEqual(status, code)
            if code == 1:
                self.assertEqual((report["state"], report["error"]["message"]), ("error", "no data"))
                self.assertEqual(self.err, "no data\n")
            else:
                self.assertIsNone(report)

    def test_an_exception_is_reported_with_its_place(self):
        job = self.job("""
            import json
            def inner():
                json.loads("{")
            inner()
            """)
        status, report = self.start(job)
        error = report["error"]
        self.assertEqual((status, report["state"], error["type"]), (1, "error", "json.decoder.JSONDecodeError"))
        self.assertEqual((error["file"], error["line"]), (self.path("code.py"), 4))
        self.assertEqual(self.err, error["traceback"])
        self.assertTrue(self.err.startswith(f'Traceback (most recent call last):\n  File "{self.path("code.py")}", line 5'), self.err)
        self.assertNotIn("runtimes", self.err)

    def test_a_syntax_error_shows_the_caret(self):
        _, report = self.start(self.job("x = 1\ny = = 2\n"))
        error = report["error"]
        self.assertEqual((error["type"], error["file"], error["line"]), ("SyntaxError", self.path("code.py"), 2))
        self.assertIn("y = = 2", error["message"])
        self.assertIn("^", error["message"])

    def test_code_under_another_name_shows_its_lines(self):
        job = self.job("def f():\n    raise KeyError('x')\nf()\n", name="3fa9.py")
        job["code"]["name"] = "train.py"
        _, report = self.start(job)
        self.assertEqual((report["error"]["file"], report["error"]["line"]), ("train.py", 2))
        self.assertIn("raise KeyError('x')", self.err)

    def test_a_module_is_run_as_with_dash_m(self):
        os.makedirs(self.path("lib", "pack"))
        self.write("lib/pack/__init__.py", "")
        self.write("lib/pack/__main__.py", "from . import side\nimport sys\nprint(__name__, __package__, side.x, sys.argv[1:])")
        self.write("lib/pack/side.py", "x = 7")
        job = self.job("", args=["a"], pythonpath=["lib"])
        job["code"] = {"module": "pack"}
        self.assertEqual(self.start(job), (0, None), self.err)
        self.assertEqual(self.out, "__main__ pack 7 ['a']\n")
        job["code"] = {"module": "pakc"}
        self.assertIn("there is no module pakc", self.start(job)[1]["error"]["message"])

    def test_missing_code_is_one_clear_line(self):
        status, report = self.start(self.job(None))
        self.assertEqual(status, 1)
        self.assertIn("code.py cannot be read: No such file", report["error"]["message"])
        self.assertEqual(self.err.count("\n"), 1)

    def test_what_is_logged_is_reported_at_the_end(self):
        job = self.job("""
            import atexit, runtimes
            ctx = runtimes.get_or_create_ctx("other")
            assert runtimes.get_or_create_ctx("x") is ctx and isinstance(ctx, runtimes.Context)
            ctx.log_result("accuracy", ctx.get_param("p") * ctx.get_param("q", 2))
            assert ctx.parameters["q"] == 2
            atexit.register(lambda: ctx.log_result("late", True))
            ctx.set_label("framework", 1)
            ctx.set_label("owner", "you", replace=False)
            ctx.set_annotation("a", "b")
            print(ctx.name, ctx.uid, ctx.state, ctx.labels["owner"])
            """, spec={"parameters": {"p": 0.5}})  # fmt: skip
        status, report = self.start(job)
        self.assertEqual((status, self.out), (0, "train a1b2 running me\n"), self.err)
        self.assertEqual(report, {"state": "completed", "results": {"accuracy": 1.0, "late": True}, "labels": {"framework": "1"}, "annotations": {"a": "b"}})

    def test_what_was_logged_before_the_end_survives_it(self):
        code = "import os, runtimes\nctx = runtimes.get_or_create_ctx()\nctx.log_result('a', 1)\nctx.commit()\n"
        status, report = self.start(self.job(code + "os.kill(os.getpid(), 9)"))
        self.assertEqual((status, report), (-9, {"state": "running", "results": {"a": 1}}))
        status, report = self.start(self.job(code + "raise ValueError('no')"))
        self.assertEqual((status, report["state"], report["results"], report["error"]["message"]), (1, "error", {"a": 1}, "no"))
        status, report = self.start(self.job(code + "raise SystemExit(4)"))
        self.assertEqual((status, report["state"]), (4, "error"))

    def test_helper_processes_report_nothing(self):
        job = self.job("""
            import os, subprocess, sys, runtimes
            ctx = runtimes.get_or_create_ctx()
            ctx.log_result("main", 1)
            child = "import sys; sys.path.append(sys.argv[1]); import runtimes; runtimes.get_or_create_ctx().log_result('child', 2)"
            subprocess.run([sys.executable, "-c", child, sys.path[-1]], check=True)
            if os.fork() == 0:
                ctx.log_result("forked", 3)
                sys.exit(0)
            os.wait()
            """)
        self.assertEqual(self.start(job)[1]["results"], {"main": 1})

    def test_worker_processes_start_from_it(self):
        job = self.job("""
            import multiprocessing
            def double(x): return 2 * x
            if __name__ == "__main__":
                with multiprocessing.get_context("spawn").Pool(1) as pool:
                    print(pool.map(double, [1, 2]))
            """, name="0c1d.py")  # fmt: skip
        job["code"]["name"] = "train.py"
        self.assertEqual(self.start(job)[0], 0, self.err)
        self.assertEqual(self.out, "[2, 4]\n")

    def test_an_interrupt_ends_it_as_it_ends_python(self):
        status, report = self.start(self.job("import os, signal; os.kill(os.getpid(), signal.SIGINT); signal.pause()"))
        self.assertEqual((status, report["error"]["type"]), (-signal.SIGINT, "KeyboardInterrupt"))
        self.assertEqual(self.err.count("KeyboardInterrupt"), 1)

    def test_a_report_that_cannot_be_written_is_an_error(self):
        job = self.job("import runtimes; runtimes.get_or_create_ctx().log_result('a', 1)", report="/proc/no/report.json")
        status, _ = self.start(job)
        self.assertEqual(status, 1)
        self.assertIn("could not be written to /proc/no/report.json", self.err)

    def test_without_a_run_it_prints_its_results(self):
        code = "import runtimes\nctx = runtimes.get_or_create_ctx('me')\nctx.log_result('a', 1)\nprint(ctx.name)\nctx.log_artifact('t.txt', body='x')"
        env = {k: v for k, v in os.environ.items() if not k.startswith("RUNTIMES")}
        done = subprocess.run([sys.executable, "-c", code], env={**env, "PYTHONPATH": HERE}, cwd=self.dir, capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stdout, f'me\n> results: {{"a": 1}}\n> artifact t.txt: {self.path("artifacts", "t.txt")}\n')

    def test_printed_lines_appear_at_once(self):
        job = self.job("import sys; print('first'); sys.stdin.readline()")
        with open(self.path("run.json"), "w", encoding="utf-8") as file:
            json.dump(job, file)
        command = [sys.executable, "-c", BOOT, HERE, "run", self.path("run.json")]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            self.assertEqual(process.stdout.readline(), b"first\n")


class Handlers(Case):
    def test_binding(self):
        report = self.call(
            "def f(a, /, b: int, c=3, *rest, d, e: bool = True, **more): return [a, b, c, rest, d, e, more]",
            {"a": 1, "b": "2", "d": [4], "x": None, "e": "no"},
        )
        self.assertEqual(report["results"], {"return": [1, 2, 3, [], [4], False, {"x": None}]})

    def test_missing_and_unknown_are_said_at_once(self):
        error = self.refuse("\ndef f(data: str, epochs: int, rate=0.1): pass", {"epoch": 3})
        self.assertEqual((error["type"], error["file"], error["line"]), ("ParameterError", self.path("code.py"), 2))
        self.assertEqual(
            error["message"],
            "f: missing parameters 'data', 'epochs', unknown parameter 'epoch' (did you mean 'epochs'?); it is f(data: str, epochs: int, rate=0.1)",
        )
        self.assertEqual(self.err, f"ParameterError: {error['message']}\n")

    def test_context_takes_what_nothing_else_takes(self):
        for hint in ("context", "ctx: 'mlrun.MLClientCtx'", "ctx: runtimes.Context", "ctx: 'runtimes.Context'"):
            name = hint.split(":")[0]
            report = self.call(f"import runtimes\ndef f({hint}): {name}.log_result('x', {name}.get_param('extra'))", {"extra": 5})
            self.assertEqual(report["results"], {"x": 5})

    def test_conversions(self):
        cases = [
            ("int", "3", 3), ("int", 3.0, 3), ("float", "1e-3", 0.001), ("float", 2, 2.0), ("str", 3, "3"), ("bool", "Yes", True),
            ("bool", 0, False), ("Optional[int]", "4", 4), ("Optional[int]", None, None), ("Union[int, str]", "x", "x"),
            ("Union[str, int]", 5, 5), ("'int | None'", "6", 6), ("'list[int] | None'", "[1, 2]", [1, 2]), ("list", "[1]", [1]),
            ("List[float]", ["1", 2], [1.0, 2.0]), ("Dict[str, int]", '{"a": "1"}', {"a": 1}), ("tuple[int, str]", [1, 2], [1, "2"]),
            ("Literal['a', 2]", "2", 2), ("Path", "/x/y", "/x/y"), ("Color", "RED", 1), ("Color", 2, 2), ("date", "2026-01-02", "2026-01-02"),
            ("Any", {"k": 1}, {"k": 1}), ("'unknown.Thing'", 1, 1), ("Decimal", "1.5", 1.5), ("set[int]", ["1"], [1]),
            ("Annotated[int, 'x']", "9", 9), ("Sequence[int]", ["1"], [1]),
        ]  # fmt: skip
        names = [f"p{i}" for i in range(len(cases))]
        code = f"""\
            from collections.abc import Sequence
            from datetime import date
            from decimal import Decimal
            from enum import Enum
            from pathlib import Path
            from typing import *
            class Color(Enum):
                RED = 1
                BLUE = 2
            def f({", ".join(f"{n}: {c[0]}" for n, c in zip(names, cases))}):
                kinds = {{n: type(v).__name__ for n, v in locals().items()}}
                return [{", ".join(names)}], kinds
            """
        value, kinds = self.call(textwrap.dedent(code), {n: c[1] for n, c in zip(names, cases)})["results"]["return"]
        for case, got in zip(cases, value):
            self.assertEqual(got, case[2], case)
        self.assertIn(kinds["p18"], ("PosixPath", "Path"))
        self.assertEqual((kinds["p19"], kinds["p21"], kinds["p16"]), ("Color", "date", "tuple"))

    def test_conversions_that_fail_name_the_parameter(self):
        cases = [("int", "3.5"), ("int", 3.5), ("int", True), ("float", "x"), ("bool", "maybe"), ("list", "no"), ("dict", "[1]"), ("list[int]", ["a"]),
                 ("Literal['a', 'b']", "c"), ("str", [1]), ("int", None), ("tuple[int, int]", [1])]  # fmt: skip
        for hint, value in cases:
            error = self.refuse(f"from __future__ import annotations\nfrom typing import Literal\ndef f(p: {hint}): print('called')", {"p": value})
            self.assertEqual(error["type"], "ParameterError", error)
            self.assertTrue(error["message"].startswith(f"f: parameter 'p' must be {hint}, not {json.dumps(value)}"), error["message"])
            self.assertEqual(self.out, "")

    def test_a_handler_that_is_not_there(self):
        code = "from json import dumps\ndef train(): pass\ndef _hidden(): pass\nclass Model:\n    def fit(self): pass\nx = 1"
        self.assertEqual(self.refuse(code, handler="trian")["message"], "there is no handler 'trian' (did you mean 'train'?); the code defines: train")
        self.assertIn("Model has no method 'fti' (did you mean 'fit'?); it has: fit", self.refuse(code, handler="Model::fti")["message"])
        self.assertIn("is a int, not a function", self.refuse(code, handler="x")["message"])

    def test_methods(self):
        code = """\
            class Model:
                def __init__(self, size: int, context=None): self.size, self.context = size, context
                def fit(self, epochs: int = 1): return [self.size, epochs, self.context is not None]
                @staticmethod
                def still(size): return size
                @classmethod
                def made(cls, size: int): return cls.__name__ + str(size)
            """
        self.assertEqual(self.call(code, {"size": "3", "epochs": "4"}, handler="Model::fit")["results"]["return"], [3, 4, True])
        self.assertEqual(self.call(code, {"_init_args": {"size": 3}}, handler="Model::fit")["results"]["return"], [3, 1, True])
        self.assertEqual(self.call(code, {"size": "3"}, handler="Model::still")["results"]["return"], "3")
        self.assertEqual(self.call(code, {"size": "3"}, handler="Model::made")["results"]["return"], "Model3")
        self.assertIn("missing parameter 'size'; it is Model(size: int, context=None).fit(epochs: int = 1)", self.refuse(code + "\n", handler="Model::fit")["message"])

    def test_decorated_partial_async_and_generators(self):
        code = """\
            import functools
            def deco(fn):
                @functools.wraps(fn)
                def inner(*args, **kwargs): return fn(*args, **kwargs)
                return inner
            @deco
            def f(a: int, b: int = 2): return [a, b]
            g = functools.partial(lambda a, b: [a, b], b=7)
            async def h(a: int): return a
            def i(a: int): yield from range(a)
            async def j(a: int):
                for x in range(a): yield x
            """
        for handler, want in (("f", [3, 2]), ("h", 3), ("i", [0, 1, 2]), ("j", [0, 1, 2])):
            self.assertEqual(self.call(code, {"a": "3"}, handler=handler)["results"]["return"], want)
        self.assertEqual(self.call(code, {"a": 3}, handler="g")["results"]["return"], [3, 7])

    def test_the_module_can_be_found(self):
        code = """
            from __future__ import annotations
            import dataclasses, pickle, sys
            @dataclasses.dataclass
            class Point: x: int
            def f():
                assert __name__ != "__main__" and pickle.loads(pickle.dumps(Point(1))) == Point(1)
                return [__name__, Point(1)]
            """
        self.assertEqual(self.call(code)["results"]["return"], ["code_code", {"x": 1}] if sys.version_info >= (3, 10) else ["code", {"x": 1}])
        self.assertEqual(self.call(code, name="train.py")["results"]["return"][0], "train")

    def test_exceptions_and_exits(self):
        error = self.refuse("import json\ndef f(): json.loads('{')")
        self.assertEqual((error["file"], error["line"]), (self.path("code.py"), 2))
        self.assertEqual(self.err, error["traceback"])
        self.assertEqual(self.start(self.job("import sys\ndef f(): sys.exit(0)", "f"))[1]["state"], "completed")
        status, report = self.start(self.job("import sys\ndef f(): sys.exit('bad')", "f"))
        self.assertEqual((status, report["error"]["message"], self.err), (1, "bad", "bad\n"))
        status, report = self.start(self.job("import sys\ndef f(): sys.exit(5)", "f"))
        self.assertEqual((status, report["state"], report["error"]["line"]), (5, "error", 2))

    def test_a_failed_load_is_the_runs_error(self):
        error = self.refuse("import not_there_at_all\ndef f(): pass")
        self.assertEqual((error["type"], error["line"]), ("ModuleNotFoundError", 1))
        error = self.refuse("def f(:\n  pass")
        self.assertEqual((error["type"], error["line"]), ("SyntaxError", 1))

    def test_inputs(self):
        self.write("data.csv", "a,b\n1,2\n")
        self.write("data.json", '{"k": [1]}')
        code = """\
            import os, pathlib, runtimes
            from typing import Optional
            def f(plain, item: runtimes.DataItem, text: str, path: pathlib.Path, raw: bytes, parsed: dict, maybe: Optional[str] = None):
                assert open(plain).read() == item.get(encoding="utf-8") == path.read_text() == raw.decode() == "a,b\\n1,2\\n"
                assert type(text) is str and text == item.local() == os.fspath(plain) and isinstance(maybe, str)
                return [item.key, item.url, item.suffix, item.kind, parsed, str(plain)]
            """
        inputs = {key: "data.csv" for key in ("plain", "text", "path", "raw", "maybe")}
        inputs.update(item="file://" + self.path("data.csv"), parsed="data.json")
        value = self.call(code, inputs=inputs)["results"]["return"]
        self.assertEqual(value, ["item", inputs["item"], ".csv", "file", {"k": [1]}, self.path("data.csv")])

    def test_inputs_that_cannot_be_read(self):
        error = self.refuse("def f(data): print('called')", inputs={"data": "no.csv"})
        self.assertEqual((error["type"], error["message"]), ("InputError", f"input 'data': there is no file {self.path('no.csv')}"))
        self.assertEqual(self.out, "")
        error = self.refuse("def f(data): pass", inputs={"data": "s3://bucket/key"})
        self.assertIn("s3://bucket/key cannot be read here", error["message"])
        self.write("bad.json", "{")
        self.assertIn("could not be read as dict", self.refuse("def f(data: dict): pass", inputs={"data": "bad.json"})["message"])

    def test_an_input_over_http(self):
        import http.server
        import threading

        class Answer(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200 if self.path == "/x.json" else 404)
                self.end_headers()
                self.wfile.write(b"[1, 2]")

            def log_message(self, *_):
                pass

        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            url = f"http://127.0.0.1:{server.server_port}"
            self.assertEqual(self.call("def f(data: list): return data", inputs={"data": url + "/x.json"})["results"]["return"], [1, 2])
            self.assertIn("/y.json could not be read: HTTP Error 404", self.refuse("def f(data: list): return data", inputs={"data": url + "/y.json"})["message"])
            server.shutdown()

    def test_returns(self):
        self.write("made.txt", "made")
        code = """\
            import pathlib
            class Odd:
                def __init__(self): self.x = 1
            def f(): return 0.5, {"k": 1}, "made.txt", [1, 2], Odd(), pathlib.Path("made.txt"), b"model"
            """
        hints = ["accuracy", "table:result", "file:file", {"key": "obj", "artifact_type": "object"}, "odd", "kept", "net:model"]
        report = self.call(code, returns=hints)
        self.assertEqual(report["results"], {"accuracy": 0.5, "table": {"k": 1}})
        self.assertEqual([a["metadata"]["key"] for a in report["artifacts"]], ["file", "obj", "odd", "kept", "net"])
        file = self.artifact(report, "file")
        self.assertEqual(file["spec"]["target_path"], self.path("artifacts", "file.txt"))
        self.assertEqual((file["spec"]["size"], file["spec"]["format"]), (4, "txt"))
        self.assertEqual(file["spec"]["hash"], __import__("hashlib").sha1(b"made").hexdigest())
        self.assertEqual(__import__("pickle").loads(self.read(self.artifact(report, "obj")["spec"]["target_path"])), [1, 2])
        self.assertEqual(self.artifact(report, "net")["kind"], "model")
        self.assertEqual(self.read(self.path("artifacts", "net", "net.pkl")), b"model")
        self.assertEqual(json.loads(self.read(self.path("artifacts", "net", "model_spec.yaml")))["spec"]["model_file"], "net.pkl")
        self.assertIn("artifact 'odd': a Odd was kept as a pickle", report["notes"])

    def test_returns_that_do_not_fit(self):
        self.assertIn("returned 1 value, but `returns` names 2: a, b", self.refuse("def f(): return 1", returns=["a", "b"])["message"])
        self.assertIn("'resutl' (did you mean 'result'?)", self.refuse("def f(): return 1", returns=["a:resutl"])["message"])
        self.assertIn("there is no file", self.refuse("def f(): return 'no.txt'", returns=["a:file"])["message"])
        report = self.call("def f(): return 1, 2, 3", returns=["a", "b"])
        self.assertEqual((report["results"], len(report["notes"])), ({"a": 1, "b": 2}, 1))
        self.assertNotIn("results", self.call("def f(): return None"))

    def test_results_are_always_json(self):
        code = """\
            import datetime, decimal, pathlib, uuid
            def f():
                deep = []
                deep.append(deep)
                return {1: float("nan"), None: -float("inf"), "b": b"\\xff", "s": {2, 1}, "p": pathlib.Path("x"), "big": 1 << 70, "d": decimal.Decimal("0.25"),
                        "t": datetime.datetime(2026, 1, 2), "c": 1j, "sur": "a\\udc80b", "deep": deep, "u": uuid.UUID(int=1), (1, 2): "tuple"}
            """
        value = self.call(code)["results"]["return"]
        deep = value.pop("deep")
        self.assertEqual(value, {
            "1": "NaN", "null": "-Infinity", "b": "/w==", "s": [1, 2], "p": "x", "big": str(1 << 70), "d": 0.25, "t": "2026-01-02T00:00:00",
            "c": "1j", "sur": "a?b", "u": "00000000-0000-0000-0000-000000000001", "[1, 2]": "tuple",
        })  # fmt: skip
        self.assertLess(json.dumps(deep).count("["), 128)

    def test_a_report_that_cannot_be_written_ends_with_1(self):
        status, _ = self.start(self.job("def f(): return 1", "f", report="/proc/no/report.json"))
        self.assertEqual(status, 1)
        self.assertIn("/proc/no/report.json", self.err)

    def test_threads_log_after_the_handler(self):
        code = """\
            import threading, runtimes
            def f(context):
                def late():
                    threading.main_thread().join()
                    context.log_result("late", 1)
                threading.Thread(target=late).start()
            """
        self.assertEqual(self.call(code)["results"], {"late": 1})


class Contexts(Case):
    def test_all_that_users_know(self):
        self.write("data.txt", "hello")
        self.write("token", "t0ken\n")
        code = """\
            import os
            def f(context, p=1):
                context.logger.info("epoch %d", 3, loss=0.5)
                context.logger.debug("hidden")
                context.logger.warn("careful")
                assert context.get_input("data").get() == context.inputs["data"].get() == b"hello"
                assert context.get_input("other", "data.txt").local() == context.inputs["data"].local()
                assert context.get_secret("token") == "t0ken" and context.get_secret("api") == "k8s" and context.get_secret("../x") is None
                assert context.artifact_subpath("a", "b") == os.path.join(context.artifact_path, "a", "b") == context.out_path + "/a/b"
                context.log_results({"a": 1, "b": [2]})
                context.set_labels({"x": 1})
                assert context.results == {"a": 1, "b": [2]} and context.labels == {"owner": "me", "x": "1"} and context.state == "running"
                art = context.log_artifact("note", body="text", format="md", labels={"l": 1}, tag="v1")
                assert art.key == "note" and art.target_path == art.uri == context.artifact_subpath("note.md") and context.artifacts == [art]
                assert (context.project, context.iteration, context.tag) == ("default", 0, "a1b2")
                with open(context.artifact_subpath("inside.bin"), "wb") as file: file.write(b"123")
                context.log_artifact("inside", local_path=context.artifact_subpath("inside.bin"))
                context.log_artifact("sub/raw.bin", body=b"1")
                context.log_artifact("data", local_path="data.txt")
                context.log_artifact("js", body={"k": float("nan")})
                os.makedirs("folder/deep"); open("folder/deep/f", "w").write("12")
                context.log_artifact("folder", local_path="folder")
                context.log_artifact("note", body="text2", format="md")
                context.log_model("net", body=b"weights", model_file="net.pt", framework="torch", metrics={"acc": 1}, parameters={"lr": 0.1})
                context.log_model("tree", model_dir="folder", model_file="deep/f")
                assert context.to_dict()["status"]["results"] == context.results
            """
        spec = {"inputs": {"data": "data.txt"}, "log_level": "info"}
        env = {"RUNTIMES_SECRETS_DIR": self.dir, "MLRUN_K8S_SECRET__API": "k8s"}
        status, report = self.start(self.job(code, "f", spec), env)
        self.assertEqual(status, 0, self.err)
        first, second = self.out.splitlines()
        self.assertRegex(first, r'^> \d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} \[info\] epoch 3 {"loss": 0.5}$')
        self.assertTrue(second.endswith("[warning] careful"))
        where = {a["metadata"]["key"]: (a["kind"], os.path.relpath(a["spec"]["target_path"], self.path("artifacts"))) for a in report["artifacts"]}
        self.assertEqual(where, {
            "note": ("artifact", "note.md"), "inside": ("artifact", "inside.bin"), "sub/raw.bin": ("artifact", "sub/raw.bin"), "data": ("artifact", "data.txt"),
            "js": ("artifact", "js.json"), "folder": ("dir", "folder"), "net": ("model", "net"), "tree": ("model", "tree"),
        })  # fmt: skip
        self.assertEqual(self.read(self.path("artifacts", "note.md")), b"text2")
        self.assertEqual(json.loads(self.read(self.path("artifacts", "js.json"))), {"k": "NaN"})
        self.assertEqual(self.artifact(report, "folder")["spec"]["size"], 2)
        net = self.artifact(report, "net")["spec"]
        self.assertEqual((net["framework"], net["metrics"], net["model_file"], net["db_key"]), ("torch", {"acc": 1}, "net.pt", "train_net"))
        self.assertEqual(self.artifact(report, "note")["metadata"], {"key": "note", "project": "default", "iter": 0, "tree": "a1b2"})
        self.assertEqual([name for name in os.listdir(self.path("artifacts")) if name.startswith(".")], [])

    def test_keys_stay_in_their_folder(self):
        for key in ("../out", "/etc/x", "a/../../b", ""):
            error = self.refuse(f"def f(context): context.log_artifact({key!r}, body='x')")
            self.assertIn(f"artifact key {key!r} must be a name", error["message"])
        self.assertIn("there is no file", self.refuse("def f(context): context.log_artifact('a', local_path='no.txt')")["message"])

    def test_states(self):
        status, report = self.start(self.job("def f(context): context.set_state(error='too little data')", "f"))
        self.assertEqual((report["state"], report["error"]["message"]), ("error", "too little data"))
        report = self.call("def f(context):\n  with context: context.log_result('a', 1)")
        self.assertEqual(report["results"], {"a": 1})

    def test_iterations_do_not_overwrite_each_other(self):
        job = self.job("def f(context): context.log_artifact('a', body='x')", "f")
        job["run"]["metadata"]["iteration"] = 2
        _, report = self.start(job)
        self.assertEqual(report["artifacts"][0]["spec"]["target_path"], self.path("artifacts", "2", "a"))


class Template:
    """A template's other end, as a target holds it."""

    def __init__(self, case):
        self.case = case
        self.sock, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        command = [sys.executable, "-c", BOOT, HERE, "template"]
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
        data = b"".join(len(text).to_bytes(4, "big") + text for text in (json.dumps(frame).encode() for frame in frames))
        first = data[:3] if split else data
        self.sock.sendmsg([first], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else [])
        if split:
            for byte in data[3:]:
                self.sock.send(bytes([byte]))

    def receive(self, timeout=60):
        while True:
            if len(self.buffer) >= 4 and len(self.buffer) >= 4 + int.from_bytes(self.buffer[:4], "big"):
                end = 4 + int.from_bytes(self.buffer[:4], "big")
                frame, self.buffer = json.loads(self.buffer[4:end]), self.buffer[end:]
                return frame
            if not select.select([self.sock], [], [], timeout)[0]:
                raise TimeoutError("no frame")
            data = self.sock.recv(65536)
            if not data:
                return None
            self.buffer += data

    def load(self, code, handler="f", **more):
        job = self.case.job(code, handler, **more)
        self.send({"load": {key: job[key] for key in ("code", "handler", "pythonpath", "args", "base_dir")}})
        return self.receive()

    def frame(self, name, spec=None, mode="fork", **more):
        job = {**self.case.job(None), "report": self.case.path(f"{name}.json"), "artifact_path": self.case.path(name)}
        job["run"] = {**job["run"], "spec": spec or {}}
        return {"start": {"id": name, "run": job, "mode": mode, "env": {"WHO": name}, "workdir": self.case.dir, **more}}

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

    def until_exited(self, *names):
        """The "exited" frames of these runs; the "started" ones are kept in self.pids."""
        self.pids, ended = {}, {}
        while set(names) - set(ended):
            frame = self.receive()
            if "started" in frame:
                self.pids[frame["started"]["id"]] = frame["started"]["pid"]
            else:
                ended[frame["exited"]["id"]] = (frame["exited"]["code"], frame["exited"]["signal"])
        return ended

    def state(self, name):
        """All that was written to a run's state, to its end."""
        with os.fdopen(self.states.pop(name), "rb") as file:
            return file.read().decode().splitlines()


class Templates(Case):
    CODE = """\
        import os, random, sys, time
        print("loaded")
        seen = []
        def f(n: int = 0, how="well", context=None):
            seen.append(n)
            print("run", os.environ["WHO"], os.getcwd() == sys.path[0])
            if how == "raise": raise ValueError(n)
            if how == "exit": sys.exit(n)
            if how == "signal": os.kill(os.getpid(), 9)
            if how == "wait": sys.stdout.flush(); open(f"{n}.fifo").read()
            return [len(seen), random.random()]
        """

    def template(self, code=None):
        template = Template(self)
        ready = template.load(textwrap.dedent(code or self.CODE))
        self.assertEqual(ready, {"ready": {"pid": template.process.pid}})
        return template

    def spec(self, n=0, how="well"):
        return {"parameters": {"n": n, "how": how}}

    def test_forked_runs_start_clean(self):
        template = self.template()
        randoms = set()
        for name in ("a", "b"):
            template.start(name, self.spec(1))
            self.assertEqual(template.until_exited(name), {name: (0, None)})
            self.assertEqual(template.state(name), [f"pid {template.pids[name]}", "exit 0"])
            count, number = self.report(f"{name}.json")["results"]["return"]
            self.assertEqual((count, self.report(f"{name}.json")["state"]), (1, "completed"))
            self.assertEqual(self.read(self.path(name + ".out")), f"run {name} True\n".encode())
            randoms.add(number)
        self.assertEqual(len(randoms), 2)
        self.assertEqual(self.read(self.path("template.log")), b"loaded\n")

    def test_every_end_is_recorded(self):
        for mode, cases in (("fork", ("raise", "exit", "signal")), ("reuse", ("raise", "exit"))):
            template = self.template()
            for how in cases:
                name = f"{mode}-{how}"
                template.start(name, self.spec(3, how), mode=mode)
                want = {"raise": (1, None), "exit": (3, None), "signal": (None, 9)}[how]
                self.assertEqual(template.until_exited(name)[name], want)
                self.assertEqual(template.state(name)[-1], {"raise": "exit 1", "exit": "exit 3", "signal": "signal 9"}[how])
            error = self.report(f"{mode}-raise.json")["error"]
            self.assertEqual((error["type"], error["message"], error["file"], error["line"]), ("ValueError", "3", self.path("code.py"), 7))
            self.assertEqual(self.read(self.path(f"{mode}-raise.err")).decode(), error["traceback"])
            self.assertIsNone(self.report(f"{mode}-signal.json"))
            template.close()

    def test_many_at_once_in_their_own_groups(self):
        template = self.template()
        names = [f"r{i}" for i in range(20)]
        for i, name in enumerate(names):
            os.mkfifo(self.path(f"{i}.fifo"))
            template.start(name, self.spec(i, "wait"))
        pids = {}
        while len(pids) < 20:
            started = template.receive()["started"]
            pids[started["id"]] = started["pid"]
        # Each is there, alone in its group once it has opened its FIFO; the last one is ended by a signal to its group.
        for i in range(19):
            open(self.path(f"{i}.fifo"), "w").close()
        gate = open(self.path("19.fifo"), "w")
        self.assertEqual(os.getpgid(pids["r19"]), pids["r19"])
        ended = template.until_exited(*names[:19])
        self.assertEqual(set(ended.values()), {(0, None)})
        # Its neighbours' state pipes reach their end although it still runs.
        self.assertEqual(template.state("r3"), [f"pid {pids['r3']}", "exit 0"])
        os.killpg(pids["r19"], signal.SIGTERM)
        self.assertEqual(template.until_exited("r19"), {"r19": (None, signal.SIGTERM)})
        gate.close()

    def test_split_and_joined_frames(self):
        template = self.template()
        fds = template.fds("split")
        template.send(template.frame("split"), fds=fds, split=True)
        both = template.fds("one") + template.fds("two")
        template.send(template.frame("one"), template.frame("two"), fds=both)
        for fd in fds + both:
            os.close(fd)
        self.assertEqual(template.until_exited("split", "one", "two"), dict.fromkeys(("split", "one", "two"), (0, None)))
        for name in ("split", "one", "two"):
            self.assertEqual(template.state(name)[-1], "exit 0")
            self.assertTrue(self.read(self.path(name + ".out")).startswith(f"run {name} ".encode()))

    def test_reused_runs_share_memory_and_nothing_else(self):
        template = self.template("""\
            import os, sys
            seen = []
            def f(n: int = 0):
                seen.append(n)
                before = [len(seen), os.environ.get("WHO"), os.environ.get("LEFT"), os.getcwd(), sys.argv[1:], "x" in sys.path]
                os.environ["LEFT"] = "1"; os.chdir("/"); sys.argv.append("left"); sys.path.append("x")
                print("out"); print("err", file=sys.stderr); sys.stdout = None
                return before
            """)  # fmt: skip
        for i, name in enumerate("abc", 1):
            template.start(name, {"parameters": {"n": i}}, mode="reuse")
            self.assertEqual(template.until_exited(name), {name: (0, None)})
            self.assertEqual(template.state(name), [f"pid {template.process.pid}", "exit 0"])
            self.assertEqual(self.report(f"{name}.json")["results"]["return"], [i, name, None, self.dir, [], False])
            self.assertEqual((self.read(self.path(name + ".out")), self.read(self.path(name + ".err"))), (b"out\n", b"err\n"))
        self.assertEqual(self.read(self.path("template.log")), b"")

    def test_both_modes_in_one_template(self):
        template = self.template("import asyncio, subprocess, sys\nasync def f():\n  return (await (await asyncio.create_subprocess_exec(sys.executable, '-Sc', '')).wait())")
        for name, mode in (("a", "fork"), ("b", "reuse"), ("c", "fork"), ("d", "reuse")):
            template.start(name, mode=mode)
            self.assertEqual(template.until_exited(name), {name: (0, None)}, self.read(self.path(name + ".err")))
            self.assertEqual(self.report(f"{name}.json")["results"], {"return": 0})

    def test_the_end_of_the_socket_waits_for_children(self):
        template = self.template()
        os.mkfifo(self.path("7.fifo"))
        template.start("last", self.spec(7, "wait"))
        self.assertIn("started", template.receive())
        template.sock.shutdown(socket.SHUT_WR)
        self.assertIsNone(template.process.poll())
        open(self.path("7.fifo"), "w").close()
        self.assertEqual(template.until_exited("last"), {"last": (0, None)})
        self.assertIsNone(template.receive())
        self.assertEqual(template.process.wait(60), 0)
        self.assertEqual((template.state("last")[-1], self.report("last.json")["state"]), ("exit 0", "completed"))

    def test_a_killed_template_leaves_an_end_without_an_exit(self):
        template = self.template()
        os.mkfifo(self.path("7.fifo"))
        template.start("orphan", self.spec(7, "wait"))
        pid = template.receive()["started"]["pid"]
        template.process.kill()
        template.process.wait()
        open(self.path("7.fifo"), "w").close()
        self.assertEqual(template.state("orphan"), [f"pid {pid}"])
        self.assertEqual(self.report("orphan.json")["state"], "completed")

    def test_code_that_cannot_be_loaded(self):
        for code, handler, kind in (("import nothing_of_this_name", "f", "ModuleNotFoundError"), ("x = 1", "f", "HandlerError"), ("x = 1", None, "HandlerError")):
            template = Template(self)
            error = template.load(code, handler)["failed"]
            self.assertEqual(error["type"], kind)
            self.assertEqual(template.process.wait(60), 1)
            self.assertIn(error["message"], self.read(self.path("template.log")).decode())

    def test_an_interrupt_leaves_the_template_alone(self):
        template = self.template()
        template.process.send_signal(signal.SIGINT)
        template.start("after")
        self.assertEqual(template.until_exited("after"), {"after": (0, None)})

    def test_exit_functions_and_threads_belong_to_the_run(self):
        template = self.template("""\
            import atexit, threading
            atexit.register(print, "template's")
            def f(context):
                atexit.register(context.log_result, "at exit", 1)
                gate = threading.Event()
                def late():
                    gate.wait()
                    context.log_result("thread", 2)
                threading.Thread(target=late).start()
                gate.set()
            """)  # fmt: skip
        template.start("a")
        template.until_exited("a")
        self.assertEqual(self.report("a.json")["results"], {"at exit": 1, "thread": 2})
        self.assertEqual(self.read(self.path("a.out")), b"")


@unittest.skipUnless(has("pandas") and has("numpy"), "pandas is not installed")
class Tables(Case):
    def test_tables_come_and_go(self):
        self.write("data.csv", "a,b\n1,x\n3,y\n")
        code = """\
            from __future__ import annotations
            import numpy, pandas as pd
            def f(context, df: pd.DataFrame, again: "pandas.DataFrame" = None):
                assert df.a.tolist() == again.a.tolist() == [1, 3]
                context.log_dataset("explicit", df, format="csv", label_column="b", stats=True)
                return df, numpy.float32(0.5), numpy.arange(3), pd.Series([1, 2]), numpy.bool_(True), df
            """
        returns = ["table", "loss", "array", "series:result", "flag", {"key": "js", "artifact_type": "dataset", "file_format": "json"}]
        report = self.call(code, returns=returns, inputs={"df": "data.csv", "again": "data.csv"})
        self.assertEqual(report["results"], {"loss": 0.5, "series": [1, 2] if isinstance(report["results"]["series"], list) else {"0": 1, "1": 2}, "flag": True})
        spec = self.artifact(report, "explicit")["spec"]
        self.assertEqual((spec["header"], spec["length"], spec["preview"], spec["label_column"]), (["a", "b"], 2, [[1, "x"], [3, "y"]], "b"))
        self.assertEqual(self.read(spec["target_path"]), b"a,b\n1,x\n3,y\n")
        self.assertEqual(self.artifact(report, "array")["spec"]["format"], "npy")
        self.assertEqual(self.artifact(report, "table")["kind"], "dataset")
        self.assertIn(self.artifact(report, "table")["spec"]["format"], ("parquet", "csv"))


@unittest.skipIf(has("pandas"), "pandas is installed")
class NoTables(Case):
    def test_asking_for_a_table_says_what_to_install(self):
        self.write("data.csv", "a\n1\n")
        code = "from __future__ import annotations\ndef f(df: pd.DataFrame): pass"
        self.assertIn("pandas is not installed; add it to the requirements", self.refuse(code, inputs={"df": "data.csv"})["message"])

    def test_a_dataset_of_plain_values_is_json(self):
        report = self.call("def f(): return [{'a': 1}]", returns=["rows:dataset"])
        self.assertEqual(json.loads(self.read(self.artifact(report, "rows")["spec"]["target_path"])), [{"a": 1}])


@unittest.skipUnless(has("mlrun"), "mlrun is not installed")
class Mlrun(Case):
    def job(self, *args, **more):
        job = super().job(*args, name="prog.py", **more)
        return {**job, "meta_tmpfile": self.path("meta.json")}

    def env(self, job):
        spec = {**job["run"]["spec"], "output_path": job["artifact_path"]}
        return {"MLRUN_META_TMPFILE": job["meta_tmpfile"], "MLRUN_EXEC_CONFIG": json.dumps({**job["run"], "spec": spec}), "MLRUN_DBPATH": ""}

    BODY = """
        assert isinstance(context, mlrun.MLClientCtx) and context.uid == "a1b2"
        context.log_result("accuracy", context.get_param("p1", 1) * 2)
        context.log_artifact("m.txt", body=b"abc")
        context.log_dataset("df", df=pandas.DataFrame({"a": [1, 2]}), format="csv")
        context.log_model("net", body=b"w", model_file="net.pkl", framework="x")
        context.set_label("a", "b")
        assert len(context.artifacts) == 3
        """

    def check(self, report):
        self.assertEqual((report["results"]["accuracy"], report["labels"]), (6, {"a": "b"}))
        found = {a["metadata"]["key"]: a for a in report["artifacts"]}
        self.assertEqual({key: a["kind"] for key, a in found.items()}, {"m.txt": "artifact", "df": "dataset", "net": "model"})
        self.assertEqual(self.read(found["m.txt"]["spec"]["target_path"]), b"abc")
        self.assertEqual((found["m.txt"]["spec"]["size"], found["df"]["spec"]["length"]), (3, 2))

    def test_a_whole_program(self):
        code = "import mlrun, pandas\ncontext = mlrun.get_or_create_ctx('x')\n" + textwrap.dedent(self.BODY)
        job = self.job(code + "print(context.get_input('data').get())", spec={"parameters": {"p1": 3}, "inputs": {"data": self.write("d.txt", "hi")}})
        status, report = self.start(job, self.env(job))
        self.assertEqual((status, report["state"]), (0, "completed"), self.err)
        self.assertIn("b'hi'", self.out)
        self.assertEqual((self.out + self.err).count("misconfigured"), 1)
        self.check(report)

    HANDLER = """\
        import mlrun, pandas
        def f(context, data: mlrun.DataItem, df: pandas.DataFrame, plain, path="x", p1: int = 1):
            assert isinstance(data, mlrun.DataItem) and isinstance(plain, mlrun.DataItem) and isinstance(path, str)
            assert data.as_df().a.tolist() == df.a.tolist() == [1] and mlrun.get_or_create_ctx("x") is context
        """ + BODY.replace("\n", "\n    ") + "\n            return 5\n"  # fmt: skip

    def spec(self):
        self.write("d.csv", "a\n1\n")
        return {"parameters": {"p1": "3"}, "inputs": dict.fromkeys(("data", "df", "plain", "path"), "d.csv"), "returns": ["five"]}

    def test_a_handler(self):
        code = textwrap.dedent(self.HANDLER).replace('get_param("p1", 1) * 2', 'get_param("p1", 1) and 6')
        job = self.job(code, "f", self.spec())
        status, report = self.start(job, self.env(job))
        self.assertEqual((status, report["state"]), (0, "completed"), self.err)
        self.assertEqual(report["results"]["five"], 5)
        self.check(report)

    def test_a_template(self):
        code = textwrap.dedent(self.HANDLER).replace('get_param("p1", 1) * 2', 'get_param("p1", 1) and 6')
        spec = self.spec()
        template = Template(self)
        self.assertIn("ready", template.load(code))
        for name, mode in (("a", "fork"), ("b", "reuse"), ("c", "reuse")):
            frame = template.frame(name, spec, mode)
            frame["start"]["env"].update(self.env(frame["start"]["run"]))
            fds = template.fds(name)
            template.send(frame, fds=fds)
            for fd in fds:
                os.close(fd)
            self.assertEqual(template.until_exited(name), {name: (0, None)}, self.read(self.path(name + ".err")))
            self.check(self.report(f"{name}.json"))

    def test_a_failing_program(self):
        job = self.job("import mlrun\nctx = mlrun.get_or_create_ctx('x')\nctx.log_result('a', 1)\nctx.set_state(error='no data')")
        status, report = self.start(job, self.env(job))
        self.assertEqual((report["state"], report["error"]["message"], report["results"]), ("error", "no data", {"a": 1}))


if __name__ == "__main__":
    unittest.main()
