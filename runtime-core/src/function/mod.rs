//! The function: everything that a piece of work needs, read and written as MLRun's `function.yaml`.

mod build;
mod builder;
mod code;
mod diff;
mod entry_point;
pub(crate) mod fields;
mod hash;
mod lossless;
mod metadata;
#[cfg(feature = "python")]
mod notebook;
mod origin;
mod pods;
mod read;
mod reference;
mod regions;
mod spec;
mod status;
mod unknown;
mod validate;

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::{Error, Result, yaml};
use fields::{Fields, put, put_extra};

pub use build::Build;
pub use code::SourceCode;
pub use diff::{Change, Difference};
pub use entry_point::{EntryPoint, Parameter};
pub use metadata::Metadata;
pub use origin::Origin;
pub use reference::{Reference, check_tag};
pub use spec::Spec;
pub use status::Status;
pub use unknown::UnknownField;

/// A function: code, image, packages, resources, volumes, environment; versioned by a hash.
///
/// It is read from a `function.yaml` or a code file, or built:
///
/// ```
/// use runtime_core::Function;
///
/// let function = Function::new("job", "train")
///     .with_code("def fit(context, depth: int = 3):\n    context.log_result('depth', depth)\n")
///     .with_handler("fit")
///     .with_requirements(["scikit-learn"])
///     .set_env("MODE", "fast")
///     .with_limits(Some("2Gi"), Some("1500m"), None, None)?
///     .with_requests(Some("1Gi"), None)?;
/// function.validate()?;
///
/// // What is written reads back as the same function, with the same hash.
/// let again = Function::from_yaml(&function.to_yaml()?, "function.yaml")?;
/// assert_eq!(again, function);
/// assert_eq!(again.hash(), function.hash());
/// # Ok::<(), runtime_core::Error>(())
/// ```
///
/// A document that was read comes out again with the same content: nulls, empty values and fields that are not known
/// here are kept, also where the function was changed meanwhile.
#[derive(Clone, Debug, Default)]
pub struct Function {
    /// Its kind: `local`, `handler`, `job`, ...
    pub kind: String,
    /// Its name and version.
    pub metadata: Metadata,
    /// What it is.
    pub spec: Spec,
    /// What became of it: image builds, deployments.
    pub status: Status,
    /// Whether its code should say more.
    pub verbose: bool,
    /// Fields that are not known here, kept.
    pub extra: Map<String, Value>,
    /// The document that it was read from.
    pub origin: Origin,
}

impl Function {
    /// An empty function of this kind and name.
    pub fn new(kind: impl Into<String>, name: impl Into<String>) -> Self {
        let metadata = Metadata { name: name.into(), ..Metadata::default() };
        Self { kind: kind.into(), metadata, ..Self::default() }
    }

    /// The hash of its content, MLRun's own: the version of the function. Tag, status and times do not count.
    pub fn hash(&self) -> String {
        match self.origin.read() {
            // The usual case, a function as it was stored: nothing is written for it.
            Some(read) if self.same_version(&read.typed) => hash::hash(&read.document),
            _ => hash::hash(&self.document()),
        }
    }

    /// Its name with its exact version: `project/name@hash`.
    pub fn uri(&self) -> String {
        format!("{}/{}@{}", self.metadata.project, self.metadata.name, self.hash())
    }

    /// The document, as it is stored.
    pub fn to_value(&self) -> Value {
        self.document().into_owned()
    }

    /// The document as YAML.
    ///
    /// # Errors
    /// `Internal`, where a value cannot be written as YAML.
    pub fn to_yaml(&self) -> Result<String> {
        yaml::to_string(&yaml::Written(&self.document()))
    }

    /// Where a field stands: `function.yaml:7:3`, if the function was read from a text.
    pub fn place(&self, path: &str) -> Option<String> {
        let read = self.origin.read()?;
        let (line, column) = yaml::place(read.text.as_deref()?, path)?;
        Some(format!("{}:{line}:{column}", read.name))
    }

    /// Puts file, line and column in front of an error that names a field of this function, where they are known.
    pub fn locate(&self, error: Error) -> Error {
        match error.location().and_then(|path| self.place(path)) {
            Some(place) => error.under(&place),
            None => error,
        }
    }

    /// The document that was read with what changed since; borrowed where nothing did.
    pub(crate) fn document(&self) -> Cow<'_, Value> {
        let Some(read) = self.origin.read() else {
            return Cow::Owned(Value::Object(self.write(None)));
        };
        if self.typed_eq(&read.typed) {
            return Cow::Borrowed(&read.document);
        }
        let base = Value::Object(read.typed.write(Some(self)));
        let current = Value::Object(self.write(Some(&read.typed)));
        Cow::Owned(origin::merge(&read.document, &base, &current))
    }

    /// Whether all that counts in the hash is the same.
    fn same_version(&self, other: &Self) -> bool {
        self.kind == other.kind
            && self.verbose == other.verbose
            && self.metadata.same_version(&other.metadata)
            && self.spec == other.spec
            && self.extra == other.extra
    }

    fn typed_eq(&self, other: &Self) -> bool {
        self.kind == other.kind
            && self.verbose == other.verbose
            && self.metadata == other.metadata
            && self.spec == other.spec
            && self.status == other.status
            && self.extra == other.extra
    }

    /// The typed fields as a document, without those that are the same in `but`.
    fn write(&self, but: Option<&Self>) -> Map<String, Value> {
        let mut map = Map::new();
        put(&mut map, "kind", &self.kind);
        let mut part = |key: &str, written: Map<String, Value>| {
            if !written.is_empty() {
                map.insert(key.to_owned(), Value::Object(written));
            }
        };
        part("metadata", self.metadata.write(but.map(|but| &but.metadata)));
        part("spec", self.spec.write(but.map(|but| &but.spec)));
        part("status", self.status.write(but.map(|but| &but.status)));
        put(&mut map, "verbose", &self.verbose);
        put_extra(&mut map, &self.extra, but.map(|but| &but.extra));
        map
    }

    /// Types a document.
    fn typed(document: &Value) -> Result<Self> {
        let mut from = Fields::new(Some(document), "")?;
        let kind = from.take("kind")?;
        let metadata = Metadata::read(from.inner("metadata")?)?;
        let spec = Spec::read(from.inner("spec")?)?;
        let status = Status::read(from.inner("status")?)?;
        let verbose = from.take("verbose")?;
        Ok(Self { kind, metadata, spec, status, verbose, extra: from.rest(), origin: Origin::default() })
    }
}

/// Two functions are equal where their documents are.
impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        self.typed_eq(other) && (self.origin.is(&other.origin) || self.document() == other.document())
    }
}

impl Serialize for Function {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.document().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Function {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let document = Value::deserialize(deserializer)?;
        Self::keep(document, "", None).map_err(serde::de::Error::custom)
    }
}
