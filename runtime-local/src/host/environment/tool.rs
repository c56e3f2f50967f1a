//! The programs that make environments: uv where it is there, else venv and pip.

use std::{
    env,
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
};

use tokio::process::Command;

use super::{Interpreter, interpreter::on_path, python_in};

/// Variables that would put packages elsewhere, or let others in.
const UNWANTED: [&str; 18] = [
    "PYTHONPATH",
    "PYTHONHOME",
    "PYTHONSTARTUP",
    "PYTHONUSERBASE",
    "PYTHONPLATLIBDIR",
    "PIP_TARGET",
    "PIP_PREFIX",
    "PIP_ROOT",
    "PIP_PYTHON",
    "PIP_REQUIREMENT",
    "PIP_EDITABLE",
    "PIP_DRY_RUN",
    "PIP_QUIET",
    "PIP_LOG",
    "VIRTUAL_ENV",
    "CONDA_PREFIX",
    "UV_SYSTEM_PYTHON",
    "UV_PYTHON",
];

/// The first pip that installs into another environment (`--python`).
const PIP_FOR_OTHERS: (u32, u32) = (22, 3);

/// What makes an environment.
pub(super) enum Tool {
    /// uv, at this path.
    Uv(PathBuf),
    /// `python -m venv` and the interpreter's own pip: nothing has to be copied into the environment first.
    Pip,
    /// `python -m venv` with a pip in it: much slower, for interpreters without a recent pip of their own.
    OwnPip,
}

impl Tool {
    /// uv, if it is on `PATH`.
    pub(super) fn uv() -> Option<Self> {
        on_path(OsStr::new("uv"), env::var_os("PATH").as_deref()).into_iter().next().map(Self::Uv)
    }

    /// Which pip to use, by what `pip --version` printed.
    pub(super) fn pip(version: &[String]) -> Self {
        let known = version.iter().find_map(|line| {
            let mut numbers =
                line.strip_prefix("pip ")?.split(['.', ' ']).map(|part| part.parse::<u32>().ok());
            Some((numbers.next()??, numbers.next()??))
        });
        if known.is_some_and(|known| known >= PIP_FOR_OTHERS) { Self::Pip } else { Self::OwnPip }
    }

    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Uv(_) => "uv",
            Self::Pip | Self::OwnPip => "pip",
        }
    }

    /// Makes an empty environment.
    pub(super) fn create(&self, interpreter: &Interpreter, dir: &Path) -> Command {
        let mut command = match self {
            Self::Uv(uv) => {
                let mut command = Command::new(uv);
                command.args(["venv", "--no-project", "--no-python-downloads", "--python"]);
                command.arg(&interpreter.path);
                command
            }
            Self::Pip => python(interpreter, &["-m", "venv", "--without-pip"]),
            Self::OwnPip => python(interpreter, &["-m", "venv"]),
        };
        command.arg(dir);
        clean(&mut command);
        command
    }

    /// Installs what the file lists.
    pub(super) fn install(
        &self,
        interpreter: &Interpreter,
        dir: &Path,
        file: &Path,
        base: Option<&Path>,
    ) -> Command {
        let target = python_in(dir);
        let mut command = match self {
            Self::Uv(uv) => {
                let mut command = Command::new(uv);
                command.args(["pip", "install", "--python"]).arg(&target);
                command
            }
            Self::Pip => {
                let mut command = python(interpreter, &["-m", "pip", "--python"]);
                command.arg(&target).args(["install", "--progress-bar", "off"]);
                command
            }
            Self::OwnPip => {
                let mut command = Command::new(&target);
                command.args(["-m", "pip", "install", "--progress-bar", "off"]);
                command
            }
        };
        command.arg("--requirement").arg(file);
        clean(&mut command);
        if let Some(base) = base {
            command.current_dir(base);
        }
        command
    }
}

/// Asks the interpreter's pip which one it is.
pub(super) fn pip_version(interpreter: &Interpreter) -> Command {
    let mut command = python(interpreter, &["-m", "pip", "--version"]);
    clean(&mut command);
    command
}

fn python(interpreter: &Interpreter, args: &[&str]) -> Command {
    let mut command = Command::new(&interpreter.path);
    command.args(args);
    command
}

/// Asks pip for its configuration, which uv does not read by itself.
pub(super) fn pip_configuration(interpreter: &Interpreter) -> Command {
    let mut command = python(interpreter, &["-m", "pip", "config", "list"]);
    clean(&mut command);
    command
}

/// pip's settings as uv takes them. What is set for uv itself stays as it is.
pub(super) fn for_uv(listing: &[String]) -> Vec<(&'static str, OsString)> {
    let mut settings: Vec<(&'static str, OsString)> = Vec::new();
    for line in listing {
        let Some((key, value)) = line.split_once('=') else { continue };
        let value = value.trim().trim_matches('\'').trim_matches('"');
        let words = value.replace("\\n", " ").split_whitespace().collect::<Vec<_>>().join(" ");
        let setting = match key.rsplit('.').next().unwrap_or_default().trim() {
            "index-url" => ("UV_DEFAULT_INDEX", words),
            "extra-index-url" => ("UV_INDEX", words),
            "find-links" => ("UV_FIND_LINKS", words.replace(' ', ",")),
            "no-index" if matches!(&*words, "1" | "true" | "True" | "yes" | "on") => {
                ("UV_NO_INDEX", "1".to_owned())
            }
            "cert" => ("SSL_CERT_FILE", words),
            "trusted-host" => ("UV_INSECURE_HOST", words),
            _ => continue,
        };
        if env::var_os(setting.0).is_none() {
            // Later lines are of higher rank: a variable is listed after the files.
            settings.retain(|(name, _)| *name != setting.0);
            settings.push((setting.0, setting.1.into()));
        }
    }
    settings
}

fn clean(command: &mut Command) {
    for name in UNWANTED {
        command.env_remove(name);
    }
    command
        .env("PYTHONNOUSERSITE", "1")
        .env("PYTHONUNBUFFERED", "1")
        .env("PYTHONIOENCODING", "utf-8")
        .env("PIP_USER", "0")
        .env("PIP_NO_INPUT", "1")
        .env("PIP_DISABLE_PIP_VERSION_CHECK", "1")
        .env("PIP_NO_COLOR", "1")
        .env("UV_NO_PROGRESS", "1")
        .env("NO_COLOR", "1")
        .env("GIT_TERMINAL_PROMPT", "0");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recent_pip_serves_other_environments() {
        let name = |line: &str| matches!(Tool::pip(&[line.to_owned()]), Tool::Pip);
        assert!(name("pip 22.3 from /usr/lib/python3/dist-packages/pip (python 3.11)"));
        assert!(name("pip 25.0.1 from /x"));
        assert!(!name("pip 21.2.4 from /x"));
        assert!(!name("/usr/bin/python3: No module named pip"));
    }

    #[test]
    fn settings_of_pip_reach_uv() {
        let listing: Vec<String> = [
            "global.index-url='https://u:p@mirror/simple'",
            "global.find-links='/a /b'",
            "global.timeout='60'",
            ":env:.index-url='https://other/simple'",
            "noise",
        ]
        .map(str::to_owned)
        .into();
        assert_eq!(
            for_uv(&listing),
            [("UV_FIND_LINKS", "/a,/b".into()), ("UV_DEFAULT_INDEX", "https://other/simple".into())]
        );
    }
}
