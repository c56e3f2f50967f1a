//! What is installed in an environment, and how one is had that has exactly that.

use std::{fs, path::Path};

use runtime_core::{
    Result,
    plan::PythonEnvironment,
    run::Packages,
    serde_json::{self, Value},
};

use super::{Environment, Environments, Interpreter};

impl Environments {
    /// What is installed in an environment of these requirements, exactly.
    ///
    /// # Errors
    /// As [`Interpreter::find`].
    pub fn packages(&self, wanted: &PythonEnvironment, environment: &Environment) -> Result<Packages> {
        let (major, minor, patch) = Interpreter::find(&self.home, wanted.interpreter.as_deref())?.version;
        let site = environment.dir.join(format!("lib/python{major}.{minor}/site-packages"));
        let mut installed: Vec<String> = fs::read_dir(site)
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| installed(&entry.path()))
            .filter(|line| !line.starts_with("pip=="))
            .collect();
        installed.sort_unstable();
        Ok(Packages { python: format!("{major}.{minor}.{patch}"), installed })
    }

    /// What to build where packages are wanted exactly: the requirements themselves, as long as they lead to these
    /// packages; else the packages, by their versions.
    ///
    /// # Errors
    /// As [`Interpreter::find`].
    pub fn exactly(&self, wanted: &PythonEnvironment) -> Result<PythonEnvironment> {
        let free = PythonEnvironment { exactly: None, ..wanted.clone() };
        let Some(exactly) = &wanted.exactly else { return Ok(free) };
        if let Some(ready) = self.get(&free)
            && self.packages(&free, &ready)?.installed == exactly.installed
        {
            return Ok(free);
        }
        // Where packages are looked for is the function's to say still; which, is not.
        let which = ["-r", "--requirement", "-c", "--constraint", "-e", "--editable"];
        let options = free.requirements.iter().map(|line| line.trim());
        let options = options
            .filter(|line| line.starts_with('-') && !which.iter().any(|which| line.starts_with(which)));
        let requirements = options.map(str::to_owned).chain(exactly.installed.iter().cloned()).collect();
        Ok(PythonEnvironment { requirements, ..free })
    }
}

/// A package as pip reads it, by the folder in which its installation is described.
fn installed(folder: &Path) -> Option<String> {
    let (name, version) = folder.file_name()?.to_str()?.strip_suffix(".dist-info")?.split_once('-')?;
    let direct = fs::read(folder.join("direct_url.json")).ok();
    let url = direct
        .and_then(|text| serde_json::from_slice::<Value>(&text).ok())
        .and_then(|direct| address(&direct));
    Some(match url {
        Some(url) => format!("{name} @ {url}"),
        None => format!("{name}=={version}"),
    })
}

/// Where a package was taken from that did not come from an index; without credentials.
fn address(direct: &Value) -> Option<String> {
    let url = direct.get("url")?.as_str()?;
    let url = match url.split_once("://") {
        Some((scheme, rest)) => {
            let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
            format!("{scheme}://{}/{path}", host.rsplit('@').next().unwrap_or(host))
        }
        None => url.to_owned(),
    };
    match direct.pointer("/vcs_info/commit_id").and_then(Value::as_str) {
        Some(commit) => {
            let vcs = direct.pointer("/vcs_info/vcs").and_then(Value::as_str).unwrap_or("git");
            Some(format!("{vcs}+{url}@{commit}"))
        }
        None => Some(url),
    }
}

#[cfg(test)]
mod tests {
    use runtime_core::serde_json::json;

    use super::*;

    #[test]
    fn packages_are_named_as_pip_reads_them() {
        let folder = tempfile::tempdir().unwrap();
        let describe = |name: &str, direct: Option<Value>| {
            let info = folder.path().join(name);
            fs::create_dir(&info).unwrap();
            if let Some(direct) = direct {
                fs::write(info.join("direct_url.json"), direct.to_string()).unwrap();
            }
            installed(&info)
        };
        assert_eq!(describe("scikit_learn-1.5.2.dist-info", None).as_deref(), Some("scikit_learn==1.5.2"));
        assert_eq!(describe("numpy", None), None);
        let wheel = json!({"url": "https://me:secret@host/a-1.whl", "archive_info": {}});
        assert_eq!(describe("a-1.dist-info", Some(wheel)).as_deref(), Some("a @ https://host/a-1.whl"));
        let git = json!({"url": "https://host/b.git", "vcs_info": {"vcs": "git", "commit_id": "0a"}});
        assert_eq!(describe("b-1.dist-info", Some(git)).as_deref(), Some("b @ git+https://host/b.git@0a"));
    }
}
