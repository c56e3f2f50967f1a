//! Pure: what an image is made of, as the text of a Dockerfile.

use std::fmt::Write;

use crate::{Error, Result};

/// Where sources go that name no place of their own.
const HOME: &str = "/home/mlrun_code/";

/// What an image is made of.
#[derive(Default)]
pub(crate) struct Dockerfile<'a> {
    /// The image to build on.
    pub(crate) base: &'a str,
    /// Arguments of the build, as `ARG` has them.
    pub(crate) args: Vec<String>,
    /// What of the build's context is copied.
    pub(crate) source: Option<&'a str>,
    /// The folder into which it is copied.
    pub(crate) target: &'a str,
    /// Commands, in this order.
    pub(crate) commands: Vec<String>,
    /// The file with requirements, where there are any.
    pub(crate) requirements: Option<&'a str>,
    /// Lines at the end.
    pub(crate) extra: &'a str,
}

/// What stands before a command that may read these secrets: files for as long as it runs, and variables with what is in
/// them. They are in no layer.
fn with_secrets(secrets: &[&str]) -> (String, String) {
    let mounts = secrets.iter().map(|name| format!("--mount=type=secret,id={name} "));
    let is_variable = |name: &str| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let variables = secrets.iter().filter(|name| is_variable(name));
    let reads = variables.map(|name| format!("{name}=\"$(cat /run/secrets/{name})\" "));
    let reads: String = reads.collect();
    (mounts.collect(), if reads.is_empty() { reads } else { format!("export {reads}&& ") })
}

/// What BuildKit builds from.
pub(super) struct BuildKitFile<'a> {
    pub(super) base: &'a str,
    pub(super) args: Vec<String>,
    /// Whether there is a source, which is copied.
    pub(super) source: bool,
    pub(super) target: &'a str,
    pub(super) commands: &'a [String],
    pub(super) requirements: bool,
    pub(super) secrets: Vec<&'a str>,
    pub(super) extra: &'a str,
}

impl BuildKitFile<'_> {
    /// The text. What is no part of the source comes from the context `runtimes`.
    pub(super) fn text(&self) -> String {
        let mut text = format!("FROM {}\n", self.base);
        for arg in &self.args {
            text += &format!("ARG {arg}\n");
        }
        if self.source {
            text += &format!("COPY . {0}\nENV PYTHONPATH={0}\n", self.target);
        }
        let (mounts, reads) = with_secrets(&self.secrets);
        for command in self.commands {
            text += &format!("RUN {mounts}{reads}{command}\n");
        }
        if self.requirements {
            text += &format!(
                "RUN --mount=type=bind,from=runtimes,source=requirements.txt,target=/tmp/requirements.txt {mounts}\
                 {reads}python -m pip install --no-cache-dir -r /tmp/requirements.txt\n"
            );
        }
        text + self.extra
    }
}

impl Dockerfile<'_> {
    /// The text.
    pub(crate) fn text(&self) -> String {
        let args: String = self.args.iter().fold(String::new(), |mut text, arg| {
            let _ = writeln!(text, "ARG {arg}");
            text
        });
        let mut text = String::new();
        let unpacked = self.source.filter(|source| source.ends_with(".zip"));
        // `ADD` unpacks archives, but for this one.
        if let Some(source) = unpacked {
            let folder = format!("{}/source", self.target.trim_end_matches('/'));
            text += &format!(
                "FROM {base} AS extractor\n{args}RUN apt-get update -qqy && apt install --assume-yes unzip\n\
                 RUN mkdir -p {folder}\nCOPY {source} {folder}\nRUN cd {folder} && unzip {source} && rm {source}\n",
                base = self.base
            );
        }
        text += &format!("FROM {}\n{args}", self.base);
        if let Some(source) = self.source {
            text += &match unpacked {
                Some(_) => format!(
                    "COPY --from=extractor {0}/source/ {1}\n",
                    self.target.trim_end_matches('/'),
                    self.target
                ),
                None => format!("ADD {source} {}\n", self.target),
            };
            text += &format!("ENV PYTHONPATH {}\n", self.target);
        }
        for command in &self.commands {
            text += &format!("RUN {command}\n");
        }
        if let Some(path) = self.requirements {
            text += &format!(
                "RUN echo 'Installing {path}...'; cat {path}\nRUN python -m pip install -r {path}\n"
            );
        }
        text + self.extra
    }
}

/// The folder in the image into which the source goes: what is relative is below a folder of MLRun.
pub(crate) fn target(named: &str) -> String {
    match named.starts_with('/') {
        true => named.to_owned(),
        false => format!("{HOME}{}", named.strip_prefix("./").unwrap_or(named)),
    }
}

/// Where a build finds its files, and what of them is copied.
pub(crate) fn context(source: &str) -> Result<(String, Option<String>)> {
    if source.is_empty() {
        return Ok(("/empty".to_owned(), None));
    }
    if source.starts_with("v3io") {
        return Err(Error::invalid("spec.build.source", format!("{source:?} cannot be built from"))
            .help("put the source into a repository or into object storage"));
    }
    if source.contains("://") {
        return Ok((with_reference(source), Some(".".to_owned())));
    }
    if source.starts_with('/') {
        return Ok(("/context".to_owned(), Some(source.to_owned())));
    }
    Err(Error::invalid("spec.build.source", format!("{source:?} is a path of this machine")).help(
        "name a repository, an archive by its URL, or fetch it at the start: `load_source_on_run: true`",
    ))
}

/// A branch by its full name, as the builder wants it.
fn with_reference(source: &str) -> String {
    match source.split_once('#') {
        Some((url, branch)) if source.starts_with("git://") && !branch.starts_with("refs/") => {
            format!("{url}#refs/heads/{branch}")
        }
        _ => source.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_has_its_line() {
        let file = Dockerfile {
            base: "python:3.12",
            args: vec!["A=1".to_owned()],
            source: Some("."),
            target: "/code",
            commands: vec!["echo hello".to_owned()],
            requirements: Some("/empty/requirements.txt"),
            extra: "USER me\n",
        };
        assert_eq!(
            file.text(),
            "FROM python:3.12\nARG A=1\nADD . /code\nENV PYTHONPATH /code\nRUN echo hello\n\
             RUN echo 'Installing /empty/requirements.txt...'; cat /empty/requirements.txt\n\
             RUN python -m pip install -r /empty/requirements.txt\nUSER me\n"
        );
        let zip = Dockerfile { source: Some("/a/b.zip"), target: "/code/", ..file }.text();
        assert!(zip.starts_with("FROM python:3.12 AS extractor\nARG A=1\n"), "{zip}");
        assert!(zip.contains("\nCOPY --from=extractor /code/source/ /code/\n"), "{zip}");
    }

    #[test]
    fn sources_are_found() {
        let copied = |source: &str| context(source).unwrap();
        assert_eq!(copied("git://h/o/r.git#m").0, "git://h/o/r.git#refs/heads/m");
        assert_eq!(copied("git://h/o/r.git#refs/tags/v1").0, "git://h/o/r.git#refs/tags/v1");
        assert_eq!(copied("s3://b/x.zip"), ("s3://b/x.zip".to_owned(), Some(".".to_owned())));
        assert_eq!(copied(""), ("/empty".to_owned(), None));
        assert_eq!(context("./here").unwrap_err().location(), Some("spec.build.source"));
        assert_eq!(
            (target(""), target("./a"), target("/x")),
            ("/home/mlrun_code/".to_owned(), "/home/mlrun_code/a".to_owned(), "/x".to_owned())
        );
    }
}
