//! `build.extra_args` for BuildKit: its client's own, and those of Kaniko that mean the same.

use crate::{Error, Result};

/// Further arguments, as BuildKit's client takes them.
#[derive(Debug, Default)]
pub(super) struct Extra {
    /// The arguments.
    pub(super) args: Vec<String>,
    /// The names among them that the Dockerfile declares.
    pub(super) build_args: Vec<String>,
    /// The image goes to a registry that nobody vouches for.
    pub(super) insecure: bool,
    /// What it is built on comes from such a one.
    pub(super) insecure_pull: bool,
}

/// Options of BuildKit's client that have a value, and may be given.
const WITH_VALUE: [&str; 7] = ["opt", "export-cache", "import-cache", "allow", "trace", "progress", "ssh"];

impl Extra {
    /// Reads them.
    ///
    /// # Errors
    /// `Invalid`, naming the one that BuildKit does not know.
    pub(super) fn read(text: &str) -> Result<Self> {
        let mut extra = Self::default();
        let mut words = text.split_whitespace();
        while let Some(word) = words.next() {
            let Some(option) = word.strip_prefix("--") else { return Err(wrong(word, "is no option")) };
            let (name, given) = match option.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (option, None),
            };
            if extra.flag(name, given) {
                continue;
            }
            let mut value = || given.or_else(|| words.next()).ok_or_else(|| wrong(word, "has no value"));
            match name {
                "build-arg" => {
                    let value = value()?;
                    let (name, _) = value.split_once('=').ok_or_else(|| wrong(word, "wants NAME=VALUE"))?;
                    extra.build_args.push(name.to_owned());
                    extra.put("opt", format!("build-arg:{value}"));
                }
                "label" => extra.opt("label:", value()?),
                "target" => extra.opt("target=", value()?),
                "platform" | "custom-platform" | "customPlatform" => extra.opt("platform=", value()?),
                name if WITH_VALUE.contains(&name) => extra.put(name, value()?.to_owned()),
                _ => return Err(wrong(word, "is not known to BuildKit, or has no counterpart there")),
            }
        }
        Ok(extra)
    }

    /// Options without a value; whether this is one.
    fn flag(&mut self, name: &str, value: Option<&str>) -> bool {
        let on = matches!(value, None | Some("true"));
        match name {
            "no-cache" if on => self.args.push("--no-cache".to_owned()),
            "insecure" | "skip-tls-verify" => self.insecure |= on,
            "insecure-pull" | "skip-tls-verify-pull" => self.insecure_pull |= on,
            // Each build has a cache of its own.
            "cache" if value == Some("false") => {}
            _ => return false,
        }
        true
    }

    fn opt(&mut self, name: &str, value: &str) {
        self.put("opt", format!("{name}{value}"));
    }

    fn put(&mut self, name: &str, value: String) {
        self.args.extend([format!("--{name}"), value]);
    }
}

fn wrong(word: &str, what: &str) -> Error {
    Error::invalid("spec.build.extra_args", format!("{word:?} {what}")).help(
        "for BuildKit: --build-arg NAME=VALUE, --opt, --label, --target, --platform, --no-cache, --import-cache, \
         --export-cache, --insecure, --insecure-pull; for Kaniko's others `--builder kaniko` \
         (`httpdb.builder.builder`)",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_kaniko_mean_the_same() {
        let read = Extra::read(
            "--build-arg A=b=c --target=x --skip-tls-verify --label k=v --no-cache --cache=false",
        );
        let read = read.unwrap();
        assert_eq!(
            read.args,
            ["--opt", "build-arg:A=b=c", "--opt", "target=x", "--opt", "label:k=v", "--no-cache"]
        );
        assert_eq!((read.build_args, read.insecure, read.insecure_pull), (vec!["A".to_owned()], true, false));
        for (text, word) in [
            ("--snapshot-mode=redo", "snapshot"),
            ("x", "no option"),
            ("--target", "no value"),
            ("--secret id=a,src=/b", "secret"),
        ] {
            let error = Extra::read(text).unwrap_err();
            assert_eq!(error.location(), Some("spec.build.extra_args"));
            assert!(error.message().contains(word), "{error}");
        }
    }
}
