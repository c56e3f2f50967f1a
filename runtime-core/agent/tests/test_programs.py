"""Whole programs."""

import json
import os
import signal
import subprocess
import sys

from support import AGENT, BOOT, Case


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
        self.assertTrue(
            self.err.startswith(f'Traceback (most recent call last):\n  File "{self.path("code.py")}", line 5'),
            self.err,
        )
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
        self.write(
            "lib/pack/__main__.py", "from . import side\nimport sys\nprint(__name__, __package__, side.x, sys.argv[1:])"
        )
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
        self.assertEqual(
            report,
            {
                "state": "completed",
                "results": {"accuracy": 1.0, "late": True},
                "labels": {"framework": "1"},
                "annotations": {"a": "b"},
            },
        )

    def test_what_was_logged_before_the_end_survives_it(self):
        code = "import os, runtimes\nctx = runtimes.get_or_create_ctx()\nctx.log_result('a', 1)\nctx.commit()\n"
        status, report = self.start(self.job(code + "os.kill(os.getpid(), 9)"))
        self.assertEqual((status, report), (-9, {"state": "running", "results": {"a": 1}}))
        status, report = self.start(self.job(code + "raise ValueError('no')"))
        self.assertEqual(
            (status, report["state"], report["results"], report["error"]["message"]), (1, "error", {"a": 1}, "no")
        )
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
        job = self.job(
            "import runtimes; runtimes.get_or_create_ctx().log_result('a', 1)", report="/proc/no/report.json"
        )
        status, _ = self.start(job)
        self.assertEqual(status, 1)
        self.assertIn("could not be written to /proc/no/report.json", self.err)

    def test_without_a_run_it_prints_its_results(self):
        code = "import runtimes\nctx = runtimes.get_or_create_ctx('me')\nctx.log_result('a', 1)\nprint(ctx.name)\nctx.log_artifact('t.txt', body='x')"
        env = {k: v for k, v in os.environ.items() if not k.startswith("RUNTIMES")}
        done = subprocess.run(
            [sys.executable, "-c", code], env={**env, "PYTHONPATH": AGENT}, cwd=self.dir, capture_output=True, text=True
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(
            done.stdout, f'me\n> results: {{"a": 1}}\n> artifact t.txt: {self.path("artifacts", "t.txt")}\n'
        )

    def test_printed_lines_appear_at_once(self):
        job = self.job("import sys; print('first'); sys.stdin.readline()")
        with open(self.path("run.json"), "w", encoding="utf-8") as file:
            json.dump(job, file)
        command = [sys.executable, "-c", BOOT, AGENT, "run", self.path("run.json")]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            self.assertEqual(process.stdout.readline(), b"first\n")
