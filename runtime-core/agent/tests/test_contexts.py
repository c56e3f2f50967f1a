"""The context."""

import json
import os

from support import Case


class Contexts(Case):
    def test_what_was_fetched_is_read_as_a_file(self):
        fetched = self.write("x.csv", "a,b\n")
        code = """\
            def f(context, table, path: str):
                assert table.url == "s3://b/in/x.csv" and table.get() == b"a,b\\n" and table.suffix == ".csv"
                assert path == str(table) == context.get_input("table").local()
                item = context.get_dataitem("s3://b/other")
                try:
                    item.get()
                except Exception as exc:
                    return str(exc)
            """
        inputs = {"table": "s3://b/in/x.csv", "path": "store://p/k"}
        report = self.call(code, inputs=inputs, fetched={"table": fetched, "path": fetched})
        self.assertIn("name it as an input of the run", report["results"]["return"])

    def test_what_belongs_to_a_url_is_written_where_it_is_moved_on_from(self):
        code = """\
            def f(context):
                context.log_artifact("a/b", body="1", format="txt", artifact_path="s3://bucket/{{project}}/{{run.uid}}")
                context.log_dataset("t", [1], format="json", artifact_path="gs://other")
            """
        report = self.call(code)
        where = [os.path.relpath(a["spec"]["target_path"], self.path("artifacts")) for a in report["artifacts"]]
        self.assertEqual(where, [".urls/s3/bucket/default/a1b2/a/b.txt", ".urls/gs/other/t.json"])

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
        where = {
            a["metadata"]["key"]: (a["kind"], os.path.relpath(a["spec"]["target_path"], self.path("artifacts")))
            for a in report["artifacts"]
        }
        self.assertEqual(where, {
            "note": ("artifact", "note.md"), "inside": ("artifact", "inside.bin"), "sub/raw.bin": ("artifact", "sub/raw.bin"), "data": ("artifact", "data.txt"),
            "js": ("artifact", "js.json"), "folder": ("dir", "folder"), "net": ("model", "net"), "tree": ("model", "tree"),
        })  # fmt: skip
        self.assertEqual(self.read(self.path("artifacts", "note.md")), b"text2")
        self.assertEqual(json.loads(self.read(self.path("artifacts", "js.json"))), {"k": "NaN"})
        self.assertEqual(self.artifact(report, "folder")["spec"]["size"], 2)
        net = self.artifact(report, "net")["spec"]
        self.assertEqual(
            (net["framework"], net["metrics"], net["model_file"], net["db_key"]),
            ("torch", {"acc": 1}, "net.pt", "train_net"),
        )
        self.assertEqual(
            self.artifact(report, "note")["metadata"], {"key": "note", "project": "default", "iter": 0, "tree": "a1b2"}
        )
        self.assertEqual([name for name in os.listdir(self.path("artifacts")) if name.startswith(".")], [])

    def test_secrets_that_a_cluster_mounts(self):
        # As a kubelet lays them out: files are links into a folder that it replaces as a whole.
        os.makedirs(self.path("secrets", "..2026_01_01"))
        self.write("secrets/..2026_01_01/token", "t0ken")
        os.symlink("..2026_01_01", self.path("secrets", "..data"))
        os.symlink("..data/token", self.path("secrets", "token"))
        code = """
            def f(context):
                from runtimes.context import own_secrets
                assert context.get_secret("token") == "t0ken" and context.get_secret("..data") is None
                assert context.get_secret("other", "none") == "none"
                assert own_secrets() == {"token": "t0ken"}
            """
        status, _ = self.start(self.job(code, "f"), {"RUNTIMES_SECRETS_DIR": self.path("secrets")})
        self.assertEqual(status, 0, self.err)

    def test_keys_stay_in_their_folder(self):
        for key in ("../out", "/etc/x", "a/../../b", ""):
            error = self.refuse(f"def f(context): context.log_artifact({key!r}, body='x')")
            self.assertIn(f"artifact key {key!r} must be a name", error["message"])
        self.assertIn(
            "there is no file", self.refuse("def f(context): context.log_artifact('a', local_path='no.txt')")["message"]
        )

    def test_a_cluster_of_dask_is_for_functions_of_that_kind(self):
        error = self.refuse("def f(context): context.dask_client.submit(print)")
        self.assertIn("functions of the kind `dask` have one", error["message"])

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
