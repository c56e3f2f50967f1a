//! Values of YAML, with the numbers that JSON does not have.

use std::fmt;

use serde::{
    Deserialize, Serialize, Serializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Number, Value};

/// A string that begins with this carries a number that JSON does not have: `NaN`, `Infinity`, `-Infinity`.
/// It is a Unicode noncharacter: no text that anybody exchanges has it.
pub(crate) const RAW_NUMBER: char = '\u{FDD0}';

/// A value as YAML is to write it: marked numbers as numbers.
pub(crate) struct Written<'a>(pub(crate) &'a Value);

impl Serialize for Written<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Array(items) => serializer.collect_seq(items.iter().map(Written)),
            Value::Object(map) => {
                serializer.collect_map(map.iter().map(|(key, value)| (key, Written(value))))
            }
            Value::String(text) => match text.strip_prefix(RAW_NUMBER) {
                Some("NaN") => serializer.serialize_f64(f64::NAN),
                Some("Infinity") => serializer.serialize_f64(f64::INFINITY),
                Some("-Infinity") => serializer.serialize_f64(f64::NEG_INFINITY),
                _ => text.serialize(serializer),
            },
            other => other.serialize(serializer),
        }
    }
}

/// Any YAML value, with the numbers that JSON does not have kept as marked texts.
pub(super) struct Loose(pub(super) Value);

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
