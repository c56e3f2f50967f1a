//! JSON as Python writes it.

use runtime_core::serde_json::{self, Value};

use super::error::Refusal;

/// What Python writes for numbers that JSON lacks; they become text, as the agent has it.
const NUMBERS: [&str; 3] = ["NaN", "-Infinity", "Infinity"];

/// Reads a body. An empty one is an empty object.
pub(super) fn read(body: &[u8]) -> Result<Value, Refusal> {
    if body.is_empty() {
        return Ok(Value::Object(serde_json::Map::new()));
    }
    let wrong = |why: &dyn std::fmt::Display| Refusal::bad(format!("the body is no JSON: {why}"));
    match serde_json::from_slice(body) {
        Ok(value) => Ok(value),
        Err(first) => {
            let text = std::str::from_utf8(body).map_err(|error| wrong(&error))?;
            serde_json::from_str(&quoted(text)).map_err(|_| wrong(&first))
        }
    }
}

/// The text, with the numbers that JSON lacks as strings.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    let (mut rest, mut inside) = (text, false);
    while let Some(c) = rest.chars().next() {
        let number = NUMBERS.iter().find(|number| !inside && rest.starts_with(**number));
        let length = match (number, c) {
            (Some(number), _) => {
                out.extend(["\"", number, "\""]);
                rest = &rest[number.len()..];
                continue;
            }
            (None, '\\') if inside => 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
            (None, '"') => {
                inside = !inside;
                1
            }
            _ => c.len_utf8(),
        };
        out.push_str(&rest[..length]);
        rest = &rest[length..];
    }
    out
}

#[cfg(test)]
mod tests {
    use runtime_core::serde_json::json;

    use super::*;

    #[test]
    fn what_python_writes_is_read() {
        let text = r#"{"a": NaN, "b": [-Infinity, Infinity, 1e3], "c": "NaN \"Infinity\\", "é": -1}"#;
        let value =
            json!({"a": "NaN", "b": ["-Infinity", "Infinity", 1e3], "c": "NaN \"Infinity\\", "é": -1});
        assert_eq!(read(text.as_bytes()).unwrap(), value);
        assert_eq!(read(b"").unwrap(), json!({}));
        for wrong in [&b"{"[..], b"\"\\", b"NaNa", b"\xff", b"{\"a\": NaN"] {
            assert!(read(wrong).is_err(), "{wrong:?}");
        }
    }
}
