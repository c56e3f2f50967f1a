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
def f(): pass
def floor(n: int):
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
        self.send({"load": self.job})
        self.receive()

    def send(self, frame, fds=()):
        data = json.dumps(frame).encode()
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        self.sock.sendmsg([len(data).to_bytes(4, "big") + data], ancillary)

    def receive(self):
        while len(self.buffer) < 4 or len(self.buffer) < 4 + int.from_bytes(self.buffer[:4], "big"):
            self.buffer += self.sock.recv(65536)
        end = 4 + int.from_bytes(self.buffer[:4], "big")
        frame, self.buffer = json.loads(self.buffer[4:end]), self.buffer[end:]
        return frame

    def run(self, mode, handler="f", parameters=None, file=True):
        run = {
            "metadata": {"uid": "u", "name": "n", "project": "default", "iteration": 0},
            "spec": {"parameters": parameters or {}},
        }
        self.count += 1
        self.report = os.path.join(self.folder, f"report{self.count}.json")
        job = {**self.job, "handler": handler, "run": run, "report": self.report if file else None}
        state = [self.null] * 3
        self.send(
            {
                "start": {
                    "id": "r",
                    "run": job,
                    "mode": mode,
                    "env": {"MLRUN_EXEC_CONFIG": "{}"},
                    "workdir": self.folder,
                }
            },
            state,
        )
        while "exited" not in self.receive():
            pass

    def rate(self, mode, count, file=True):
        start = time.perf_counter()
        for _ in range(count):
            self.run(mode, file=file)
        return count / (time.perf_counter() - start)

    def floor(self, count):
        self.run("reuse", "floor", {"n": count})
        with open(self.report, encoding="utf-8") as file:
            return json.load(file)["results"]["return"]


def templates(folder, runs):
    template = Template(folder)
    cases = [("forked, a report file", "fork", True), ("forked, a report line", "fork", False),
             ("reused, a report file", "reuse", True), ("reused, a report line", "reuse", False)]  # fmt: skip
    rounds = [[template.floor(runs)] + [template.rate(mode, runs, file) for _, mode, file in cases] for _ in range(7)]
    print(f"bare fork, exit, wait  {statistics.median(each[0] for each in rounds):8.0f}/s")
    for i, (what, _, _) in enumerate(cases, 1):
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
