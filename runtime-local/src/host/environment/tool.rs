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

/// What makes an environment.
pub(super) enum Tool {
    /// uv, at this path.
    Uv(PathBuf),
    /// `python -m venv` and pip.
    Pip,
}

impl Tool {
    /// The one of this machine.
    pub(super) fn find() -> Self {
        on_path(OsStr::new("uv"), env::var_os("PATH").as_deref())
            .into_iter()
            .next()
            .map_or(Self::Pip, Self::Uv)
    }

    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Uv(_) => "uv",
            Self::Pip => "pip",
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
            Self::Pip => {
                let mut command = Command::new(&interpreter.path);
                command.args(["-m", "venv"]);
                command
            }
        };
        command.arg(dir);
        clean(&mut command);
        command
    }

    /// Installs what the file lists.
    pub(super) fn install(&self, dir: &Path, file: &Path, base: Option<&Path>) -> Command {
        let python = python_in(dir);
        let mut command = match self {
            Self::Uv(uv) => {
                let mut command = Command::new(uv);
                command.args(["pip", "install", "--python"]).arg(&python);
                command
            }
            Self::Pip => {
                let mut command = Command::new(&python);
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

/// Asks pip for its configuration, which uv does not read by itself.
pub(super) fn pip_configuration(interpreter: &Interpreter) -> Command {
    let mut command = Command::new(&interpreter.path);
    command.args(["-m", "pip", "config", "list"]);
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
