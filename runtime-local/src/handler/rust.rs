//! Rust handlers: registered at link time, called by name.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use runtime_core::{
    Error, ErrorKind, Result, Run,
    error::did_you_mean,
    logs::{LogLine, Stream},
    run::{Artifact, Report},
    secret::Secret,
    serde_json::{self, Map, Value},
    target::Job,
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::{Notify, mpsc::UnboundedSender};

/// A Rust function that runs can call by its name. Made by [`handler!`](crate::handler!).
#[derive(Clone, Copy)]
pub struct RustHandler {
    /// The name by which it is called.
    pub name: &'static str,
    /// Whether these parameters are what it takes.
    pub check: fn(&Map<String, Value>) -> Result<(), String>,
    /// The function.
    pub call: Call,
}

runtime_core::inventory::collect!(RustHandler);

/// What an async handler gives: its result as JSON, or what went wrong.
pub type CallFuture = Pin<Box<dyn Future<Output = Result<Value, String>> + Send>>;

/// A handler's function, with parameters and result as JSON.
#[derive(Clone, Copy)]
pub enum Call {
    /// Called on a thread of its own.
    Blocking(fn(&Context, Map<String, Value>) -> Result<Value, String>),
    /// Run as a task; dropped when the run is stopped.
    Async(fn(Context, Map<String, Value>) -> CallFuture),
}

/// Registers a Rust function as a handler, under its own name or a given one.
///
/// It takes a [`Context`] and one `Deserialize` type with its parameters, and returns a `Result` of something
/// `Serialize`: the fields of a struct or map become the run's results, anything else the result `return`.
///
/// ```
/// use runtime_local::handler::Context;
/// #[derive(serde::Deserialize)]
/// struct Square { n: i64 }
/// #[derive(serde::Serialize)]
/// struct Squared { square: i64 }
///
/// fn square(_: &Context, Square { n }: Square) -> Result<Squared, String> {
///     let square = n.checked_mul(n).ok_or("too large")?;
///     Ok(Squared { square })
/// }
/// runtime_local::handler!(square);
///
/// async fn wait(_: Context, _: Square) -> Result<(), String> { Ok(()) }
/// runtime_local::handler!(async wait);
/// ```
#[macro_export]
macro_rules! handler {
    (async $function:path) => { $crate::handler!(async $function, stringify!($function)); };
    (async $function:path, $name:expr) => {
        $crate::inventory::submit! {
            $crate::handler::RustHandler {
                name: $name,
                check: |parameters| $crate::handler::check_async($function, parameters),
                call: $crate::handler::Call::Async(|context, parameters| {
                    ::std::boxed::Box::pin($crate::handler::call_async($function, context, parameters))
                }),
            }
        }
    };
    ($function:path) => { $crate::handler!($function, stringify!($function)); };
    ($function:path, $name:expr) => {
        $crate::inventory::submit! {
            $crate::handler::RustHandler {
                name: $name,
                check: |parameters| $crate::handler::check_blocking($function, parameters),
                call: $crate::handler::Call::Blocking(|context, parameters| {
                    $crate::handler::call_blocking($function, context, parameters)
                }),
            }
        }
    };
}

fn parameters<P: DeserializeOwned>(parameters: &Map<String, Value>) -> Result<P, String> {
    let object = Value::Object(parameters.clone());
    P::deserialize(&object)
        .or_else(|error| {
            // A handler without parameters takes `()`.
            if parameters.is_empty() { P::deserialize(&Value::Null).map_err(|_| error) } else { Err(error) }
        })
        .map_err(|error| error.to_string())
}

fn outcome<R: Serialize, E: Display>(outcome: Result<R, E>) -> Result<Value, String> {
    let value = outcome.map_err(|error| error.to_string())?;
    serde_json::to_value(value).map_err(|error| format!("the result cannot be written as JSON: {error}"))
}

#[doc(hidden)]
pub fn check_blocking<P: DeserializeOwned, R, E>(
    _: fn(&Context, P) -> Result<R, E>,
    given: &Map<String, Value>,
) -> Result<(), String> {
    parameters::<P>(given).map(drop)
}

#[doc(hidden)]
pub fn check_async<P: DeserializeOwned, F>(
    _: fn(Context, P) -> F,
    given: &Map<String, Value>,
) -> Result<(), String> {
    parameters::<P>(given).map(drop)
}

#[doc(hidden)]
pub fn call_blocking<P: DeserializeOwned, R: Serialize, E: Display>(
    function: fn(&Context, P) -> Result<R, E>,
    context: &Context,
    given: Map<String, Value>,
) -> Result<Value, String> {
    outcome(function(context, parameters(&given)?))
}

#[doc(hidden)]
pub async fn call_async<P: DeserializeOwned, R: Serialize, E: Display, F: Future<Output = Result<R, E>>>(
    function: fn(Context, P) -> F,
    context: Context,
    given: Map<String, Value>,
) -> Result<Value, String> {
    outcome(function(context, parameters(&given)?).await)
}

/// The Rust handlers of this program, by name.
pub struct Handlers(BTreeMap<&'static str, RustHandler>, BTreeSet<&'static str>);

impl Handlers {
    /// Those of all linked crates. Looked up once.
    pub fn linked() -> &'static Self {
        static LINKED: OnceLock<Handlers> = OnceLock::new();
        LINKED.get_or_init(|| {
            let (mut handlers, mut twice) = (BTreeMap::new(), BTreeSet::new());
            for handler in runtime_core::inventory::iter::<RustHandler> {
                if handlers.insert(handler.name, *handler).is_some() {
                    twice.insert(handler.name);
                }
            }
            Self(handlers, twice)
        })
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.0.keys().copied()
    }

    /// The handler of this name.
    ///
    /// # Errors
    /// `NotFound`, listing those that are there; `AlreadyExists` where two have that name.
    pub fn get(&self, name: &str) -> Result<RustHandler> {
        if self.1.contains(name) {
            return Err(Error::new(
                ErrorKind::AlreadyExists,
                format!("two Rust handlers are called `{name}`"),
            )
            .at("handler")
            .help("give one another name: handler!(function, \"name\")"));
        }
        self.0.get(name).copied().ok_or_else(|| {
            let names: Vec<_> = self.names().collect();
            let error = Error::not_found(format!("no Rust handler `{name}` is linked into this program"))
                .at("handler");
            match (did_you_mean(name, names.iter().copied()), names.as_slice()) {
                (Some(close), _) => error.help(format!("did you mean `{close}`?")),
                (None, []) => error.help("there are none: register one with handler!, or give Python code"),
                (None, names) => error.help(format!("there are: {}", names.join(", "))),
            }
        })
    }
}

/// Where the inputs of a job are now: fetched, or where the run says, seen from its base folder.
fn inputs(job: &Job) -> BTreeMap<String, String> {
    let spec = &job.run.spec;
    let place = |(name, place): (&String, &String)| {
        let now = match (job.inputs.get(name), place.strip_prefix("file://")) {
            (Some(fetched), _) => fetched.display().to_string(),
            (None, Some(path)) => path.to_owned(),
            (None, None) if place.contains("://") => place.clone(),
            (None, None) => job.base_dir.join(&spec.input_path).join(place).display().to_string(),
        };
        (name.clone(), now)
    };
    spec.inputs.iter().map(place).collect()
}

/// What a Rust handler knows of its run, and where it says what came out.
#[derive(Clone)]
pub struct Context(Arc<Inner>);

/// How a handler reads a secret.
pub(crate) type Lookup = Box<dyn Fn(&str) -> Result<Option<Secret>> + Send + Sync>;

struct Inner {
    run: Arc<Run>,
    secrets: Lookup,
    artifact_path: String,
    inputs: BTreeMap<String, String>,
    lines: UnboundedSender<LogLine>,
    report: Mutex<Report>,
    cancelled: AtomicBool,
    cancel: Notify,
}

impl Context {
    pub(crate) fn new(job: &Job, lines: UnboundedSender<LogLine>, secrets: Lookup) -> Self {
        Self(Arc::new(Inner {
            run: Arc::clone(&job.run),
            secrets,
            artifact_path: artifact_path(job),
            inputs: inputs(job),
            lines,
            report: Mutex::default(),
            cancelled: AtomicBool::new(false),
            cancel: Notify::new(),
        }))
    }

    /// The run.
    pub fn run(&self) -> &Run {
        &self.0.run
    }

    /// Where an input is: the path of a file or a folder of this machine, also where it came from elsewhere.
    pub fn input(&self, name: &str) -> Option<&str> {
        self.0.inputs.get(name).map(String::as_str)
    }

    /// The folder in which artifacts of this run belong. What is in it when the handler returns goes where the run's
    /// artifacts go.
    pub fn artifact_path(&self) -> &str {
        &self.0.artifact_path
    }

    /// A secret of this run, or of its project.
    ///
    /// # Errors
    /// When it is there and may not be read, or `key` is no name of one.
    pub fn secret(&self, key: &str) -> Result<Option<Secret>> {
        (self.0.secrets)(key)
    }

    /// Logs a result.
    pub fn log_result(&self, key: impl Into<String>, value: impl Into<Value>) {
        self.lock().results.insert(key.into(), value.into());
    }

    /// Records an artifact that was written.
    pub fn log_artifact(&self, artifact: Artifact) {
        self.lock().artifacts.push(artifact);
    }

    /// Sets a label of the run.
    pub fn set_label(&self, key: impl Into<String>, value: impl Into<String>) {
        self.lock().labels.insert(key.into(), value.into());
    }

    /// Writes a line to the run's log.
    pub fn log(&self, text: impl Into<String>) {
        let line = LogLine { stream: Stream::Stdout, source: "main".to_owned(), ..LogLine::system(text) };
        // Nobody listens once the run has ended.
        let _ = self.0.lines.send(line);
    }

    /// Whether the run is to stop. A handler that works for long looks at it now and then.
    pub fn is_cancelled(&self) -> bool {
        self.0.cancelled.load(Ordering::Acquire)
    }

    /// Waits until the run is to stop.
    pub async fn cancelled(&self) {
        let notified = self.0.cancel.notified();
        if !self.is_cancelled() {
            notified.await;
        }
    }

    pub(crate) fn cancel(&self) {
        self.0.cancelled.store(true, Ordering::Release);
        self.0.cancel.notify_waiters();
    }

    pub(crate) fn returned(&self, value: Value) {
        match value {
            Value::Null => {}
            Value::Object(fields) => self.lock().results.extend(fields),
            value => drop(self.lock().results.insert("return".to_owned(), value)),
        }
    }

    pub(crate) fn report(&self) -> Report {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Report> {
        self.0.report.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
/// Where the artifacts of a run go; iterations write into a folder each.
fn artifact_path(job: &Job) -> String {
    match job.key.iteration {
        0 => job.artifact_path.clone(),
        iteration => format!("{}/{iteration}", job.artifact_path.trim_end_matches('/')),
    }
}
