"""Ranks of a run in a container, by a stand-in for mpirun."""

import json
import os
import sys

from support import AGENT
from test_pods import BOOT, PodCase

# Starts the ranks one after the other, tags what they print, and says of a signal what version 5 says.
MPIRUN = f"""\
#!{sys.executable}
import os, subprocess, sys

args, code = sys.argv[1:], 0
command = args[args.index({sys.executable!r}):]
for rank in range(int(args[args.index("-n") + 1])):
    env = {{**os.environ, "OMPI_COMM_WORLD_RANK": str(rank)}}
    done = subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True)
    for line in done.stdout.split("\\n")[:-1]:
        print("[1,%d]<stdout>: %s" % (rank, line), flush=True)
    if done.returncode < 0:
        print("prterun noticed that process rank %d with PID 9 on node n exited on signal %d" % (rank, -done.returncode))
    code = code or (128 - done.returncode if done.returncode < 0 else done.returncode)
sys.exit(code)
"""

CODE = """\
import os, signal

def fit(context, how: str = ""):
    rank = int(os.environ["OMPI_COMM_WORLD_RANK"])
    context.log_result("rank", rank)
    print("hello of", rank)
    print("and", end="")
    if rank and how == "raise":
        raise ValueError("boom")
    if rank and how == "kill":
        os.kill(os.getpid(), signal.SIGSEGV)
"""


class Ranks(PodCase):
    def ranks(self, how=""):
        """Two ranks to their end: (exit code, the launcher's last word)."""
        os.makedirs(self.path("work"), exist_ok=True)
        os.makedirs(self.path("bin"), exist_ok=True)
        self.write("work/main.py", CODE)
        os.chmod(self.write("bin/mpirun", MPIRUN), 0o755)
        self.write("bin/prterun", "")
        boot = [sys.executable, "-c", BOOT, AGENT, self.path("message")]
        what = {"code": {"path": "main.py"}, "handler": "fit", "args": [], "pythonpath": []}
        self.command = [*boot, "mpi", json.dumps({"ranks": 2, "export": []}), *boot, "pod", json.dumps(what)]
        path = self.path("bin") + os.pathsep + os.environ["PATH"]
        return self.pod(None, {"PATH": path}, {"parameters": {"how": how}})

    def test_the_first_one_reports(self):
        code, report = self.ranks()
        self.assertEqual((code, report["state"], report["results"]), (0, "completed", {"rank": 0}), self.err)
        self.assertEqual(self.out, "[rank 0] hello of 0\n[rank 0] and\n[rank 1] hello of 1\n[rank 1] and\n")

    def test_one_that_raises_is_named(self):
        code, report = self.ranks("raise")
        self.assertEqual((code, report["state"]), (1, "error"), self.err)
        self.assertEqual(report["error"]["message"], "boom (rank 1 of 2)")
        self.assertIn("main.py", report["error"]["traceback"])

    def test_one_that_is_killed_is_named(self):
        code, report = self.ranks("kill")
        self.assertEqual(code, 139, self.err)
        self.assertEqual(report["error"]["message"], "rank 1 of 2 was ended by signal 11 (SIGSEGV)")
