//! Functions from texts and files.

use std::path::Path;

use serde_json::Value;

use super::{
    Function, lossless,
    origin::{Origin, Read},
};
use crate::{Error, Result, naming, yaml};

const EXAMPLE: &str = "a function looks like this:\n\
    kind: local\n\
    metadata:\n  name: hello\n\
    spec:\n  command: hello.py";

/// The endings of files with code.
const CODE: [&str; 3] = ["py", "ipynb", "sh"];

impl Function {
    /// Reads a function from YAML; `origin` is what errors call the text (a file name).
    ///
    /// # Errors
    /// `Invalid`, with file, line and column, the path of the wrong field, what was expected and what was found.
    pub fn from_yaml(text: &str, origin: &str) -> Result<Self> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let document = yaml::read(text, origin)?;
        Self::from_document(document, origin, Some(text))
    }

    /// Reads a function from JSON, also as Python writes it (with `NaN`).
    ///
    /// # Errors
    /// As [`Self::from_yaml`].
    pub fn from_json(text: &str, origin: &str) -> Result<Self> {
        yaml::check_text(text.as_bytes(), origin)?;
        let parsed = serde_json::from_str(text).or_else(|error| match lossless::relax(text) {
            Some(relaxed) => serde_json::from_str(&relaxed),
            None => Err(error),
        });
        let document = parsed.map_err(|error| {
            let message = error.to_string();
            let message = message.split(" at line ").next().unwrap_or_default();
            Error::invalid(
                format!("{origin}:{}:{}", error.line(), error.column()),
                format!("not JSON: {message}"),
            )
        })?;
        Self::from_document(document, origin, Some(text))
    }

    /// Reads a function from a document.
    ///
    /// # Errors
    /// `Invalid`, with the path of the wrong field.
    pub fn from_value(document: Value) -> Result<Self> {
        Self::from_document(document, "", None)
    }

    /// Reads a function from a `.yaml`, `.yml` or `.json` file.
    ///
    /// # Errors
    /// `NotFound` and its like where the file cannot be read; `Invalid` as [`Self::from_yaml`].
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let origin = path.display().to_string();
        match extension(path).as_str() {
            "yaml" | "yml" => Self::from_yaml(&yaml::text_of(path)?, &origin),
            "json" => Self::from_json(&yaml::text_of(path)?, &origin),
            extension if CODE.contains(&extension) => Err(Error::invalid(origin, "is code, not a function")
                .help("a function is made of it by `Function::from_code`, or write a function.yaml")),
            _ => Err(Error::invalid(origin, "is not a function file")
                .help("its name ends in .yaml, .yml or .json")),
        }
    }

    /// Makes a function of a code file, `.py`, `.ipynb` or `.sh`: named after the file, the code carried in it (see
    /// [`Self::embed_file`]). Without a kind it is `local`.
    ///
    /// # Errors
    /// Where the file cannot be read, is no text, or has a name of which none can be made; as [`Self::embed_file`].
    pub fn from_code(path: impl AsRef<Path>, kind: Option<&str>) -> Result<Self> {
        Self::from_code_as(path, kind, None)
    }

    /// As [`Self::from_code`], with another name than the file's. Of several functions in one file, told apart by
    /// their annotations, it is the one of that name.
    ///
    /// # Errors
    /// As [`Self::from_code`]; `Invalid` where the name is none.
    pub fn from_code_as(path: impl AsRef<Path>, kind: Option<&str>, name: Option<&str>) -> Result<Self> {
        let path = path.as_ref();
        let origin = path.display().to_string();
        if !CODE.contains(&extension(path).as_str()) {
            return Err(
                Error::invalid(origin, "is not a code file").help("its name ends in .py, .ipynb or .sh")
            );
        }
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let name = match name {
            Some(name) => naming::check("name", name).map(|()| name.to_owned())?,
            None => naming::normalize(&path.file_stem().unwrap_or_default().to_string_lossy()),
        };
        if name.is_empty() {
            return Err(Error::invalid(origin, "no name can be made of this file name")
                .help("use lower-case letters, digits and `-`"));
        }
        let text = yaml::text_of(path)?;
        // The kind that was asked for stands over what the file says.
        let mut function = Self::new("local", name).embed_file(&file, &text, path)?;
        if let Some(kind) = kind {
            function.kind = kind.to_owned();
        }
        Ok(function)
    }

    /// A document of somebody: it must be a function.
    fn from_document(document: Value, origin: &str, text: Option<&str>) -> Result<Self> {
        check_shape(&document).and_then(|()| Self::keep(document, origin, text)).map_err(|error| match text {
            Some(text) => yaml::locate(error, text, origin),
            None => error,
        })
    }

    /// Types a document, and keeps it.
    pub(super) fn keep(document: Value, origin: &str, text: Option<&str>) -> Result<Self> {
        let typed = Self::typed(&document)?;
        let read =
            Read { name: origin.to_owned(), text: text.map(str::to_owned), typed: typed.clone(), document };
        Ok(Self { origin: Origin::new(read), ..typed })
    }
}

fn check_shape(document: &Value) -> Result<()> {
    let invalid = |path: &str, message: String| Err(Error::invalid(path, message).help(EXAMPLE));
    let Some(map) = document.as_object() else {
        return match document {
            Value::Null => invalid("", "is empty: expected a function".to_owned()),
            other => invalid("", format!("expected a function, found {}", yaml::kind_of(other))),
        };
    };
    let kind = map.get("kind").and_then(Value::as_str).filter(|kind| !kind.is_empty());
    match (map.get("apiVersion").and_then(Value::as_str), kind) {
        (Some(api), kind) => {
            let what = kind.unwrap_or("something");
            invalid("apiVersion", format!("expected a function, found a Kubernetes object: {what} of {api}"))
        }
        (None, Some(_)) => Ok(()),
        // Of another type: the error of that field says so.
        (None, None) if map.get("kind").is_some_and(|kind| !kind.is_null() && !kind.is_string()) => Ok(()),
        (None, None) if map.contains_key("metadata") || map.contains_key("spec") => {
            Err(Error::invalid("kind", "is missing")
                .help("write `kind: local` for code that runs on this machine"))
        }
        (None, None) => invalid("kind", "is missing: this is not a function".to_owned()),
    }
}

fn extension(path: &Path) -> String {
    path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase()
}
