//! Reads Python source without running it: which handlers a file has, what they take, and where its syntax is
//! wrong.
//!
//! What cannot be known without running the code (decorators, conditional definitions, star imports) is never
//! guessed: such a handler passes every check here and is checked again where it runs.

mod bind;
mod call;
mod cell;
mod collect;
mod docstring;
mod entry_points;
mod excerpt;
mod hint;
mod literal;
mod nesting;
mod signature;
mod usage;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;

use crate::{Error, ErrorKind, Result};

pub(crate) use cell::{PlainCell, plain};

/// A Python file, as far as it can be known without running it.
#[derive(Clone, Debug, Serialize)]
pub struct Module {
    /// What the file is called in messages.
    pub name: String,
    /// Functions defined at the top level, and methods of classes defined there, in the order of the file.
    pub functions: Vec<Handler>,
    /// Names bound at the top level in another way: by assignment, import, class, or within `if`, `try`, `with`.
    pub names: BTreeSet<String>,
    /// Further names may exist: a star import, a module's `__getattr__`, `exec(...)`, `globals()`.
    pub open: bool,
    /// Classes whose methods are among `functions`.
    #[serde(skip)]
    classes: BTreeMap<String, Class>,
    /// Short string literals: parameters that are read by name (`context.get_param("lr")`) are among them.
    #[serde(skip)]
    texts: BTreeSet<String>,
}

/// What is known of a class, beside its methods.
#[derive(Clone, Debug, Default)]
struct Class {
    /// It may have more than what stands in it: bases, decorators, a metaclass, `__getattr__`.
    open: bool,
    /// What it binds otherwise than by a plain `def`.
    names: BTreeSet<String>,
}

/// A function that can be called by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Handler {
    /// `function`, or `Class::method`.
    pub name: String,
    /// Its docstring, without the indentation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub doc: Option<String>,
    /// The line of its name, from 1.
    pub line: usize,
    /// Whether it is an `async def`.
    pub is_async: bool,
    /// What it takes, in order, `self` included.
    pub parameters: Vec<Parameter>,
    /// The annotation of what it returns, as it stands in the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub returns: Option<String>,
    /// Its first parameter is given by Python (`self`, `cls`).
    pub bound: bool,
    /// It has a decorator that may change what it takes.
    pub decorated: bool,
    /// The line `# mlrun:handler` stands above it.
    #[serde(skip)]
    pub marked: bool,
    /// What it returns, as documents write types.
    #[serde(skip)]
    return_type: Option<String>,
}

/// A parameter of a handler.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Parameter {
    /// Its name.
    pub name: String,
    /// Its type hint, as it stands in the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub annotation: Option<String>,
    /// Its default, as it stands in the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
    /// How it can be given.
    pub kind: ParameterKind,
    /// Its type, as documents write types.
    #[serde(skip)]
    type_name: Option<String>,
    /// Its default, where it is a literal.
    #[serde(skip)]
    value: Option<Value>,
}

/// How a parameter can be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ParameterKind {
    /// By position only (before `/`).
    PositionalOnly,
    /// By position or by name.
    PositionalOrKeyword,
    /// All further positions (`*args`).
    VarPositional,
    /// By name only (after `*`).
    KeywordOnly,
    /// All further names (`**kwargs`).
    VarKeyword,
}

/// Above this, a file is data rather than code, and is left to Python itself.
const LARGEST: usize = 8 << 20;

/// Trees are walked and dropped recursively: on a stack of its own, that is large enough for what may be nested.
fn on_large_stack<T: Send>(name: &str, text: &str, read: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let stack = (4 << 20) + 4096 * text.len().min(nesting::DEEPEST);
    std::thread::scope(|scope| {
        let worker = std::thread::Builder::new()
            .name("python-parser".to_owned())
            .stack_size(stack)
            .spawn_scoped(scope, read)
            .map_err(|source| {
                Error::new(ErrorKind::Exhausted, format!("cannot start a thread to read {name}: {source}"))
                    .source(source)
            })?;
        worker.join().unwrap_or_else(|_| {
            Err(Error::internal("the Python parser panicked").at(name).help("please report this file"))
        })
    })
}

impl Module {
    /// Reads a file's text. `name` is what the file is called in messages.
    ///
    /// # Errors
    /// `Invalid` where the syntax is wrong, at `file.py:LINE:COLUMN`, with that line and a caret under the column.
    pub fn parse(name: &str, text: &str) -> Result<Self> {
        if text.len() > LARGEST || nesting::too_deep(text) {
            return Ok(Self::unknown(name));
        }
        on_large_stack(name, text, || collect::module(name, text))
    }

    /// A module of which nothing is known: every call passes.
    fn unknown(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            functions: Vec::new(),
            names: BTreeSet::new(),
            open: true,
            classes: BTreeMap::new(),
            texts: BTreeSet::new(),
        }
    }

    /// The function or method of this name, if it is defined at the top level.
    pub fn handler(&self, name: &str) -> Option<&Handler> {
        self.functions.iter().find(|handler| handler.name == name)
    }

    /// The handlers meant for others: functions first, then methods, none that begins with `_`.
    pub fn public(&self) -> Vec<&Handler> {
        let (methods, functions): (Vec<&Handler>, Vec<&Handler>) = self
            .functions
            .iter()
            .filter(|handler| !handler.name.split("::").any(|part| part.starts_with('_')))
            .partition(|handler| handler.name.contains("::"));
        functions.into_iter().chain(methods).collect()
    }
}

impl Handler {
    /// The parameters that a caller gives: without `self`.
    pub fn given(&self) -> &[Parameter] {
        match self.parameters.split_first() {
            Some((first, rest)) if self.bound && first.kind != ParameterKind::VarPositional => rest,
            _ => &self.parameters,
        }
    }

    /// Whether it asks for the run's context.
    pub fn takes_context(&self) -> bool {
        self.given().iter().any(Parameter::is_context)
    }
}

impl Parameter {
    /// Whether this is the run's context, which the agent gives: by its name, or by its type.
    pub fn is_context(&self) -> bool {
        let typed = self.annotation.as_deref().is_some_and(|annotation| {
            let bare = annotation.trim_matches(|c| matches!(c, '"' | '\''));
            let last = bare.rsplit('.').next().unwrap_or(bare);
            matches!(last, "MLClientCtx" | "Context")
        });
        typed || self.name == "context"
    }

    /// Whether this may be the run's session of Spark, which the agent gives where nothing else is given: by its type, or,
    /// without one, by its name.
    pub fn is_session(&self) -> bool {
        match &self.annotation {
            Some(annotation) => {
                let bare = annotation.trim_matches(|c| matches!(c, '"' | '\''));
                bare.rsplit('.').next() == Some("SparkSession")
            }
            None => self.name == "spark",
        }
    }
}
