//! The one error of the workspace: what was wrong, where, and what would be right.

use std::{error::Error as StdError, fmt};

/// The result of everything fallible here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What sort of thing went wrong. Programs match on this; people read the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A value is wrong: a field, a parameter, an argument, a file's content.
    Invalid,
    /// What was named does not exist.
    NotFound,
    /// It exists already, with other content.
    AlreadyExists,
    /// Somebody else changed it first.
    Conflict,
    /// This build, target or machine cannot do it.
    Unsupported,
    /// The operating system or a server refused it.
    PermissionDenied,
    /// The disk, the quota or a limit is exhausted.
    Exhausted,
    /// The packages of a function could not be installed.
    Environment,
    /// The user's code failed.
    Failed,
    /// It took longer than it may.
    DeadlineExceeded,
    /// Somebody asked for it to stop.
    Aborted,
    /// A service (database, API server) is not there at the moment.
    Unavailable,
    /// An operation of the operating system failed.
    Io,
    /// A defect of this program.
    Internal,
}

impl ErrorKind {
    /// The kind's name, in CamelCase.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Invalid => "Invalid",
            Self::NotFound => "NotFound",
            Self::AlreadyExists => "AlreadyExists",
            Self::Conflict => "Conflict",
            Self::Unsupported => "Unsupported",
            Self::PermissionDenied => "PermissionDenied",
            Self::Exhausted => "Exhausted",
            Self::Environment => "Environment",
            Self::Failed => "Failed",
            Self::DeadlineExceeded => "DeadlineExceeded",
            Self::Aborted => "Aborted",
            Self::Unavailable => "Unavailable",
            Self::Io => "Io",
            Self::Internal => "Internal",
        }
    }
}

/// Whether the same call may succeed later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorStatus {
    /// The same call fails again.
    Permanent,
    /// The same call may succeed later.
    Temporary,
}

/// An error: a message for people, a kind for programs, and where it happened.
///
/// It prints as `where: message`, then one line `help: ...` where there is something to do.
/// A secret's value never enters one: contexts and messages name secrets, they do not quote them.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    status: ErrorStatus,
    operation: &'static str,
    message: String,
    location: Option<String>,
    help: Option<String>,
    context: Vec<(&'static str, String)>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error of this kind; permanent, unless the kind says otherwise.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        let status = match kind {
            ErrorKind::Conflict | ErrorKind::Unavailable => ErrorStatus::Temporary,
            _ => ErrorStatus::Permanent,
        };
        Self(Box::new(Inner {
            kind,
            status,
            operation: "",
            message: printable(message.into()),
            location: None,
            help: None,
            context: Vec::new(),
            source: None,
        }))
    }

    /// A wrong value, with the place where it stands (`spec.replicas`, `function.yaml:7:3`).
    pub fn invalid(location: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message).at(location)
    }

    /// Something that was named and is not there.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, message)
    }

    /// An operation on a file that the operating system refused.
    pub fn io(action: &str, path: impl AsRef<std::path::Path>, source: std::io::Error) -> Self {
        use std::io::ErrorKind as Io;
        let kind = match source.kind() {
            Io::NotFound => ErrorKind::NotFound,
            Io::PermissionDenied | Io::ReadOnlyFilesystem => ErrorKind::PermissionDenied,
            Io::StorageFull | Io::QuotaExceeded | Io::FileTooLarge => ErrorKind::Exhausted,
            _ => ErrorKind::Io,
        };
        let error = Self::new(kind, format!("cannot {action} {}: {source}", path.as_ref().display()));
        match kind {
            ErrorKind::Exhausted => error.help("free some space on that file system, then try again"),
            ErrorKind::PermissionDenied => error.help("check who owns that path and its mode"),
            _ => error,
        }
        .source(source)
    }

    /// A defect of this program.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }

    /// Sets where it is wrong: a field path, a `file:line:column`.
    #[must_use]
    pub fn at(mut self, location: impl Into<String>) -> Self {
        self.0.location = Some(printable(location.into()));
        self
    }

    /// Puts a place in front of the one that is known: `spec.env` before `[3].name`.
    #[must_use]
    pub fn under(mut self, outer: &str) -> Self {
        self.0.location = Some(match self.0.location.take() {
            None => printable(outer.to_owned()),
            Some(inner) if inner.starts_with('[') => format!("{outer}{inner}"),
            Some(inner) if outer.contains('/') || outer.contains(':') => format!("{outer}: {inner}"),
            Some(inner) => format!("{outer}.{inner}"),
        });
        self
    }

    /// Sets what would be right, or what to do.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.0.help = Some(printable(help.into()));
        self
    }

    /// Sets the operation that failed (`store.put_run`).
    #[must_use]
    pub fn operation(mut self, operation: &'static str) -> Self {
        self.0.operation = operation;
        self
    }

    /// Adds a fact that helps to understand it.
    #[must_use]
    pub fn context(mut self, key: &'static str, value: impl fmt::Display) -> Self {
        self.0.context.push((key, printable(value.to_string())));
        self
    }

    /// Says that the same call may succeed later.
    #[must_use]
    pub fn temporary(mut self) -> Self {
        self.0.status = ErrorStatus::Temporary;
        self
    }

    /// Sets the error below this one.
    #[must_use]
    pub fn source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// What sort of thing went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether the same call may succeed later.
    pub fn status(&self) -> ErrorStatus {
        self.0.status
    }

    /// The message alone, without place and help.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Where it is wrong, if that is known.
    pub fn location(&self) -> Option<&str> {
        self.0.location.as_deref()
    }

    /// What would be right, or what to do.
    pub fn help_text(&self) -> Option<&str> {
        self.0.help.as_deref()
    }

    /// The operation that failed, or an empty string.
    pub fn operation_name(&self) -> &'static str {
        self.0.operation
    }

    /// The facts added on the way up.
    pub fn contexts(&self) -> &[(&'static str, String)] {
        &self.0.context
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(location) = &self.0.location {
            write!(f, "{location}: ")?;
        }
        f.write_str(&self.0.message)?;
        for (key, value) in &self.0.context {
            write!(f, "\n  {key}: {value}")?;
        }
        if let Some(help) = &self.0.help {
            write!(f, "\n  help: {}", help.replace('\n', "\n        "))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0.kind)?;
        if !self.0.operation.is_empty() {
            write!(f, " in {}", self.0.operation)?;
        }
        write!(f, ": {self}")
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

/// Errors quote what others wrote: escapes in it must not reach a terminal.
fn printable(text: String) -> String {
    let wrong = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    if !text.contains(wrong) {
        return text;
    }
    text.chars().map(|c| if wrong(c) { c.escape_default().to_string() } else { c.to_string() }).collect()
}

/// The closest of `known` to a misspelt `word`, if one is close enough to be meant.
pub fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    known
        .into_iter()
        .map(|candidate| {
            (strsim::normalized_damerau_levenshtein(&word, &candidate.to_lowercase()), candidate)
        })
        .filter(|(score, candidate)| *score >= 0.7 || (*score >= 0.6 && candidate.len() <= 4))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_place_message_and_help() {
        let error = Error::invalid("spec.replcas", "unknown field").help("did you mean `replicas`?");
        assert_eq!(error.to_string(), "spec.replcas: unknown field\n  help: did you mean `replicas`?");
        assert_eq!(error.under("f.yaml:3:1").location(), Some("f.yaml:3:1: spec.replcas"));
    }

    #[test]
    fn what_is_quoted_cannot_change_the_terminal() {
        let error =
            Error::invalid("f\u{1b}[2J", "no `\r\u{7}`\nno \u{9b}").help("\u{8}").context("x", "\u{0}");
        assert_eq!(error.to_string(), "f\\u{1b}[2J: no `\\r\\u{7}`\nno \\u{9b}\n  x: \\u{0}\n  help: \\u{8}");
    }

    #[test]
    fn suggests_only_what_is_close() {
        assert_eq!(did_you_mean("replcas", ["replicas", "resources"]), Some("replicas"));
        assert_eq!(did_you_mean("loca", ["local", "handler"]), Some("local"));
        assert_eq!(did_you_mean("zebra", ["replicas", "resources"]), None);
    }
}
