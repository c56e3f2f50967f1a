"""Runs as the first process of a container, and the sources that they fetch."""

import http.server
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import threading
import unittest
import unittest.mock
import zipfile

from support import AGENT, Case

# As in a container, but for the place of the last word.
BOOT = (
    "import sys; sys.path[0] = sys.argv.pop(1); import runtimes.pod as pod; pod.MESSAGE = sys.argv.pop(1); "
    "import runtimes; runtimes.main()"
)
CODE = "import helper\ndef fit(context):\n    context.log_result('said', helper.SAID)\n"


class Handler(http.server.SimpleHTTPRequestHandler):
    def do_GET(self):
        self.server.asked += 1
        if self.server.failures:
            return self.send_error(self.server.failures.pop(0))
        if self.path == "/short.tar.gz":
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            return self.wfile.write(b"short")
        return super().do_GET()

    def log_message(self, *_):
        pass


class PodCase(Case):
    command = None

    def pod(self, what, env=None, spec=None):
        """Runs a pod to its end: (exit code, its last word)."""
        if os.path.exists(self.path("message")):
            os.remove(self.path("message"))
        with self.begin(what, env, spec) as process:
            self.out, self.err = process.communicate(timeout=120)
        return process.returncode, self.report("message")

    def begin(self, what, env=None, spec=None):
        run = {"metadata": {"uid": "a1", "name": "fit", "project": "default"}, "spec": spec or {}}
        command = self.command or [sys.executable, "-c", BOOT, AGENT, self.path("message"), "pod", json.dumps(what)]
        env = {**os.environ, "MLRUN_EXEC_CONFIG": json.dumps(run), "TMPDIR": self.dir, **(env or {})}
        env.pop("PYTHONPATH", None)
        os.makedirs(self.path("work"), exist_ok=True)
        return subprocess.Popen(
            command, env=env, cwd=self.path("work"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )


class Pods(PodCase):
    def serve(self, *failures):
        """A server of the files in `served`, which answers so first."""
        os.makedirs(self.path("served"), exist_ok=True)
        served = self.path("served")
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), lambda *a: Handler(*a, directory=served))
        server.failures, server.asked, server.daemon_threads = list(failures), 0, True
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        return server, f"http://127.0.0.1:{server.server_address[1]}"

    def source(self, address, **more):
        what = {"code": {"path": "train.py"}, "handler": "fit", "args": [], "pythonpath": []}
        return self.pod({**what, **more.pop("what", {}), "source": {"address": address, **more}})

    def refused(self, address, *words, **more):
        status, report = self.source(address, **more)
        self.assertEqual((status, report["state"], report["error"]["type"]), (1, "error", "SourceError"), self.err)
        for word in words:
            self.assertIn(word, report["error"]["message"])
        self.assertIn(report["error"]["message"], self.err, "the log says it, too")

    def tar(self, name, files=None, add=None):
        os.makedirs(os.path.dirname(self.path(name)), exist_ok=True)
        with tarfile.open(self.path(name), "w:gz" if name.endswith("gz") else "w") as archive:
            for path, text in (files or {}).items():
                entry = tarfile.TarInfo(path)
                entry.size, entry.mode = len(text), 0o755
                archive.addfile(entry, io.BytesIO(text.encode()))
            for entry in add or ():
                archive.addfile(entry)
        return self.path(name)

    def test_an_archive_is_fetched_and_its_code_called(self):
        server, url = self.serve(503, 429)
        files = {"train.py": CODE, "helper.py": "SAID = 'hello'"}
        self.tar("served/a.tar.gz", files)
        self.tar("served/b.tar", {f"deep/{name}": text for name, text in files.items()})
        with zipfile.ZipFile(self.path("served", "c.zip"), "w") as archive:
            for name, text in files.items():
                archive.writestr(name, text)
        for name, more in [("a.tar.gz", {}), ("b.tar", {"workdir": "deep"}), ("c.zip", {"target": "made/here"})]:
            with self.subTest(name):
                status, report = self.source(f"{url}/{name}", **more)
                self.assertEqual((status, report["results"]), (0, {"said": "hello"}), self.err)
                self.assertIn(f"/{name} has ", self.err)
        self.assertEqual(server.asked, 5, "what may pass is tried again")
        self.assertTrue(os.path.exists(self.path("work", "made", "here", "helper.py")))

    def test_an_archive_or_a_folder_of_the_image(self):
        path = self.tar("in-image.tgz", {"train.py": CODE, "helper.py": "SAID = 1"})
        self.assertEqual(self.source(path)[1]["results"], {"said": 1}, self.err)
        self.assertEqual(self.source(f"file://{path}")[1]["results"], {"said": 1}, self.err)
        os.makedirs(self.path("folder", "sub"))
        self.write("folder/train.py", CODE)
        self.write("folder/sub/helper.py", "SAID = 2")
        # The code lies at the root, what it imports in the working directory.
        self.assertEqual(self.source(self.path("folder"), workdir="sub")[1]["results"], {"said": 2}, self.err)

    def test_programs_and_modules_of_a_source(self):
        script = "#!/bin/sh\ncat data.txt; python3 -c 'import helper; print(helper.SAID)'; pwd"
        path = self.tar("a.tar", {"run.sh": script, "data.txt": "data\n", "helper.py": "SAID = 3"})
        status, report = self.pod({"program": ["./run.sh"], "source": {"address": path, "target": self.path("here")}})
        self.assertEqual((status, report, self.out), (0, None, f"data\n3\n{self.path('here')}\n"), self.err)
        path = self.tar("b.tar", {"pack/__init__.py": "", "pack/mod.py": "def fit(): return 4\n"})
        what = {"code": {"module": "pack.mod"}, "handler": "fit", "args": [], "pythonpath": []}
        status, report = self.pod({**what, "source": {"address": path}}, spec={"returns": ["x"]})
        self.assertEqual(report["results"], {"x": 4}, self.err)

    def test_what_would_write_elsewhere_is_refused(self):
        link, hard, device = tarfile.TarInfo("link"), tarfile.TarInfo("hard"), tarfile.TarInfo("device")
        link.type, link.linkname = tarfile.SYMTYPE, "../.."
        hard.type, hard.linkname = tarfile.LNKTYPE, "/etc/passwd"
        device.type = tarfile.CHRTYPE
        for name, files, entries in [
            ("up.tar", {"../evil": "x"}, ()),
            ("root.tar", {"/tmp/evil-of-a-test": "x"}, ()),
            ("link.tar", {}, [link]),
            ("hard.tar", {}, [hard]),
            ("device.tar", {}, [device]),
        ]:
            with self.subTest(name):
                self.refused(self.tar(name, files, entries), name)
        self.assertFalse(os.path.exists("/tmp/evil-of-a-test") or os.path.exists(self.path("evil")))
        path = self.path("up.zip")
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("../evil", "x")
        self.refused(path, "outside of its folder")
        inner = tarfile.TarInfo("inner")
        inner.type, inner.linkname = tarfile.SYMTYPE, "train.py"
        path = self.tar("inner.tar", {"train.py": CODE, "helper.py": "SAID = 5"}, [inner])
        self.assertEqual(self.source(path, what={"code": {"path": "inner"}})[0], 0, self.err)

    def test_what_is_missing_or_broken_is_said(self):
        _, url = self.serve()
        self.write("served/broken.tar.gz", b"\x1f\x8b broken")
        self.refused(f"{url}/none.tar.gz", "HTTP 404", "none.tar.gz")
        self.refused(f"{url}/broken.tar.gz", "is no archive")
        self.refused(self.path("none.tar.gz"), "none.tar.gz")
        path = self.tar("a.tar", {"other.py": ""})
        self.refused(path, "spec.command", "train.py")
        self.refused(path, "spec.workdir", "missing", workdir="missing")

    @unittest.skipUnless(os.path.exists("/usr/bin/git"), "skipped: no git")
    def test_a_repository(self):
        def git(*args):
            env = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null"}
            who = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main"]
            done = subprocess.run(["git", *who, *args], cwd=self.path("repo.git"), env=env, check=True, capture_output=True)
            return done.stdout.decode().strip()

        os.makedirs(self.path("repo.git", "sub"))
        git("init", "-q")
        commits = []
        for said in (1, 2):
            self.write("repo.git/train.py", CODE)
            self.write("repo.git/helper.py", f"SAID = {said}")
            self.write("repo.git/sub/train.py", CODE)
            self.write("repo.git/sub/helper.py", f"SAID = {said * 10}")
            git("add", "-A")
            git("commit", "-qm", "one")
            commits.append(git("rev-parse", "HEAD"))
            git("tag", f"v{said}")
        url = f"git+file://{self.path('repo.git')}"
        for fragment, said in [
            ("", 2), ("#main", 2), ("#refs/heads/main", 2), ("#v1", 1), (f"#{commits[0]}", 1), (f"#{commits[0][:8]}", 1),
            ("#v1:sub", 10),
        ]:  # fmt: skip
            with self.subTest(fragment):
                status, report = self.source(url + fragment)
                self.assertEqual((status, report.get("results")), (0, {"said": said}), self.err)
                self.assertIn(f"is at commit {commits[0] if said in (1, 10) else commits[1]}", self.err)
        self.refused(f"{url}#none", "'none'", "GIT_TOKEN")
        self.refused(f"git+file://{self.path('other.git')}", "other.git")
        with unittest.mock.patch.dict(os.environ, {"PATH": "/nowhere"}):
            self.refused(url, "no `git`")

    def test_a_pod_that_fetches_can_be_ended(self):
        server, url = self.serve(*[503] * 10)
        with self.begin({"program": ["true"], "source": {"address": f"{url}/a.tar"}}) as process:
            while not server.asked:
                pass
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=60)
        self.assertEqual(process.returncode, 143)
