//! The folder in which everything is kept, and the process that follows runs whose own has gone.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use runtimes::{
    Error, ErrorKind, Orchestrator, Result,
    cluster::{ClusterOptions, Kubernetes},
    core::{jiff::Timestamp, yaml},
};
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::output::stdio;

/// What the follower prints when every run that it found has its true state.
pub(crate) const SETTLED: &str = "settled";

/// How long a command that only looks waits for that.
const PATIENCE: Duration = Duration::from_secs(10);

/// In the home: what is set of the cluster, as `runtimes render` reads it.
const SETTINGS: &str = "cluster.yaml";

/// The variables that choose a cluster.
pub(crate) const CONTEXT: &str = "RUNTIMES_CONTEXT";
pub(crate) const NAMESPACE: &str = "RUNTIMES_NAMESPACE";

/// The variable that names the store.
const STORE: &str = "RUNTIMES_STORE";

/// The folder in which everything is kept, and the store, where that is elsewhere.
pub(crate) struct Home {
    path: PathBuf,
    store: Option<String>,
    cluster: Chosen,
}

/// Which cluster, where that was said.
#[derive(Clone)]
struct Chosen {
    context: Option<String>,
    namespace: Option<String>,
    builder: Option<String>,
}

impl Home {
    pub(crate) fn new(path: &Path, store: Option<String>) -> Result<Self> {
        let store = store.filter(|store| !store.is_empty());
        let is_argument = |url: &str| {
            std::env::args_os()
                .any(|arg| arg.to_str().is_some_and(|arg| arg.strip_prefix("--store=").unwrap_or(arg) == url))
        };
        if store.as_deref().is_some_and(|url| has_password(url) && is_argument(url)) {
            return Err(Error::invalid(
                "--store",
                "a password on the command line can be read by every user here",
            )
            .help("leave it out of the URL, and give it in PGPASSWORD, in ~/.pgpass, or in RUNTIMES_STORE"));
        }
        let path = std::path::absolute(path).map_err(|error| Error::io("find", path, error))?;
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let cluster = Chosen { context: variable(CONTEXT), namespace: variable(NAMESPACE), builder: None };
        Ok(Self { path, store, cluster })
    }

    /// The same home, with this cluster where one is named.
    pub(crate) fn on_cluster(&self, context: Option<String>, namespace: Option<String>) -> Self {
        let cluster = Chosen {
            context: context.or_else(|| self.cluster.context.clone()),
            namespace: namespace.or_else(|| self.cluster.namespace.clone()),
            builder: self.cluster.builder.clone(),
        };
        Self { path: self.path.clone(), store: self.store.clone(), cluster }
    }

    /// The same home, with the cluster that the command line names.
    pub(crate) fn at(&self, place: &PlaceArgs) -> Self {
        self.on_cluster(place.context.clone(), place.namespace.clone())
    }

    /// The same home, where this builds images.
    pub(crate) fn built_by(mut self, builder: Option<String>) -> Self {
        self.cluster.builder = builder;
        self
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether anything was ever kept there. Commands that only look do not create it.
    pub(crate) fn exists(&self) -> bool {
        self.store.is_some() || self.path.is_dir()
    }

    /// Opens it, and makes it where it is not there.
    pub(crate) async fn open(&self) -> Result<Orchestrator> {
        let mut builder =
            Orchestrator::builder(&self.path).recover(false).target(Arc::new(self.kubernetes()?));
        if let Some(store) = &self.store {
            builder = builder.store_url(store);
        }
        builder.open().await
    }

    /// The cluster, with the settings of the home's `cluster.yaml`. It is not asked before it is needed.
    pub(crate) fn kubernetes(&self) -> Result<Kubernetes> {
        let file = self.path.join(SETTINGS);
        let mut options = match std::fs::read_to_string(&file) {
            Ok(text) => {
                let origin = file.display().to_string();
                let options = ClusterOptions::read(&yaml::read(&text, &origin)?);
                options.map_err(|error| yaml::locate(error, &text, &origin))?
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => ClusterOptions::default(),
            Err(error) => return Err(Error::io("read", &file, error)),
        };
        options.context.clone_from(&self.cluster.context);
        options.namespace = self.cluster.namespace.clone().or(options.namespace);
        if let Some(builder) = &self.cluster.builder {
            options.cluster.settings.httpdb.builder.builder.clone_from(builder);
        }
        Ok(Kubernetes::new(options))
    }

    /// Opens it to look at what is there: runs whose orchestrator is gone are taken over first, so that what is
    /// shown is true.
    pub(crate) async fn open_settled(&self) -> Result<Orchestrator> {
        if !self.exists() {
            return Err(Error::not_found(format!("there is nothing yet in {}", self.path.display()))
                .help("start something with `runtimes run FILE`, or name another folder with --home"));
        }
        let orchestrator = self.open().await?;
        let late = |due: Timestamp| due <= Timestamp::now();
        if !orchestrator.orphans().await?.is_empty() || orchestrator.next_delivery().await?.is_some_and(late)
        {
            self.take_over().await;
        }
        Ok(orchestrator)
    }

    /// Has the runs that nobody follows taken over, and says so where that fails or takes too long: what was asked
    /// for can be done all the same.
    pub(crate) async fn take_over(&self) {
        let why = match tokio::time::timeout(PATIENCE, self.settle()).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "runs are still being taken over".to_owned(),
        };
        stdio::stderr(format!("warning: some states may be out of date: {why}\n").as_bytes());
    }

    /// Starts a process that takes over every run which nobody follows, and waits until it has.
    pub(crate) async fn settle(&self) -> Result<()> {
        let log = self.path.join("follow.log");
        let file = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .map_err(|error| Error::io("open", &log, error))?;
        let program = std::env::current_exe().map_err(|error| Error::io("find", "this program", error))?;
        let failed = |what: String| {
            Error::new(ErrorKind::Unavailable, what).help(format!("{} may say why", log.display()))
        };
        // Its own process group: Ctrl-C here is not meant for it.
        let mut command = tokio::process::Command::new(&program);
        if let Some(store) = &self.store {
            // Not as an argument: those can be read by others.
            command.env(STORE, store);
        }
        for (name, value) in [(CONTEXT, &self.cluster.context), (NAMESPACE, &self.cluster.namespace)] {
            if let Some(value) = value {
                command.env(name, value);
            }
        }
        let mut child = command
            .arg("--home")
            .arg(&self.path)
            .arg("follow")
            .current_dir(&self.path)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(file)
            .process_group(0)
            .spawn()
            .map_err(|error| failed(format!("cannot start {}: {error}", program.display())))?;
        if let Some(stdout) = child.stdout.take() {
            let mut lines = BufReader::new(stdout).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                if line == SETTLED {
                    return Ok(());
                }
            }
        }
        Err(failed("the process that follows runs ended before it had found them all".to_owned()))
    }
}

/// Where something runs, or is; the same for all commands that start something.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct PlaceArgs {
    /// Where it runs [this machine]
    #[arg(long, value_name = "TARGET", value_parser = ["host", "kubernetes"])]
    pub(crate) on: Option<String>,
    /// The context of the kubeconfig [the current one; in a pod: the cluster of that pod]
    #[arg(long, value_name = "NAME", env = CONTEXT, hide_env = true)]
    context: Option<String>,
    /// The namespace, where the function names none [the context's]
    #[arg(long, value_name = "NAME", env = NAMESPACE, hide_env = true)]
    namespace: Option<String>,
}

/// Whether this is the URL of a database with a password in it.
fn has_password(arg: &str) -> bool {
    let Some((scheme, rest)) = arg.split_once("://") else { return false };
    let (authority, query) = rest.split_once(['/', '?']).unwrap_or((rest, ""));
    let in_authority = authority.rsplit_once('@').is_some_and(|(user, _)| user.contains(':'));
    scheme.starts_with("postgres") && (in_authority || query.contains("password="))
}

#[cfg(test)]
mod tests {
    use super::has_password;

    #[test]
    fn passwords_are_seen_in_urls_of_databases_alone() {
        for with in ["postgres://me:x@h/d", "postgresql://h/d?password=x", "postgres://me:x@/d?host=/s"] {
            assert!(has_password(with), "{with}");
        }
        for without in ["postgres://me@h:5432/d", "https://me:x@h/d", "sqlite:a", "train.py"] {
            assert!(!has_password(without), "{without}");
        }
    }
}
