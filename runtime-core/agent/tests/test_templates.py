"""Templates."""

import json
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
                self.assertEqual(
                    template.state(name)[-1], {"raise": "exit 1", "exit": "exit 3", "signal": "signal 9"}[how]
                )
            error = self.report(f"{mode}-raise.json")["error"]
            self.assertEqual(
                (error["type"], error["message"], error["file"], error["line"]),
                ("ValueError", "3", self.path("code.py"), 7),
            )
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
        self.assertEqual(
            template.until_exited("split", "one", "two"), dict.fromkeys(("split", "one", "two"), (0, None))
        )
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
            self.assertEqual(
                (self.read(self.path(name + ".out")), self.read(self.path(name + ".err"))), (b"out\n", b"err\n")
            )
        self.assertEqual(self.read(self.path("template.log")), b"")

    def test_both_modes_in_one_template(self):
        template = self.template(
            "import asyncio, subprocess, sys\nasync def f():\n  return (await (await asyncio.create_subprocess_exec(sys.executable, '-Sc', '')).wait())"
        )
        for name, mode in (("a", "fork"), ("b", "reuse"), ("c", "fork"), ("d", "reuse")):
            template.start(name, mode=mode)
            self.assertEqual(template.until_exited(name), {name: (0, None)}, self.read(self.path(name + ".err")))
            self.assertEqual(self.report(f"{name}.json")["results"], {"return": 0})

    def test_a_report_may_be_a_line_of_the_state(self):
        template = self.template()
        for name, mode in (("a", "fork"), ("b", "reuse")):
            frame, fds = template.frame(name, self.spec(3, "raise"), mode), template.fds(name)
            frame["start"]["run"]["report"] = None
            template.send(frame, fds=fds)
            for fd in fds:
                os.close(fd)
            self.assertEqual(template.until_exited(name), {name: (1, None)})
            pid, said, end = template.state(name)
            self.assertEqual((pid, end), (f"pid {template.pids[name]}", "exit 1"))
            self.assertEqual(json.loads(said[len("report ") :])["error"]["message"], "3")

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
        for code, handler, kind in (
            ("import nothing_of_this_name", "f", "ModuleNotFoundError"),
            ("x = 1", "f", "HandlerError"),
            ("x = 1", None, "HandlerError"),
        ):
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
