//! `secret`: what code and notifications may read and nobody may see.

use std::{
    io::{IsTerminal, Read},
    path::PathBuf,
    sync::Arc,
};

use runtimes::{
    Error, ErrorKind, Result,
    core::secret::{INTERNAL, Secret, SecretSource, check_key, is_internal, project_secret},
    local::host::{SecretFolder, read_private},
};

use crate::{
    home::Home,
    output::{Format, OutputArgs, data, stdio},
};

/// The longest value.
const MAX: u64 = 1024 * 1024;

const EXAMPLES: &str = "\
Examples:
  runtimes secret set API_TOKEN                    type it, or pipe it in
  runtimes secret set API_TOKEN --from-env TOKEN
  runtimes secret set ca.pem --from-file ca.pem --project fraud
  runtimes secret set db --key password            what `secretKeyRef: {name: db, key: password}` refers to
  runtimes secret list

Code of the project reads one with `context.get_secret(\"API_TOKEN\")`, any program as the file
$RUNTIMES_SECRETS_DIR/API_TOKEN, here and in a pod. Values are in no record, log or process list; here
they are in files of the home folder that only you can read, on a cluster in a Secret of the run.";

/// Keep secrets of a project
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Keep a value; it is read from stdin unless told otherwise
    Set {
        #[command(flatten)]
        which: Which,
        /// Take it from this variable of the environment
        #[arg(long, value_name = "VAR", conflicts_with = "from_file")]
        from_env: Option<String>,
        /// Take it from this file
        #[arg(long, value_name = "FILE")]
        from_file: Option<PathBuf>,
        /// Only to say what is wrong with it; clap would quote it
        #[arg(hide = true, value_name = "VALUE")]
        value: Option<String>,
    },
    /// List the names; values are never shown
    List {
        /// The project
        #[arg(long, value_name = "NAME", default_value = "default")]
        project: String,
        /// The keys of this secret, in place of the project's
        #[arg(value_name = "NAME")]
        name: Option<String>,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Forget one
    Delete {
        #[command(flatten)]
        which: Which,
    },
}

#[derive(Debug, clap::Args)]
struct Which {
    /// A key of the project's secrets; with --key, a secret of its own that functions refer to
    #[arg(value_name = "NAME")]
    name: String,
    /// The key in the secret NAME
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// The project
    #[arg(long, value_name = "NAME", default_value = "default", conflicts_with = "key")]
    project: String,
}

impl Which {
    /// The secret, and the key in it.
    fn place(&self) -> Result<(String, &str)> {
        let wrong = |error: Error| {
            error.help("`runtimes secret set NAME` takes the value from stdin, not as an argument")
        };
        check_key(&self.name).map_err(wrong)?;
        Ok(match &self.key {
            Some(key) => {
                check_key(key).map_err(|error| error.at("--key"))?;
                (self.name.clone(), key)
            }
            None if is_internal(&self.name) => {
                return Err(Error::invalid(
                    "NAME",
                    format!("names that begin with {INTERNAL} are not yours to choose"),
                )
                .help("take another name"));
            }
            None => (project_secret(&self.project), &self.name),
        })
    }
}

impl Args {
    pub(crate) fn format(&self) -> Format {
        match &self.action {
            Action::List { output, .. } => output.output,
            _ => Format::Table,
        }
    }
}

pub(crate) fn execute(args: Args, home: &Home) -> Result<u8> {
    let secrets: Arc<dyn SecretSource> = Arc::new(SecretFolder::new(home.path().join("secrets")));
    match args.action {
        Action::Set { which, from_env, from_file, value } => {
            if value.is_some() || which.name.contains('=') {
                return Err(Error::invalid("secret set", "a value is not taken from the command line").help(
                    "others may have seen it there already: make a new one, and type it or pipe it in",
                ));
            }
            let (name, key) = which.place()?;
            let value = match (from_env, from_file) {
                (Some(variable), _) => from_variable(&variable)?,
                (None, Some(path)) => from_path(&path)?,
                (None, None) => from_stdin(key)?,
            };
            std::fs::create_dir_all(home.path()).map_err(|error| Error::io("create", home.path(), error))?;
            secrets.put(&name, key, &value)?;
            stdio::stderr(format!("{key} is kept\n").as_bytes());
        }
        Action::List { project, name, output } => {
            let mut keys = secrets.keys(&name.unwrap_or_else(|| project_secret(&project)))?;
            keys.retain(|key| !is_internal(key));
            let shown = match output.output {
                Format::Table if keys.is_empty() => {
                    stdio::stderr(b"no secrets\n");
                    String::new()
                }
                Format::Table => keys.iter().map(|key| format!("{key}\n")).collect(),
                format => data(&keys, format)?,
            };
            stdio::stdout(shown.as_bytes())?;
        }
        Action::Delete { which } => {
            let (name, key) = which.place()?;
            if !secrets.delete(&name, key)? {
                return Err(Error::not_found(format!("there is no secret {key:?}"))
                    .help("`runtimes secret list` lists them; --project says of which project"));
            }
            stdio::stderr(format!("{key} is forgotten\n").as_bytes());
        }
    }
    Ok(0)
}

fn from_variable(name: &str) -> Result<Secret> {
    std::env::var(name).map(Secret::new).map_err(|_| {
        Error::not_found(format!("there is no variable {name:?}, or it is no text")).at("--from-env")
    })
}

fn from_path(path: &std::path::Path) -> Result<Secret> {
    match read_private(path) {
        Ok(value) => Ok(Secret::new(value)),
        // It is the user's own file: taken, but not without a word.
        Err(error) if error.kind() == ErrorKind::PermissionDenied && path.is_file() => {
            let value = std::fs::read_to_string(path).map_err(|error| Error::io("read", path, error))?;
            stdio::stderr(format!("warning: {}\n", error.message()).as_bytes());
            Ok(Secret::new(value))
        }
        Err(error) => Err(error.at("--from-file")),
    }
}

/// What is typed is not shown; what is piped is taken as it is, without the last line feed.
fn from_stdin(key: &str) -> Result<Secret> {
    let stdin = std::io::stdin();
    let failed = |error| Error::io("read", "stdin", error);
    let mut value = String::new();
    if stdin.is_terminal() {
        stdio::stderr(format!("{key}: ").as_bytes());
        let hidden = Hidden::new();
        let read = stdin.read_line(&mut value);
        drop(hidden);
        stdio::stderr(b"\n");
        read.map_err(failed)?;
    } else {
        stdin.lock().take(MAX + 1).read_to_string(&mut value).map_err(failed)?;
    }
    if value.len() as u64 > MAX {
        return Err(Error::new(ErrorKind::Invalid, format!("a secret has at most {MAX} bytes")));
    }
    let value =
        value.strip_suffix('\n').map_or(value.as_str(), |value| value.strip_suffix('\r').unwrap_or(value));
    if value.is_empty() {
        return Err(Error::new(ErrorKind::Invalid, "there is no value on stdin")
            .help("type it, pipe it in, or use --from-env or --from-file"));
    }
    Ok(Secret::new(value))
}

/// A terminal that does not show what is typed, as long as this lives.
struct Hidden(Option<rustix::termios::Termios>);

impl Hidden {
    fn new() -> Self {
        use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
        let stdin = std::io::stdin();
        let Ok(before) = tcgetattr(&stdin) else { return Self(None) };
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        let set = tcsetattr(&stdin, OptionalActions::Flush, &hidden);
        Self(set.is_ok().then_some(before))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        use rustix::termios::{OptionalActions, tcsetattr};
        if let Some(before) = &self.0 {
            let _ = tcsetattr(std::io::stdin(), OptionalActions::Flush, before);
        }
    }
}
