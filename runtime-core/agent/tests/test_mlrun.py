"""Code that uses MLRun, with the real one where it is installed."""

import json
import os
import textwrap
import unittest

from support import Case, Template, has


@unittest.skipUnless(has("mlrun"), "mlrun is not installed")
class Mlrun(Case):
    def job(self, *args, **more):
        job = super().job(*args, name="prog.py", **more)
        return {**job, "meta_tmpfile": self.path("meta.json")}

    def env(self, job):
        spec = {**job["run"]["spec"], "output_path": job["artifact_path"]}
        return {
            "MLRUN_META_TMPFILE": job["meta_tmpfile"],
            "MLRUN_EXEC_CONFIG": json.dumps({**job["run"], "spec": spec}),
            "MLRUN_DBPATH": "",
        }

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
        self.assertEqual(
            {key: a["kind"] for key, a in found.items()}, {"m.txt": "artifact", "df": "dataset", "net": "model"}
        )
        self.assertEqual(self.read(found["m.txt"]["spec"]["target_path"]), b"abc")
        self.assertEqual((found["m.txt"]["spec"]["size"], found["df"]["spec"]["length"]), (3, 2))

    def test_a_whole_program(self):
        code = "import mlrun, pandas\ncontext = mlrun.get_or_create_ctx('x')\n" + textwrap.dedent(self.BODY)
        job = self.job(
            code + "print(context.get_input('data').get())",
            spec={"parameters": {"p1": 3}, "inputs": {"data": self.write("d.txt", "hi")}},
        )
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
        return {
            "parameters": {"p1": "3"},
            "inputs": dict.fromkeys(("data", "df", "plain", "path"), "d.csv"),
            "returns": ["five"],
        }

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
        self.assertIsNone(template.load(code))
        for name, mode in (("a", "fork"), ("b", "reuse"), ("c", "reuse")):
            path = self.path(name)
            job = {**self.job(None, spec=spec), "meta_tmpfile": path + ".meta.json", "artifact_path": path}
            template.start(name, spec, mode, env=self.env(job))
            self.assertEqual(template.until_over(name), {name: "exit 0"}, self.read(self.path(name + ".err")))
            self.check(template.report(name))

    def test_a_failing_program(self):
        job = self.job(
            "import mlrun\nctx = mlrun.get_or_create_ctx('x')\nctx.log_result('a', 1)\nctx.set_state(error='no data')"
        )
        status, report = self.start(job, self.env(job))
        self.assertEqual(
            (report["state"], report["error"]["message"], report["results"]), ("error", "no data", {"a": 1})
        )
