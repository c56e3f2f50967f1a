//! The container in which a run's own code runs: what it starts, and all that this needs.

mod agent;
mod command;

use std::sync::Arc;

use k8s_openapi::{
    api::core::v1::{Container, EnvVar, PodSpec},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use super::{Cluster, Style, Workload, object_name, variable, verbatim};
use crate::{
    Error, ErrorKind, Function, Result, Run,
    plan::{Manifest, program::Mode},
    run::SecretSources,
};

pub use command::check_handler;

/// Where code is mounted that is a file of its own.
pub const CODE_DIR: &str = "/runtimes/code";

/// Who runs Python code in the container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Agent {
    /// Ours, from a ConfigMap: any image with Python 3.9 or later will do.
    #[default]
    Runtimes,
    /// The `mlrun` of the image.
    Mlrun,
}

impl Agent {
    /// `spec.agent` of a function: `runtimes` or `mlrun`.
    ///
    /// # Errors
    /// `Invalid`, for anything else.
    pub fn of(function: &Function) -> Result<Self> {
        match function.spec.extra.get("agent") {
            None | Some(serde_json::Value::Null) => Ok(Self::default()),
            Some(serde_json::Value::String(text)) if text == "runtimes" || text.is_empty() => {
                Ok(Self::Runtimes)
            }
            Some(serde_json::Value::String(text)) if text == "mlrun" => Ok(Self::Mlrun),
            Some(other) => Err(Error::invalid("spec.agent", format!("{other} runs no code"))
                .help("`runtimes` for any image with Python 3, `mlrun` for one with MLRun")),
        }
    }
}

/// How the function's code gets into the container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Carry {
    /// In a variable, where it fits into one.
    #[default]
    Variable,
    /// As a file in [`CODE_DIR`], so that other containers import it, too.
    File,
}

/// The container in which a run's own code runs, and all that this needs.
#[derive(Clone)]
pub struct Program<'a> {
    /// The function and the run; its volumes have what the program needs.
    pub workload: Workload<'a>,
    /// What is to be made before anything that runs: secrets, our agent, the code.
    pub objects: Vec<Manifest>,
    /// The name of what is made for this attempt of the run.
    pub name: String,
    /// The program with its arguments; none: the image's own.
    pub command: Vec<String>,
    /// The arguments.
    pub args: Vec<String>,
    /// The working directory; none: the image's own.
    pub workdir: Option<String>,
    /// Variables beside the function's own.
    env: Vec<EnvVar>,
    agent: Agent,
    /// Whether our agent runs it: then it is mounted, and the arguments are those of its mode `pod`.
    pub has_agent: bool,
    /// Whether its code is a file in [`CODE_DIR`].
    pub has_code_file: bool,
}

impl<'a> Program<'a> {
    /// What the run's own code needs on this cluster.
    ///
    /// # Errors
    /// `Invalid` or `Unsupported`, naming the field of function or run.
    pub fn new(
        function: &Function,
        run: &'a Run,
        cluster: &'a Cluster,
        (agent, mode): (Agent, Mode),
        carry: Carry,
    ) -> Result<Self> {
        run.spec.validate()?;
        let mut workload = Workload::new(function, run, cluster)?;
        let mut objects = std::mem::take(&mut workload.secrets);
        if agent == Agent::Runtimes {
            check_sources(run)?;
        }
        let (started, ours) = match agent {
            Agent::Mlrun => (command::of_mlrun(&workload.function, run, mode)?, false),
            Agent::Runtimes => agent::of(&workload.function, run, mode, carry)?,
        };
        let name = object_name(run, cluster.attempt, 5);
        let has_code_file = started.file.is_some();
        if let Some(file) = started.file {
            let (map, volume, mount) = command::code_file(file, workload.metadata(format!("{name}-code")));
            workload.function = workload.function.with_volume(volume).with_volume_mount(mount);
            objects.push(Manifest::ConfigMap(Arc::new(map)));
        }
        if ours {
            let (map, volume, mount) = agent::files(workload.metadata(String::new()).namespace);
            workload.function = workload.function.with_volume(volume).with_volume_mount(mount);
            objects.insert(0, Manifest::ConfigMap(map));
        }
        let mut env = workload.run_env()?;
        if ours {
            env.extend(agent::env());
        }
        if !function.spec.pythonpath.is_empty() {
            env.push(variable("PYTHONPATH", function.spec.pythonpath.as_str()));
        }
        env.extend(started.code.map(|code| variable("MLRUN_EXEC_CODE", code)));
        let words = |words: Vec<String>| match agent {
            // Under our agent its words are those that it has on any machine; MLRun leaves them to the cluster.
            Agent::Runtimes => words.into_iter().map(verbatim).collect(),
            Agent::Mlrun => words,
        };
        let (command, args) = (words(started.command), words(started.args));
        let workdir = started.workdir;
        Ok(Self {
            workload,
            objects,
            name,
            command,
            args,
            workdir,
            env,
            agent,
            has_agent: ours,
            has_code_file,
        })
    }

    /// Labels and annotations of what is made under the program's name.
    pub fn metadata(&self) -> ObjectMeta {
        self.workload.metadata(self.name.clone())
    }

    /// Adds a variable; the function's own of the same name counts more.
    pub fn set_env(&mut self, name: &str, value: impl Into<String>) {
        self.env.push(variable(name, value));
    }

    /// The pod of the program.
    pub fn pod_spec(self) -> PodSpec {
        let mut env = self.workload.env(self.env);
        if self.agent == Agent::Mlrun {
            env = self.workload.with_mlrun_secrets(env);
        }
        let some = |words: Vec<String>| Some(words).filter(|words| !words.is_empty());
        let container = Container {
            name: "base".to_owned(),
            env: Some(env),
            command: some(self.command),
            args: some(self.args),
            working_dir: self.workdir,
            ..Container::default()
        };
        self.workload.pod_spec(container)
    }
}

impl Cluster {
    /// Who runs Python code there, where the function names this one.
    pub fn agent(&self, named: Agent) -> Agent {
        match self.style {
            Style::Mlrun => Agent::Mlrun,
            Style::Native => named,
        }
    }
}

/// Our agent reads no vault.
fn check_sources(run: &Run) -> Result<()> {
    for (index, source) in run.spec.secret_sources.iter().enumerate() {
        if matches!(source, SecretSources::Vault { .. }) {
            let message = format!("secrets of the kind `{}` are read by MLRun alone", source.kind());
            return Err(Error::new(ErrorKind::Unsupported, message)
                .at(format!("spec.secret_sources[{index}]"))
                .help(
                    "write `agent: mlrun` and an image with MLRun, or keep them: runtimes secret set NAME",
                ));
        }
    }
    Ok(())
}
