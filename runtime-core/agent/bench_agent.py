"""What the agent costs, beside its floors: `python3 bench_agent.py [RUNS]`. On a quiet machine."""

import array
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
BOOT = "import sys;sys.path[0]=sys.argv.pop(1);import runtimes;runtimes.main()"
# The handler of the template also measures the floor: bare forks of the very same process.
CODE = """
import os, time
def f(n: int = 0):
    if n:
        return floor(n)
def floor(n):
    start = time.perf_counter()
    for _ in range(n):
        pid = os.fork()
        if not pid:
            os._exit(0)
        os.waitpid(pid, 0)
    return n / (time.perf_counter() - start)
"""


class Template:
    def __init__(self, folder):
        self.folder, self.buffer, self.count = folder, b"", 0
        self.sock, theirs = socket.socketpair()
        self.process = subprocess.Popen([sys.executable, "-c", BOOT, HERE, "template"], stdin=theirs)
        theirs.close()
        self.null = os.open(os.devnull, os.O_WRONLY)
        code = os.path.join(folder, "noop.py")
        with open(code, "w", encoding="utf-8") as file:
            file.write(CODE)
        self.job = {"code": {"path": code}, "handler": "f", "base_dir": folder}
        self.send(b"L" + json.dumps(self.job).encode())
        self.receive()

    def send(self, data, fds=()):
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        self.sock.sendmsg([len(data).to_bytes(4, "big") + data], ancillary)

    def receive(self):
        while b"\n" not in self.buffer:
            self.buffer += self.sock.recv(65536)
        line, _, self.buffer = self.buffer.partition(b"\n")
        return line

    def start(self, mode, name="r", state=None, parameters=None):
        meta = {"uid": "u", "name": "n", "project": "default", "iteration": 0}
        run = {"metadata": meta, "spec": {"parameters": parameters or {}}}
        fields = [self.folder, "1" if parameters else "", json.dumps({"run": run}), "MLRUN_EXEC_CONFIG={}"]
        head = {"fork": b"F", "reuse": b"R"}[mode] + bytes([len(name)]) + name.encode()
        self.send(head + "\0".join(fields).encode(), [self.null if state is None else state, self.null, self.null])

    def run(self, mode):
        self.start(mode)
        self.receive()

    def rate(self, mode, count):
        start = time.perf_counter()
        for _ in range(count):
            self.run(mode)
        return count / (time.perf_counter() - start)

    def floor(self, count):
        """Bare forks a second, of the template itself."""
        path = os.path.join(self.folder, "state")
        state = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        self.start("reuse", "floor", state, {"n": count})
        os.close(state)
        self.receive()
        with open(path, encoding="utf-8") as file:
            report = [line for line in file if line.startswith("report ")][-1]
        return json.loads(report[len("report ") :])["results"]["return"]


def templates(folder, runs):
    template = Template(folder)
    cases = [("forked", "fork"), ("reused", "reuse")]
    rounds = [[template.floor(runs)] + [template.rate(mode, runs) for _, mode in cases] for _ in range(7)]
    print(f"bare fork, exit, wait  {statistics.median(each[0] for each in rounds):8.0f}/s")
    for i, (what, _) in enumerate(cases, 1):
        rate, ratio = (
            statistics.median(each[i] for each in rounds),
            statistics.median(each[i] / each[0] for each in rounds),
        )
        print(f"{what:22} {rate:8.0f}/s  {ratio:.2f} of bare, {1e6 / rate:.0f} us each")
    template.sock.close()
    template.process.wait()


def programs(folder, runs):
    code, run = os.path.join(folder, "noop.py"), os.path.join(folder, "run.json")
    with open(run, "w", encoding="utf-8") as file:
        json.dump(
            {"run": {"metadata": {}, "spec": {}}, "code": {"path": code}, "report": os.path.join(folder, "r.json")},
            file,
        )
    for flags in (["-S", "-E"], []):
        commands = ([sys.executable, *flags, code], [sys.executable, *flags, "-c", BOOT, HERE, "run", run])
        cpu = ([], [])
        for _ in range(runs):
            for command, used in zip(commands, cpu):
                start = time.perf_counter()
                process = subprocess.Popen(command)
                _, _, usage = os.wait4(process.pid, 0)
                used.append((time.perf_counter() - start, usage.ru_utime + usage.ru_stime))
        for what, index in (("wall", 0), ("cpu", 1)):
            bare, ours = (statistics.median(each[index] for each in used) * 1e3 for used in cpu)
            print(f"python3 {' '.join(flags):6} FILE   {bare:6.2f} ms {what}, through the agent +{ours - bare:.2f} ms")


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    with tempfile.TemporaryDirectory() as temp:
        templates(temp, count)
        programs(temp, count // 2)
