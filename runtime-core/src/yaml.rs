//! YAML in and out, and the place in a text at which a field stands.
//!
//! Everything that reads YAML goes through here, so that all of it refuses the same things (several documents,
//! duplicate keys, alias bombs, what is not text) and all errors name file, line and column.

mod loose;
mod place;

use std::{borrow::Cow, fs::File, io::Read as _, path::Path};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use serde_path_to_error::Segment;

use crate::{Error, Result, error::did_you_mean};
use loose::Loose;

pub(crate) use loose::{RAW_NUMBER, Written};
pub use place::place;

/// The longest text that is read.
pub const MAX_BYTES: usize = 64 << 20;
const MAX_DEPTH: usize = 64;

/// Reads one YAML document of any type; `origin` is what errors call the text (a file name).
///
/// # Errors
/// `Invalid`, with file, line and column, and the path of the field that is wrong.
pub fn from_str<T: DeserializeOwned>(text: &str, origin: &str) -> Result<T> {
    let value = read(text, origin)?;
    from_value(&value, "").map_err(|error| locate(error, text, origin))
}

/// Reads one YAML document as it is.
///
/// Words such as `yes` and `off` are texts, numbers with a leading zero are octal, as Kubernetes reads them.
///
/// # Errors
/// `Invalid`, with file, line and column.
pub fn read(text: &str, origin: &str) -> Result<Value> {
    check_text(text.as_bytes(), origin)?;
    let limits = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: MAX_DEPTH,
            flow_nesting_limit: MAX_DEPTH,
            max_documents: 2,
            max_total_scalar_bytes: MAX_BYTES,
            max_recorded_anchor_bytes: 8 << 20,
            max_recorded_anchor_events: 20_000,
        },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: 20_000 },
        non_finite_float_policy: serde_saphyr::NonFiniteFloatPolicy::PassThrough,
        strict_booleans: true,
        legacy_octal_numbers: true,
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options::<Loose>(text, limits)
        .map(|loose| loose.0)
        .map_err(|error| describe(&error, origin))
}

/// Writes YAML, with block style for long texts.
///
/// # Errors
/// `Internal`, where a value cannot be written as YAML.
pub fn to_string(value: &impl Serialize) -> Result<String> {
    // Folding would wrap base64 at spaces that are not there; only texts of several lines become blocks.
    let options = serde_saphyr::ser_options! { folded_wrap_chars: usize::MAX, no_lang_directive: true };
    serde_saphyr::to_string_with_options(value, options)
        .map_err(|error| Error::internal(format!("cannot write YAML: {error}")))
}

/// Reads a typed value; an error says under which path what was expected and what was found.
///
/// # Errors
/// `Invalid`, at the path of the wrong value, which begins with `path`.
pub fn from_value<T: DeserializeOwned>(value: &Value, path: &str) -> Result<T> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let mut at = path.to_owned();
        let mut found = Some(value);
        for segment in error.path() {
            match segment {
                Segment::Map { key } => {
                    at = join(&at, key);
                    found = found.and_then(|value| value.get(key));
                }
                Segment::Seq { index } => {
                    at = format!("{at}[{index}]");
                    found = found.and_then(|value| value.get(*index));
                }
                Segment::Enum { .. } | Segment::Unknown => found = None,
            }
        }
        let message = error.inner().to_string();
        wrong_type(&at, &message, found)
    })
}

fn wrong_type(path: &str, message: &str, found: Option<&Value>) -> Error {
    if let Some((name, known)) = message.strip_prefix("unknown field `").and_then(|rest| rest.split_once('`'))
    {
        let known: Vec<&str> = known.split('`').skip(1).step_by(2).collect();
        let error = Error::invalid(path, "unknown field");
        return match did_you_mean(name, known.iter().copied()) {
            Some(meant) => error.help(format!("did you mean `{meant}`?")),
            None if known.is_empty() => error,
            None => error.help(format!("known are: {}", known.join(", "))),
        };
    }
    let expected = message.split_once(", expected ").map(|(_, expected)| expected_words(expected));
    let (Some(found), Some(expected)) = (found, expected) else {
        return Error::invalid(path, message);
    };
    let error = Error::invalid(path, format!("expected {expected}, found {}", kind_of(found)));
    match found {
        Value::Number(_) | Value::Bool(_) if expected == "a text" => error.help(format!("write \"{found}\"")),
        Value::String(text) if expected == "a list" && is_word(text) => error.help(format!("write [{text}]")),
        Value::Object(_) if expected == "a list" && (path == "env" || path.ends_with(".env")) => {
            error.help("write each one as an entry: `- {name: NAME, value: VALUE}`")
        }
        Value::Object(_) if expected == "a list" => error.help("each entry of a list begins with `- `"),
        _ => error,
    }
}

/// Whether a text can stand in a list as it is.
fn is_word(text: &str) -> bool {
    let right = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | '=');
    !text.is_empty() && text.len() < 40 && text.chars().all(right) && !text.starts_with(['-', '='])
}

fn expected_words(expected: &str) -> Cow<'static, str> {
    let word = expected.split([' ', ',']).next().unwrap_or_default();
    match expected {
        "a string" | "string" => "a text".into(),
        "a boolean" | "bool" => "true or false".into(),
        "a sequence" => "a list".into(),
        "a map" => "a mapping".into(),
        _ => match word {
            "u8" | "u16" | "u32" | "u64" | "usize" => "an integer, 0 or more".into(),
            "i8" | "i16" | "i32" | "i64" | "isize" => "an integer".into(),
            "f32" | "f64" => "a number".into(),
            "Quantity" => "a quantity, such as 500m or 2Gi".into(),
            "struct" => "a mapping".into(),
            _ if word.starts_with(|c: char| c.is_ascii_uppercase()) => "a mapping".into(),
            _ => expected.to_owned().into(),
        },
    }
}

/// What a value is, in words: `the text "three"`, `a list`.
pub fn kind_of(value: &Value) -> String {
    match value {
        Value::Null => "nothing (null)".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) if number.is_f64() => format!("the number {number}"),
        Value::Number(number) => format!("the integer {number}"),
        Value::String(text) if text.starts_with(RAW_NUMBER) => {
            format!("the number {}", &text[RAW_NUMBER.len_utf8()..])
        }
        Value::String(text) if text.chars().count() > 60 => {
            format!("the text {:?}...", text.chars().take(57).collect::<String>())
        }
        Value::String(text) => format!("the text {text:?}"),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a mapping".to_owned(),
    }
}

/// The first number in a value that JSON does not have: `NaN`, `Infinity`, `-Infinity`. YAML has them, and
/// [`read`] keeps them; what is sent on as JSON cannot carry them.
pub fn non_finite(value: &Value) -> Option<&str> {
    match value {
        Value::String(text) => text.strip_prefix(RAW_NUMBER),
        Value::Array(items) => items.iter().find_map(non_finite),
        Value::Object(map) => map.values().find_map(non_finite),
        _ => None,
    }
}

/// A key below a path: `spec` and `env` give `spec.env`.
pub(crate) fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// Refuses what is not text, or too much of it.
pub(crate) fn check_text(bytes: &[u8], origin: &str) -> Result<()> {
    if bytes.len() > MAX_BYTES {
        return Err(Error::invalid(origin, format!("is larger than {} MiB", MAX_BYTES >> 20))
            .help("keep data outside of the file, and name it by a path"));
    }
    match bytes.iter().position(|byte| *byte == 0) {
        Some(offset) => Err(Error::invalid(origin, format!("not text: byte {offset} is NUL"))),
        None => Ok(()),
    }
}

/// Reads a text file of bounded size.
///
/// # Errors
/// `NotFound` and its like where it cannot be read; `Invalid` where it is no text, or too much of it.
pub fn text_of(path: &Path) -> Result<String> {
    let origin = path.display().to_string();
    let file = File::open(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Error::not_found(format!("there is no file {origin}")).source(error),
        _ => Error::io("read", path, error),
    })?;
    let mut bytes = Vec::new();
    // One byte more than is allowed, so that what is too large (or never ends) is seen and not read.
    let limit = MAX_BYTES as u64 + 1;
    file.take(limit).read_to_end(&mut bytes).map_err(|error| Error::io("read", path, error))?;
    check_text(&bytes, &origin)?;
    String::from_utf8(bytes).map_err(|error| {
        let offset = error.utf8_error().valid_up_to();
        Error::invalid(origin, format!("not text: byte {offset} is not UTF-8")).help("save the file as UTF-8")
    })
}

/// Puts file, line and column in front of an error that names a field of this text.
pub fn locate(error: Error, text: &str, origin: &str) -> Error {
    let place = match error.location().and_then(|path| place(text, path)) {
        Some((line, column)) => format!("{origin}:{line}:{column}"),
        None if origin.is_empty() => return error,
        None => format!("{origin}:1:1"),
    };
    match error.location() {
        None | Some("") => error.at(place),
        // `under` joins a place and a path by `: ` only where the place looks like one; this always does.
        Some(_) => error.under(&place),
    }
}

fn describe(error: &serde_saphyr::Error, origin: &str) -> Error {
    use serde_saphyr::Error as Yaml;
    let error = error.without_snippet();
    let place = match error.location() {
        Some(at) if at.line() > 0 => format!("{origin}:{}:{}", at.line(), at.column()),
        _ => origin.to_owned(),
    };
    // Without its own words for the place, which stands in front.
    let message = error.to_string();
    let message = message.split(" at line ").next().unwrap_or_default().trim();
    let message = message.strip_prefix("error: ").unwrap_or(message);
    match error {
        Yaml::MultipleDocuments { .. } => Error::invalid(place, "several YAML documents in one file")
            .help("keep one of them; the others go into files of their own"),
        Yaml::DuplicateMappingKey { key, .. } => {
            let key = key.as_deref().unwrap_or_default();
            Error::invalid(place, format!("the key `{key}` is there twice")).help("keep one of the two")
        }
        Yaml::Budget { .. }
        | Yaml::AliasReplayLimitExceeded { .. }
        | Yaml::AliasExpansionLimitExceeded { .. }
        | Yaml::AliasReplayStackDepthExceeded { .. }
        | Yaml::AliasReplayCounterOverflow { .. } => too_much(place),
        // The parser's own limits come as texts.
        _ if ["budget", "nesting", "recursion", "alias replay"].iter().any(|word| message.contains(word)) => {
            too_much(place)
        }
        _ if message.contains(" tab") || message.starts_with("tab") => {
            Error::invalid(place, format!("not YAML: {message}")).help("indent by spaces, not by tabs")
        }
        _ => Error::invalid(place, format!("not YAML: {message}")),
    }
}

fn too_much(place: String) -> Error {
    Error::invalid(place, "refused: it is nested too deeply, or its aliases expand to too much")
        .help("write it with fewer levels and without nested aliases")
}
