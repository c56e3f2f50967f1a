"""Tables, with pandas and without."""

import json
import unittest

from support import Case, has


@unittest.skipUnless(has("pandas") and has("numpy"), "pandas is not installed")
class Tables(Case):
    def test_tables_come_and_go(self):
        self.write("data.csv", "a,b\n1,x\n3,y\n")
        code = """\
            from __future__ import annotations
            import numpy, pandas as pd
            def f(context, df: pd.DataFrame, again: "pandas.DataFrame" = None):
                assert df.a.tolist() == again.a.tolist() == [1, 3]
                context.log_dataset("explicit", df, format="csv", label_column="b", stats=True)
                return df, numpy.float32(0.5), numpy.arange(3), pd.Series([1, 2]), numpy.bool_(True), df
            """
        returns = [
            "table",
            "loss",
            "array",
            "series:result",
            "flag",
            {"key": "js", "artifact_type": "dataset", "file_format": "json"},
        ]
        report = self.call(code, returns=returns, inputs={"df": "data.csv", "again": "data.csv"})
        self.assertEqual(
            report["results"],
            {
                "loss": 0.5,
                "series": [1, 2] if isinstance(report["results"]["series"], list) else {"0": 1, "1": 2},
                "flag": True,
            },
        )
        spec = self.artifact(report, "explicit")["spec"]
        self.assertEqual(
            (spec["header"], spec["length"], spec["preview"], spec["label_column"]),
            (["a", "b"], 2, [[1, "x"], [3, "y"]], "b"),
        )
        self.assertEqual(self.read(spec["target_path"]), b"a,b\n1,x\n3,y\n")
        self.assertEqual(self.artifact(report, "array")["spec"]["format"], "npy")
        self.assertEqual(self.artifact(report, "table")["kind"], "dataset")
        self.assertIn(self.artifact(report, "table")["spec"]["format"], ("parquet", "csv"))


@unittest.skipIf(has("pandas"), "pandas is installed")
class NoTables(Case):
    def test_asking_for_a_table_says_what_to_install(self):
        self.write("data.csv", "a\n1\n")
        code = "from __future__ import annotations\ndef f(df: pd.DataFrame): pass"
        self.assertIn(
            "pandas is not installed; add it to the requirements",
            self.refuse(code, inputs={"df": "data.csv"})["message"],
        )

    def test_a_dataset_of_plain_values_is_json(self):
        report = self.call("def f(): return [{'a': 1}]", returns=["rows:dataset"])
        self.assertEqual(json.loads(self.read(self.artifact(report, "rows")["spec"]["target_path"])), [{"a": 1}])
