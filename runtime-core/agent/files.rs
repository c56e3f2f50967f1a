/// The files of the Python agent: where each goes, below the agent's folder, and its text.
pub const FILES: &[(&str, &str)] = &[
    ("runtimes/__init__.py", include_str!("runtimes/__init__.py")),
    ("runtimes/artifacts.py", include_str!("runtimes/artifacts.py")),
    ("runtimes/call.py", include_str!("runtimes/call.py")),
    ("runtimes/context.py", include_str!("runtimes/context.py")),
    ("runtimes/convert.py", include_str!("runtimes/convert.py")),
    ("runtimes/data.py", include_str!("runtimes/data.py")),
    ("runtimes/load.py", include_str!("runtimes/load.py")),
    ("runtimes/logger.py", include_str!("runtimes/logger.py")),
    ("runtimes/params.py", include_str!("runtimes/params.py")),
    ("runtimes/report.py", include_str!("runtimes/report.py")),
    ("runtimes/returns.py", include_str!("runtimes/returns.py")),
    ("runtimes/run.py", include_str!("runtimes/run.py")),
    ("runtimes/template.py", include_str!("runtimes/template.py")),
    ("runtimes/values.py", include_str!("runtimes/values.py")),
    ("runtimes/with_mlrun.py", include_str!("runtimes/with_mlrun.py")),
];
