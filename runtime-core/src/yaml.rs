//! YAML in and out, and the place in a text at which a field stands.
//!
//! Everything that reads YAML goes through here, so that all of it refuses the same things (several documents,
//! duplicate keys, alias bombs, what is not text) and all errors name file, line and column.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Serialize,
    de::{DeserializeOwned, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Number, Value};
use serde_path_to_error::Segment;
use serde_saphyr::granit_parser::{Event, Parser};

use crate::{Error, Result};

/// The longest text that is read.
pub const MAX_BYTES: usize = 64 << 20;
const MAX_DEPTH: usize = 64;
/// A string that begins with this carries a number that JSON cannot: `NaN`, `-Infinity`, an integer of many digits.
/// It is a Unicode noncharacter: no text that anybody exchanges has it.
pub(crate) const RAW_NUMBER: char = '\u{FDD0}';

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
    let expected = message.split_once(", expected ").map(|(_, expected)| expected_words(expected));
    let (Some(found), Some(expected)) = (found, expected) else {
        return Error::invalid(path, message);
    };
    let error = Error::invalid(path, format!("expected {expected}, found {}", kind_of(found)));
    match found {
        Value::Number(_) | Value::Bool(_) if expected == "a text" => error.help(format!("write \"{found}\"")),
        _ => error,
    }
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
        _ if ["budget", "nesting", "recursion"].iter().any(|word| message.contains(word)) => too_much(place),
        _ if message.contains("tab") => {
            Error::invalid(place, format!("not YAML: {message}")).help("indent by spaces, not by tabs")
        }
        _ => Error::invalid(place, format!("not YAML: {message}")),
    }
}

fn too_much(place: String) -> Error {
    Error::invalid(place, "refused: it is nested too deeply, or its aliases expand to too much")
        .help("write it with fewer levels and without nested aliases")
}

/// Line and column, from 1, at which the field of this path stands in a YAML or JSON text; of the closest field
/// above it where it is not there itself.
pub fn place(text: &str, path: &str) -> Option<(usize, usize)> {
    let mut best = None;
    let mut best_length = 0;
    let mut stack: Vec<Level> = Vec::new();
    let mut parser = Parser::new_from_str(text);
    while let Some(Ok((event, span))) = parser.next_event() {
        let here = match stack.last_mut() {
            None => String::new(),
            Some(level) => level.path_of(&event),
        };
        let is_node = matches!(
            event,
            Event::Scalar(..) | Event::Alias(..) | Event::SequenceStart(..) | Event::MappingStart(..)
        );
        if is_node && !here.is_empty() && here.len() > best_length && leads_to(&here, path) {
            best_length = here.len();
            best = Some((span.start.line(), span.start.col() + 1));
            if here == path {
                break;
            }
        }
        match event {
            Event::MappingStart(..) => stack.push(Level { path: here, index: None, key: None }),
            Event::SequenceStart(..) => stack.push(Level { path: here, index: Some(0), key: None }),
            Event::MappingEnd | Event::SequenceEnd => {
                stack.pop();
            }
            _ => {}
        }
    }
    best
}

fn leads_to(here: &str, path: &str) -> bool {
    path.strip_prefix(here).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// One open mapping (with the key whose value comes next) or list (with the index of the next item).
struct Level {
    path: String,
    index: Option<usize>,
    key: Option<String>,
}

impl Level {
    /// The path of the node that this event is; a key has the path of its value.
    fn path_of(&mut self, event: &Event<'_>) -> String {
        let node = matches!(
            event,
            Event::Scalar(..) | Event::Alias(..) | Event::SequenceStart(..) | Event::MappingStart(..)
        );
        if !node {
            return String::new();
        }
        if let Some(index) = &mut self.index {
            let path = format!("{}[{index}]", self.path);
            *index += 1;
            return path;
        }
        match self.key.take() {
            Some(key) => key,
            None => {
                let key = match event {
                    Event::Scalar(text, ..) => join(&self.path, text),
                    _ => format!("{}.?", self.path),
                };
                self.key = Some(key.clone());
                key
            }
        }
    }
}

/// Any YAML value, with the numbers that JSON does not have kept as marked texts.
struct Loose(Value);

impl<'de> Deserialize<'de> for Loose {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(LooseVisitor)
    }
}

struct LooseVisitor;

impl<'de> Visitor<'de> for LooseVisitor {
    type Value = Loose;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Loose, E> {
        Ok(Loose(Value::Bool(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Loose, E> {
        Ok(Loose(Value::from(value)))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Loose, E> {
        Ok(Loose(Value::from(value)))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Loose, E> {
        let value = match (i64::try_from(value), u64::try_from(value)) {
            (Ok(value), _) => Value::from(value),
            (_, Ok(value)) => Value::from(value),
            _ => Value::String(format!("{RAW_NUMBER}{value}")),
        };
        Ok(Loose(value))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Loose, E> {
        Ok(Loose(match u64::try_from(value) {
            Ok(value) => Value::from(value),
            Err(_) => Value::String(format!("{RAW_NUMBER}{value}")),
        }))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Loose, E> {
        Ok(Loose(match Number::from_f64(value) {
            Some(number) => Value::Number(number),
            None if value.is_nan() => Value::String(format!("{RAW_NUMBER}NaN")),
            None if value > 0.0 => Value::String(format!("{RAW_NUMBER}Infinity")),
            None => Value::String(format!("{RAW_NUMBER}-Infinity")),
        }))
    }

    fn visit_str<E>(self, value: &str) -> Result<Loose, E> {
        Ok(Loose(Value::from(value)))
    }

    fn visit_string<E>(self, value: String) -> Result<Loose, E> {
        Ok(Loose(Value::String(value)))
    }

    fn visit_unit<E>(self) -> Result<Loose, E> {
        Ok(Loose(Value::Null))
    }

    fn visit_none<E>(self) -> Result<Loose, E> {
        Ok(Loose(Value::Null))
    }

    fn visit_some<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Loose, D::Error> {
        Loose::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Loose, A::Error> {
        let mut list = Vec::new();
        while let Some(Loose(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(Loose(Value::Array(list)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Loose, A::Error> {
        let mut map = Map::new();
        while let Some((key, Loose(value))) = entries.next_entry::<String, Loose>()? {
            map.insert(key, value);
        }
        Ok(Loose(Value::Object(map)))
    }
}
