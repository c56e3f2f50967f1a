//! The hash of a function: SHA-1 over the text that Python's `json.dumps(sort_keys=True)` makes of it.

use std::io::{self, Write};

use serde_json::{Map, Value};
use sha1::{Digest, Sha1};

use super::lossless;

/// The hash of a document, without its tag, hash, status and times.
pub(super) fn hash(document: &Value) -> String {
    let empty = Value::String(String::new());
    let nothing = Map::new();
    let object = document.as_object().unwrap_or(&nothing);
    let metadata = object.get("metadata").and_then(Value::as_object).unwrap_or(&nothing);

    let mut top = kept(object, &["metadata", "status"]);
    top.extend([("metadata", &Value::Null), ("status", &Value::Null)]);
    let mut about = kept(metadata, &["tag", "hash", "updated", "created"]);
    about.extend([("tag", &empty), ("hash", &empty), ("updated", &Value::Null)]);

    let mut out = Out::default();
    // The one mapping at the top that is not as it is in the document.
    out.entries(&mut top, |out, key, value| match key {
        "metadata" => out.entries(&mut about, |out, _, value| out.value(value)),
        _ => out.value(value),
    });
    out.finish()
}

fn kept<'a>(map: &'a Map<String, Value>, without: &[&str]) -> Vec<(&'a str, &'a Value)> {
    let mut entries = Vec::with_capacity(map.len() + without.len());
    entries.extend(map.iter().map(|(key, value)| (key.as_str(), value)));
    entries.retain(|(key, _)| !without.contains(key));
    entries
}

const HEX: &[u8; 16] = b"0123456789abcdef";

/// So much is given to SHA-1 at once.
const BLOCK: usize = 4096;

/// The text on its way into the hash: it is never there as a whole.
struct Out<'a> {
    sha: Sha1,
    pending: Vec<u8>,
    /// Entries of the mappings that are being written, the innermost last.
    open: Vec<(&'a str, &'a Value)>,
}

impl Default for Out<'_> {
    fn default() -> Self {
        Self { sha: Sha1::new(), pending: Vec::with_capacity(BLOCK), open: Vec::with_capacity(64) }
    }
}

impl<'a> Out<'a> {
    fn put(&mut self, bytes: &[u8]) {
        if self.pending.len() + bytes.len() > BLOCK {
            self.sha.update(&self.pending);
            self.pending.clear();
        }
        if bytes.len() > BLOCK {
            self.sha.update(bytes);
        } else {
            self.pending.extend_from_slice(bytes);
        }
    }

    fn finish(mut self) -> String {
        self.sha.update(&self.pending);
        let mut name = String::with_capacity(40);
        for byte in self.sha.finalize() {
            name.push(char::from(HEX[usize::from(byte >> 4)]));
            name.push(char::from(HEX[usize::from(byte & 15)]));
        }
        name
    }

    fn value(&mut self, value: &'a Value) {
        match value {
            Value::Null => self.put(b"null"),
            Value::Bool(true) => self.put(b"true"),
            Value::Bool(false) => self.put(b"false"),
            Value::Number(number) => match number.as_f64().filter(|_| number.is_f64()) {
                Some(float) => self.put(repr(float).as_bytes()),
                // Writing to memory cannot fail.
                None => drop(write!(self, "{number}")),
            },
            Value::String(text) => self.text(text),
            Value::Array(items) => {
                self.put(b"[");
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        self.put(b", ");
                    }
                    self.value(item);
                }
                self.put(b"]");
            }
            Value::Object(map) => self.map(map),
        }
    }

    fn map(&mut self, map: &'a Map<String, Value>) {
        let first = self.open.len();
        self.open.extend(map.iter().map(|(key, value)| (key.as_str(), value)));
        // UTF-8 sorts by code point, as Python does.
        self.open[first..].sort_unstable_by_key(|(key, _)| *key);
        self.put(b"{");
        for index in first..first + map.len() {
            let (key, value) = self.open[index];
            self.key(key, index == first);
            self.value(value);
        }
        self.put(b"}");
        self.open.truncate(first);
    }

    fn entries(
        &mut self,
        entries: &mut [(&'a str, &'a Value)],
        mut write: impl FnMut(&mut Self, &str, &'a Value),
    ) {
        entries.sort_unstable_by_key(|(key, _)| *key);
        self.put(b"{");
        for (index, (key, value)) in entries.iter().enumerate() {
            self.key(key, index == 0);
            write(self, key, value);
        }
        self.put(b"}");
    }

    fn key(&mut self, key: &str, first: bool) {
        if !first {
            self.put(b", ");
        }
        self.text(key);
        self.put(b": ");
    }

    fn text(&mut self, text: &str) {
        if let Some(number) = lossless::raw_number(text) {
            return self.put(number.as_bytes());
        }
        self.put(b"\"");
        let mut rest = text;
        loop {
            let (plain, tail) = rest.split_at(plain_length(rest.as_bytes()));
            self.put(plain.as_bytes());
            let mut chars = tail.chars();
            let Some(special) = chars.next() else { break };
            rest = self.special(special, chars.as_str());
        }
        self.put(b"\"");
    }

    /// Writes a character that is not written as it is; returns what comes after it.
    fn special<'t>(&mut self, special: char, rest: &'t str) -> &'t str {
        match special {
            '"' => self.put(b"\\\""),
            '\\' => self.put(b"\\\\"),
            '\n' => self.put(b"\\n"),
            '\r' => self.put(b"\\r"),
            '\t' => self.put(b"\\t"),
            '\u{8}' => self.put(b"\\b"),
            '\u{c}' => self.put(b"\\f"),
            lossless::SURROGATE if lossless::surrogate(rest).is_some() => {
                let (digits, rest) = rest.split_at(4);
                self.put(b"\\u");
                self.put(digits.as_bytes());
                return rest;
            }
            _ => {
                for unit in special.encode_utf16(&mut [0; 2]) {
                    self.put(b"\\u");
                    self.put(&[12, 8, 4, 0].map(|shift| HEX[usize::from(*unit >> shift) & 15]));
                }
            }
        }
        rest
    }
}

impl Write for Out<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.put(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// How many bytes at the beginning are written as they are.
fn plain_length(bytes: &[u8]) -> usize {
    const CHUNK: usize = 16;
    let plain = |byte: u8| (byte.wrapping_sub(b' ') < 0x5f) & (byte != b'"') & (byte != b'\\');
    // Whole chunks first: that is done on many bytes at once, and code in base64 has nothing else.
    let chunks = bytes.chunks_exact(CHUNK);
    let start =
        CHUNK * chunks.take_while(|chunk| chunk.iter().fold(true, |all, byte| all & plain(*byte))).count();
    let rest = &bytes[start..];
    start + rest.iter().position(|byte| !plain(*byte)).unwrap_or(rest.len())
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
        let mut out = Out::default();
        out.text("a\"\\/\u{7f}\u{1}é😀\n");
        assert_eq!(String::from_utf8(out.pending).unwrap(), r#""a\"\\/\u007f\u0001\u00e9\ud83d\ude00\n""#);
    }

    #[test]
    fn long_texts_are_the_same_text() {
        for length in [15, 16, 17, BLOCK - 2, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 5] {
            let text = "x".repeat(length) + "é";
            let mut out = Out::default();
            out.text(&text);
            let whole = format!("\"{}\\u00e9\"", "x".repeat(length));
            let sum: String = Sha1::digest(whole).iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(out.finish(), sum, "{length}");
        }
    }
}
