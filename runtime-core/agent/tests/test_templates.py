"""Templates."""

import os
import signal
import socket
import textwrap

from support import Case, Template


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
        self.assertIsNone(template.load(textwrap.dedent(code or self.CODE)))
        return template

    def spec(self, n=0, how="well"):
        return {"parameters": {"n": n, "how": how}}

    def test_forked_runs_start_clean(self):
        template = self.template()
        randoms = set()
        for name in ("a", "b"):
            template.start(name, self.spec(1))
            self.assertEqual(template.until_over(name), {name: "exit 0"})
            pid, end = template.state(name)
            self.assertEqual((pid[:4], end), ("pid ", "exit 0"))
            self.assertNotEqual(int(pid[4:]), template.process.pid)
            count, number = template.said[-1]["results"]["return"]
            self.assertEqual((count, template.said[-1]["state"]), (1, "completed"))
            self.assertEqual(self.read(self.path(name + ".out")), f"run {name} True\n".encode())
            randoms.add(number)
        self.assertEqual(len(randoms), 2)
        self.assertEqual(self.read(self.path("template.log")), b"loaded\n")

    def test_a_run_that_is_given_nothing(self):
        template = self.template("def f():\n  pass")
        for name, mode in (("a", "fork"), ("b", "reuse")):
            template.start(name, mode=mode)
            self.assertEqual(template.until_over(name), {name: "exit 0"})
            self.assertEqual(template.report(name), {"state": "completed"})
        template.start("c", {"parameters": {"n": 1}})
        template.until_over("c")
        self.assertIn("unknown parameter 'n'", template.report("c")["error"]["message"])

    def test_every_end_is_recorded(self):
        for mode, cases in (("fork", ("raise", "exit", "signal")), ("reuse", ("raise", "exit"))):
            template = self.template()
            for how in cases:
                name = f"{mode}-{how}"
                template.start(name, self.spec(3, how), mode=mode)
                want = {"raise": "exit 1", "exit": "exit 3", "signal": "signal 9"}[how]
                self.assertEqual(template.until_over(name)[name], want)
                self.assertEqual(template.state(name)[-1], want)
                if how == "raise":
                    error = template.said[-1]["error"]
                    self.assertEqual(
                        (error["type"], error["message"], error["file"], error["line"]),
                        ("ValueError", "3", self.path("code.py"), 7),
                    )
                    self.assertEqual(self.read(self.path(f"{mode}-raise.err")).decode(), error["traceback"])
                if how == "signal":
                    self.assertEqual(template.said, [])
            template.close()

    def test_many_at_once_in_their_own_groups(self):
        template = self.template()
        names = [f"r{i}" for i in range(20)]
        for i, name in enumerate(names):
            os.mkfifo(self.path(f"{i}.fifo"))
            template.start(name, self.spec(i, "wait"))
        pids = {name: template.pid(name) for name in names}
        # Each is there, alone in its group once it has opened its FIFO; the last one is ended by a signal to its group.
        for i in range(19):
            open(self.path(f"{i}.fifo"), "w").close()
        gate = open(self.path("19.fifo"), "w")
        self.assertEqual(os.getpgid(pids["r19"]), pids["r19"])
        self.assertEqual(set(template.until_over(*names[:19]).values()), {"exit 0"})
        # Its neighbours' state pipes reach their end although it still runs.
        self.assertEqual(template.state("r3"), ["exit 0"])
        os.killpg(pids["r19"], signal.SIGTERM)
        self.assertEqual(template.until_over("r19"), {"r19": "signal 15"})
        gate.close()

    def test_split_and_joined_frames(self):
        template = self.template()
        fds = template.fds("split")
        template.send(template.frame("split"), fds=fds, split=True)
        both = template.fds("one") + template.fds("two")
        template.send(template.frame("one"), template.frame("two"), fds=both)
        large = template.fds("large")
        template.send(template.frame("large", {"parameters": {"how": "x" * 1_000_000}}), fds=large)
        for fd in fds + both + large:
            os.close(fd)
        names = ("split", "one", "two", "large")
        self.assertEqual(template.until_over(*names), dict.fromkeys(names, "exit 0"))
        for name in names:
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
                if n == 2: os.system("echo $WHO")
                print("out"); print("err", file=sys.stderr); sys.stdout = None
                return before + [os.popen("echo $WHO$LEFT").read()] if n == 3 else before
            """)  # fmt: skip
        for i, name in enumerate("abc", 1):
            template.start(name, {"parameters": {"n": i}}, mode="reuse")
            self.assertEqual(template.until_over(name), {name: "exit 0"})
            state = template.state(name)
            self.assertEqual((state[0], state[-1]), (f"pid {template.process.pid}", "exit 0"))
            spawned = ["c1\n"] if i == 3 else []
            self.assertEqual(template.said[-1]["results"]["return"], [i, name, None, self.dir, [], False, *spawned])
            said = b"b\nout\n" if i == 2 else b"out\n"
            self.assertEqual(
                (self.read(self.path(name + ".out")), self.read(self.path(name + ".err"))), (said, b"err\n")
            )
        self.assertEqual(self.read(self.path("template.log")), b"")

    def test_a_queued_run_is_taken_back(self):
        template = self.template()
        for i, name in enumerate("abc"):
            os.mkfifo(self.path(f"{i}.fifo"))
            template.start(name, self.spec(i, "wait" if i == 0 else "well"), mode="reuse")
        template.pid("a")
        template.cancel("b")
        template.cancel("a")  # too late
        open(self.path("0.fifo"), "w").close()
        self.assertEqual(
            template.until_over("a", "b", "c"), {"a": "exit 0", "b": "cancelled", "c": "exit 0"}
        )
        self.assertEqual(template.state("b"), [])

    def test_both_modes_in_one_template(self):
        template = self.template(
            "import asyncio, subprocess, sys\nasync def f():\n  return (await (await asyncio.create_subprocess_exec(sys.executable, '-Sc', '')).wait())"
        )
        for name, mode in (("a", "fork"), ("b", "reuse"), ("c", "fork"), ("d", "reuse")):
            template.start(name, mode=mode)
            self.assertEqual(template.until_over(name), {name: "exit 0"}, self.read(self.path(name + ".err")))
            self.assertEqual(template.report(name)["results"], {"return": 0})

    def test_programs_that_a_run_starts_know_the_run(self):
        ask = "import os, runtimes; print(os.environ['WHO'], runtimes.get_or_create_ctx().uid)"
        ways = {
            "popen": f"subprocess.check_output([sys.executable, '-c', {ask!r}], text=True)",
            "system": f"os.popen(sys.executable + ' -c ' + shlex.quote({ask!r})).read()",
            "spawn": f"multiprocessing.get_context('spawn').Pool(1).apply(eval, ('__import__(\"os\").environ[\"WHO\"]',)) + ' a1b2'",
        }
        for imports in ("", "import multiprocessing.pool\n"):
            template = self.template(
                f"{imports}import os, sys\ndef f(how):\n  import shlex, subprocess, multiprocessing\n  return eval(how)"
            )
            for way, code in ways.items():
                env = {"PYTHONPATH": os.path.dirname(os.path.dirname(os.path.abspath(__file__)))}
                template.start(way, {"parameters": {"how": code}}, env=env)
                self.assertEqual(template.until_over(way), {way: "exit 0"}, self.read(self.path(way + ".err")))
                self.assertEqual(template.report(way)["results"]["return"].strip(), f"{way} a1b2")
            template.close()

    def test_the_end_of_the_socket_waits_for_children(self):
        template = self.template()
        os.mkfifo(self.path("7.fifo"))
        template.start("last", self.spec(7, "wait"))
        template.pid("last")
        template.sock.shutdown(socket.SHUT_WR)
        self.assertIsNone(template.process.poll())
        open(self.path("7.fifo"), "w").close()
        self.assertEqual(template.until_over("last"), {"last": "exit 0"})
        self.assertIsNone(template.receive())
        self.assertEqual(template.process.wait(60), 0)
        self.assertEqual((template.state("last")[-1], template.said[-1]["state"]), ("exit 0", "completed"))

    def test_the_end_of_the_socket_begins_nothing_more(self):
        template = self.template()
        os.mkfifo(self.path("0.fifo"))
        template.start("a", self.spec(0, "wait"), mode="reuse")
        template.pid("a")
        template.start("b", mode="reuse")
        template.sock.shutdown(socket.SHUT_WR)
        open(self.path("0.fifo"), "w").close()
        self.assertEqual(template.until_over("a"), {"a": "exit 0"})
        self.assertEqual(template.process.wait(60), 0)
        self.assertEqual(template.state("b"), [])

    def test_a_killed_template_leaves_an_end_without_an_exit(self):
        template = self.template()
        os.mkfifo(self.path("7.fifo"))
        template.start("orphan", self.spec(7, "wait"))
        template.pid("orphan")
        template.process.kill()
        template.process.wait()
        open(self.path("7.fifo"), "w").close()
        self.assertEqual(template.state("orphan"), [])
        self.assertEqual(template.said[-1]["state"], "completed")

    def test_code_that_cannot_be_loaded(self):
        for code, handler, kind in (
            ("import nothing_of_this_name", "f", "ModuleNotFoundError"),
            ("x = 1", "f", "HandlerError"),
            ("x = 1", None, "HandlerError"),
        ):
            template = Template(self)
            error = template.load(code, handler)
            self.assertEqual(error["type"], kind)
            self.assertEqual(template.process.wait(60), 1)
            self.assertIn(error["message"], self.read(self.path("template.log")).decode())

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
        template.until_over("a")
        self.assertEqual(template.report("a")["results"], {"at exit": 1, "thread": 2})
        self.assertEqual(self.read(self.path("a.out")), b"")
