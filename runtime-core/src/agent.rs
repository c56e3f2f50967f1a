//! The Python program that runs handlers: a package of the standard library only, which a target writes next to what
//! it starts.

/// The files of the package `runtimes`: name and content.
pub const FILES: &[(&str, &str)] = &[
    ("__init__.py", include_str!("../agent/runtimes/__init__.py")),
    ("artifacts.py", include_str!("../agent/runtimes/artifacts.py")),
    ("call.py", include_str!("../agent/runtimes/call.py")),
    ("context.py", include_str!("../agent/runtimes/context.py")),
    ("convert.py", include_str!("../agent/runtimes/convert.py")),
    ("data.py", include_str!("../agent/runtimes/data.py")),
    ("endpoint.py", include_str!("../agent/runtimes/endpoint.py")),
    ("load.py", include_str!("../agent/runtimes/load.py")),
    ("logger.py", include_str!("../agent/runtimes/logger.py")),
    ("mpi.py", include_str!("../agent/runtimes/mpi.py")),
    ("params.py", include_str!("../agent/runtimes/params.py")),
    ("pod.py", include_str!("../agent/runtimes/pod.py")),
    ("rank.py", include_str!("../agent/runtimes/rank.py")),
    ("report.py", include_str!("../agent/runtimes/report.py")),
    ("returns.py", include_str!("../agent/runtimes/returns.py")),
    ("run.py", include_str!("../agent/runtimes/run.py")),
    ("source.py", include_str!("../agent/runtimes/source.py")),
    ("spark.py", include_str!("../agent/runtimes/spark.py")),
    ("submit.py", include_str!("../agent/runtimes/submit.py")),
    ("template.py", include_str!("../agent/runtimes/template.py")),
    ("values.py", include_str!("../agent/runtimes/values.py")),
    ("with_dask.py", include_str!("../agent/runtimes/with_dask.py")),
    ("with_mlrun.py", include_str!("../agent/runtimes/with_mlrun.py")),
    ("with_spark.py", include_str!("../agent/runtimes/with_spark.py")),
];

/// What Python is told to do with `-c`, before the folder of the package and the agent's own arguments.
pub const BOOT: &str = "import sys;sys.path[0]=sys.argv.pop(1);import runtimes;runtimes.main()";

/// The version of these files, as names of objects have it: the first digits of a digest of all.
pub fn version() -> &'static str {
    use std::sync::OnceLock;

    use sha1::{Digest, Sha1};
    static VERSION: OnceLock<String> = OnceLock::new();
    VERSION.get_or_init(|| {
        let mut digest = Sha1::new();
        for (name, text) in FILES {
            digest.update(name);
            digest.update(text);
        }
        digest.finalize().iter().take(5).map(|byte| format!("{byte:02x}")).collect()
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_file_is_there() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/agent/runtimes");
        let mut names: Vec<_> =
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.retain(|name| name.to_string_lossy().ends_with(".py"));
        names.sort();
        assert_eq!(
            names,
            super::FILES.iter().map(|(name, _)| std::ffi::OsString::from(name)).collect::<Vec<_>>()
        );
    }
}
