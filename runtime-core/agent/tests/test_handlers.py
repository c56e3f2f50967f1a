"""Handlers: what they are given, and what becomes of what they return."""

import json
import sys
import textwrap

from support import Case


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
            report = self.call(
                f"import runtimes\ndef f({hint}): {name}.log_result('x', {name}.get_param('extra'))", {"extra": 5}
            )
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
            error = self.refuse(
                f"from __future__ import annotations\nfrom typing import Literal\ndef f(p: {hint}): print('called')",
                {"p": value},
            )
            self.assertEqual(error["type"], "ParameterError", error)
            self.assertTrue(
                error["message"].startswith(f"f: parameter 'p' must be {hint}, not {json.dumps(value)}"),
                error["message"],
            )
            self.assertEqual(self.out, "")

    def test_a_handler_that_is_not_there(self):
        code = "from json import dumps\ndef train(): pass\ndef _hidden(): pass\nclass Model:\n    def fit(self): pass\nx = 1"
        self.assertEqual(
            self.refuse(code, handler="trian")["message"],
            "there is no handler 'trian' (did you mean 'train'?); the code defines: train",
        )
        self.assertIn(
            "Model has no method 'fti' (did you mean 'fit'?); it has: fit",
            self.refuse(code, handler="Model::fti")["message"],
        )
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
        self.assertEqual(
            self.call(code, {"size": "3", "epochs": "4"}, handler="Model::fit")["results"]["return"], [3, 4, True]
        )
        self.assertEqual(
            self.call(code, {"_init_args": {"size": 3}}, handler="Model::fit")["results"]["return"], [3, 1, True]
        )
        self.assertEqual(self.call(code, {"size": "3"}, handler="Model::still")["results"]["return"], "3")
        self.assertEqual(self.call(code, {"size": "3"}, handler="Model::made")["results"]["return"], "Model3")
        self.assertIn(
            "missing parameter 'size'; it is Model(size: int, context=None).fit(epochs: int = 1)",
            self.refuse(code + "\n", handler="Model::fit")["message"],
        )

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
        self.assertEqual(
            self.call(code)["results"]["return"],
            ["code_code", {"x": 1}] if sys.version_info >= (3, 10) else ["code", {"x": 1}],
        )
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
        self.assertEqual(
            (error["type"], error["message"]), ("InputError", f"input 'data': there is no file {self.path('no.csv')}")
        )
        self.assertEqual(self.out, "")
        error = self.refuse("def f(data): pass", inputs={"data": "s3://bucket/key"})
        self.assertIn("s3://bucket/key cannot be read here", error["message"])
        self.write("bad.json", "{")
        self.assertIn(
            "could not be read as dict", self.refuse("def f(data: dict): pass", inputs={"data": "bad.json"})["message"]
        )

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
            self.assertEqual(
                self.call("def f(data: list): return data", inputs={"data": url + "/x.json"})["results"]["return"],
                [1, 2],
            )
            self.assertIn(
                "/y.json could not be read: HTTP Error 404",
                self.refuse("def f(data: list): return data", inputs={"data": url + "/y.json"})["message"],
            )
            server.shutdown()

    def test_returns(self):
        self.write("made.txt", "made")
        code = """\
            import pathlib
            class Odd:
                def __init__(self): self.x = 1
            def f(): return 0.5, {"k": 1}, "made.txt", [1, 2], Odd(), pathlib.Path("made.txt"), b"model"
            """
        hints = [
            "accuracy",
            "table:result",
            "file:file",
            {"key": "obj", "artifact_type": "object"},
            "odd",
            "kept",
            "net:model",
        ]
        report = self.call(code, returns=hints)
        self.assertEqual(report["results"], {"accuracy": 0.5, "table": {"k": 1}})
        self.assertEqual([a["metadata"]["key"] for a in report["artifacts"]], ["file", "obj", "odd", "kept", "net"])
        file = self.artifact(report, "file")
        self.assertEqual(file["spec"]["target_path"], self.path("artifacts", "file.txt"))
        self.assertEqual((file["spec"]["size"], file["spec"]["format"]), (4, "txt"))
        self.assertEqual(file["spec"]["hash"], __import__("hashlib").sha1(b"made").hexdigest())
        self.assertEqual(
            __import__("pickle").loads(self.read(self.artifact(report, "obj")["spec"]["target_path"])), [1, 2]
        )
        self.assertEqual(self.artifact(report, "net")["kind"], "model")
        self.assertEqual(self.read(self.path("artifacts", "net", "net.pkl")), b"model")
        self.assertEqual(
            json.loads(self.read(self.path("artifacts", "net", "model_spec.yaml")))["spec"]["model_file"], "net.pkl"
        )
        self.assertIn("artifact 'odd': a Odd was kept as a pickle", report["notes"])

    def test_returns_that_do_not_fit(self):
        self.assertIn(
            "returned 1 value, but `returns` names 2: a, b",
            self.refuse("def f(): return 1", returns=["a", "b"])["message"],
        )
        self.assertIn(
            "'resutl' (did you mean 'result'?)", self.refuse("def f(): return 1", returns=["a:resutl"])["message"]
        )
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
