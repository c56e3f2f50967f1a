//! The hash of a function: SHA-1 over the text that Python's `json.dumps(sort_keys=True)` makes of it.

use serde_json::{Map, Value};
use sha1::{Digest, Sha1};

use super::lossless;

/// A value, or one of the two objects that differ from what is in the document.
enum Node<'a> {
    Value(&'a Value),
    Entries(Vec<(&'a str, Node<'a>)>),
}

/// The hash of a document, without its tag, hash, status and times.
pub(super) fn hash(document: &Value) -> String {
    let empty = Value::String(String::new());
    let null = Value::Null;
    let nothing = Map::new();
    let object = document.as_object().unwrap_or(&nothing);

    let metadata = object.get("metadata").and_then(Value::as_object).unwrap_or(&nothing);
    let mut about: Vec<_> = entries(metadata, &["tag", "hash", "updated", "created"]);
    about.extend(["tag", "hash"].map(|key| (key, Node::Value(&empty))));
    about.push(("updated", Node::Value(&null)));

    let mut top = entries(object, &["metadata", "status"]);
    top.push(("metadata", Node::Entries(about)));
    top.push(("status", Node::Value(&null)));

    let mut text = Vec::with_capacity(2048);
    dump(&mut text, Node::Entries(top));
    let mut name = String::with_capacity(40);
    for byte in Sha1::digest(&text) {
        name.push(char::from(HEX[usize::from(byte >> 4)]));
        name.push(char::from(HEX[usize::from(byte & 15)]));
    }
    name
}

const HEX: &[u8; 16] = b"0123456789abcdef";

fn entries<'a>(map: &'a Map<String, Value>, without: &[&str]) -> Vec<(&'a str, Node<'a>)> {
    let kept = map.iter().filter(|(key, _)| !without.contains(&key.as_str()));
    kept.map(|(key, value)| (key.as_str(), Node::Value(value))).collect()
}

fn dump(out: &mut Vec<u8>, node: Node<'_>) {
    match node {
        Node::Value(Value::Null) => out.extend(b"null"),
        Node::Value(Value::Bool(true)) => out.extend(b"true"),
        Node::Value(Value::Bool(false)) => out.extend(b"false"),
        Node::Value(Value::Number(number)) => match number.as_f64().filter(|_| number.is_f64()) {
            Some(float) => out.extend(repr(float).bytes()),
            None => out.extend(number.to_string().bytes()),
        },
        Node::Value(Value::String(text)) => dump_text(out, text),
        Node::Value(Value::Array(items)) => {
            out.push(b'[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.extend(b", ");
                }
                dump(out, Node::Value(item));
            }
            out.push(b']');
        }
        Node::Value(Value::Object(map)) => dump(out, Node::Entries(entries(map, &[]))),
        Node::Entries(mut entries) => {
            // UTF-8 sorts by code point, as Python does.
            entries.sort_unstable_by_key(|(key, _)| *key);
            out.push(b'{');
            for (index, (key, node)) in entries.into_iter().enumerate() {
                if index > 0 {
                    out.extend(b", ");
                }
                dump_text(out, key);
                out.extend(b": ");
                dump(out, node);
            }
            out.push(b'}');
        }
    }
}

fn dump_text(out: &mut Vec<u8>, text: &str) {
    if let Some(number) = lossless::raw_number(text) {
        return out.extend(number.bytes());
    }
    out.push(b'"');
    let mut rest = text;
    while !rest.is_empty() {
        let plain =
            rest.bytes().position(|byte| !matches!(byte, b' '..=b'~') || byte == b'"' || byte == b'\\');
        let (head, tail) = rest.split_at(plain.unwrap_or(rest.len()));
        out.extend(head.bytes());
        let mut chars = tail.chars();
        let Some(special) = chars.next() else { break };
        rest = chars.as_str();
        match special {
            '"' => out.extend(b"\\\""),
            '\\' => out.extend(b"\\\\"),
            '\n' => out.extend(b"\\n"),
            '\r' => out.extend(b"\\r"),
            '\t' => out.extend(b"\\t"),
            '\u{8}' => out.extend(b"\\b"),
            '\u{c}' => out.extend(b"\\f"),
            lossless::SURROGATE if lossless::surrogate(rest).is_some() => {
                out.extend(b"\\u");
                out.extend(rest[..4].bytes());
                rest = &rest[4..];
            }
            _ => {
                for unit in special.encode_utf16(&mut [0; 2]) {
                    out.extend(b"\\u");
                    out.extend([12, 8, 4, 0].map(|shift| HEX[usize::from(*unit >> shift) & 15]));
                }
            }
        }
    }
    out.push(b'"');
}

/// A float as Python writes it: the shortest digits that read back as the same number, an exponent below 1e-4 and
/// from 1e16 on, and always a point or an exponent.
fn repr(float: f64) -> String {
    let scientific = format!("{float:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    match exponent.parse::<i32>().unwrap_or(0) {
        exponent if (-4..16).contains(&exponent) => {
            let plain = float.to_string();
            if plain.contains('.') { plain } else { plain + ".0" }
        }
        exponent => format!("{digits}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_read_as_in_python() {
        let cases = [
            (1.0, "1.0"),
            (-0.0, "-0.0"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (123_456_789_012_345_680.0, "1.2345678901234568e+17"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (5e-324, "5e-324"),
            (1e100, "1e+100"),
            (0.1 + 0.2, "0.30000000000000004"),
        ];
        for (float, text) in cases {
            assert_eq!(repr(float), text);
        }
    }

    #[test]
    fn texts_are_escaped_as_in_python() {
        let mut out = Vec::new();
        dump_text(&mut out, "a\"\\/\u{7f}\u{1}é😀\n");
        assert_eq!(String::from_utf8(out).unwrap(), r#""a\"\\/\u007f\u0001\u00e9\ud83d\ude00\n""#);
    }
}
