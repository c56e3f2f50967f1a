//! What a caller asks: which function, with what.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use runtime_core::{
    Error, Function, Result,
    run::{Notification, RunSpec, SecretSources},
    serde_json::{Map, Value},
    store::FunctionRecord,
};

/// A run that is asked for: a function, and what this run of it is given.
///
/// ```
/// use runtimes::{Function, Request};
/// let request = Request::new(Function::new("handler", "square")).handler("square").parameter("n", 3);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The function.
    pub function: Function,
    /// The folder against which relative paths are read; empty: the current one.
    pub base_dir: PathBuf,
    /// The folder in which it runs, where the function names none; empty: `base_dir`.
    pub work_dir: PathBuf,
    /// The run's name; empty: `FUNCTION-HANDLER`.
    pub name: String,
    /// The project; empty: the function's, or `default`.
    pub project: String,
    /// The run's uid, 32 hexadecimal digits; empty: a new one. A uid that was used is refused (`AlreadyExists`): who
    /// is not sure whether a request arrived sends it again with the same one.
    pub uid: String,
    /// Labels by which the run is found.
    pub labels: BTreeMap<String, String>,
    /// Handler, parameters, inputs, returns and the like; `function` is filled in.
    pub spec: RunSpec,
    /// The function's tag, moved to this version; empty: `latest` alone.
    pub tag: String,
    /// Whether the run may outlive the orchestrator that started it.
    pub detached: bool,
    /// Whether the function is one of the store: where it was not changed since, its tags stay where they are.
    pub stored: bool,
    /// Where it runs: `host`, `kubernetes`, or a target of one's own; empty: this machine, where its kind runs there.
    pub target: String,
    /// Whether its image is built before it runs on a cluster, where it has one to build and none was built of the same
    /// content; `build.auto_build` of the function says the same.
    pub auto_build: bool,
    /// Notes on the run beside its labels, not searched.
    pub annotations: BTreeMap<String, String>,
    /// What the user should know about the run from the beginning.
    pub notes: Vec<String>,
}

impl Request {
    /// A run of this function.
    pub fn new(function: Function) -> Self {
        Self { function, ..Self::default() }
    }

    /// A run of a function that is stored, in the version that was found.
    pub fn stored(record: FunctionRecord) -> Self {
        Self { function: record.function, stored: true, ..Self::default() }
    }

    /// A run of the function in this file: a `function.yaml`, a `.py`, a `.ipynb` or a `.sh`. Relative paths are read
    /// against the file's folder; code runs in the current folder, as it does by hand.
    ///
    /// # Errors
    /// When there is no such file, or it is no function.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self> {
        Self::from_file_as(path, None)
    }

    /// As [`Self::from_file`], with another name for the function than the file's. Of several functions in one file
    /// of code, told apart by their annotations, it is the one of that name.
    ///
    /// # Errors
    /// As [`Self::from_file`].
    pub fn from_file_as(path: impl AsRef<Path>, name: Option<&str>) -> Result<Self> {
        let path = path.as_ref();
        let (function, program) = match path.extension().and_then(|extension| extension.to_str()) {
            Some("py" | "ipynb" | "sh") => (Function::from_code_as(path, None, name)?, true),
            _ => {
                let mut function = Function::from_file(path)?;
                if let Some(name) = name {
                    name.clone_into(&mut function.metadata.name);
                }
                (function, false)
            }
        };
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let base_dir = std::path::absolute(folder).map_err(|error| Error::io("read", folder, error))?;
        let work_dir = if program { current_dir()? } else { base_dir.clone() };
        Ok(Self { function, base_dir, work_dir, ..Self::default() })
    }

    /// The function as it would be stored: named, in its project, with the code that it names taken in. Nothing is
    /// written, and nothing is asked of its kind.
    ///
    /// # Errors
    /// Where its code cannot be read, or its common fields are wrong.
    pub fn resolved(&self) -> Result<Function> {
        super::submit::resolved(self).map_err(|error| self.function.locate(error))
    }

    /// Where it runs: `host` or `kubernetes`.
    #[must_use]
    pub fn on(mut self, target: impl Into<String>) -> Self {
        self.target = target.into();
        self
    }

    /// Has its image built first, where that is to be built and was not.
    #[must_use]
    pub fn auto_build(mut self) -> Self {
        self.auto_build = true;
        self
    }

    /// The same of another version of its function, which has its image.
    #[must_use]
    pub fn with_function(mut self, function: Function) -> Self {
        self.function = function;
        self.auto_build = false;
        self
    }

    /// Sets the handler.
    #[must_use]
    pub fn handler(mut self, handler: impl Into<String>) -> Self {
        self.spec.handler = handler.into();
        self
    }

    /// Sets a parameter.
    #[must_use]
    pub fn parameter(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.spec.parameters.insert(name.into(), value.into());
        self
    }

    /// Sets all parameters.
    #[must_use]
    pub fn parameters(mut self, parameters: Map<String, Value>) -> Self {
        self.spec.parameters = parameters;
        self
    }

    /// Sets where an input is.
    #[must_use]
    pub fn input(mut self, name: impl Into<String>, path: impl Into<String>) -> Self {
        self.spec.inputs.insert(name.into(), path.into());
        self
    }

    /// Adds a name (`"accuracy"`, `"data:dataset"`) for the next return value.
    #[must_use]
    pub fn returns(mut self, name: impl Into<String>) -> Self {
        self.spec.returns.push(Value::String(name.into()));
        self
    }

    /// Sets a label.
    #[must_use]
    pub fn label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(name.into(), value.into());
        self
    }

    /// Sets the run's name.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Sets the project.
    #[must_use]
    pub fn project(mut self, project: impl Into<String>) -> Self {
        self.project = project.into();
        self
    }

    /// Adds somebody who is told when the run begins or ends.
    #[must_use]
    pub fn notify(mut self, notification: Notification) -> Self {
        self.spec.notifications.push(notification);
        self
    }

    /// Adds secrets for this run, beside those of its project.
    #[must_use]
    pub fn secrets(mut self, source: SecretSources) -> Self {
        self.spec.secret_sources.push(source);
        self
    }

    /// Sets how long the run may take.
    #[must_use]
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.spec.state_thresholds.insert("executing".to_owned(), format!("{}ms", limit.as_millis()));
        self
    }
}

impl From<Function> for Request {
    fn from(function: Function) -> Self {
        Self::new(function)
    }
}

/// The current folder.
pub(crate) fn current_dir() -> Result<PathBuf> {
    std::env::current_dir().map_err(|error| Error::io("read the current folder", ".", error))
}
