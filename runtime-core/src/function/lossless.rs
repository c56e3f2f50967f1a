//! What Python writes as JSON and JSON does not have: `NaN`, infinities, halves of surrogate pairs.
//!
//! They are kept as texts with a mark that no real text has, so that they survive a round trip and count in the hash.

use crate::yaml::RAW_NUMBER;

/// Four hexadecimal digits follow: half of a surrogate pair. A Unicode noncharacter.
pub(super) const SURROGATE: char = '\u{FDD1}';

/// The number that a marked text stands for.
pub(super) fn raw_number(text: &str) -> Option<&str> {
    text.strip_prefix(RAW_NUMBER).filter(|number| matches!(*number, "NaN" | "Infinity" | "-Infinity"))
}

/// The digits after a [`SURROGATE`].
pub(super) fn surrogate(rest: &str) -> Option<&str> {
    rest.get(..4)
        .filter(|digits| digits.starts_with(['d', 'D']) && digits.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// The JSON text with marked texts for what JSON does not have; `None` where there is nothing of the kind.
pub(super) fn relax(json: &str) -> Option<String> {
    let mut out = String::with_capacity(json.len() + 16);
    let mut rest = json;
    let mut changed = false;
    let mut in_text = false;
    while let Some(c) = rest.chars().next() {
        if in_text && c == '\\' {
            let unit = code_unit(rest);
            let length = match unit {
                Some(0xD800..=0xDBFF) if matches!(code_unit(&rest[6..]), Some(0xDC00..=0xDFFF)) => 12,
                Some(unit @ 0xD800..=0xDFFF) => {
                    changed = true;
                    out.push(SURROGATE);
                    out.push_str(&format!("{unit:04x}"));
                    rest = &rest[6..];
                    continue;
                }
                Some(_) => 6,
                // The escaped character may be of several bytes.
                None => 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
            };
            out.push_str(&rest[..length]);
            rest = &rest[length..];
            continue;
        }
        if !in_text
            && let Some(word) =
                ["NaN", "Infinity", "-Infinity"].into_iter().find(|word| rest.starts_with(word))
        {
            changed = true;
            out.push_str(&format!("\"{RAW_NUMBER}{word}\""));
            rest = &rest[word.len()..];
            continue;
        }
        in_text ^= c == '"';
        out.push(c);
        rest = &rest[c.len_utf8()..];
    }
    changed.then_some(out)
}

/// The code unit of an escape `\uXXXX` at the beginning of a text.
fn code_unit(text: &str) -> Option<u16> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    u16::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_json_lacks_is_marked() {
        assert_eq!(relax(r#"{"NaN": "NaN \" Infinity \ud83d\ude00 \u00e9"}"#), None);
        let relaxed = relax(r#"{"a": [NaN, -Infinity], "b": "x\ud83dy\udc00"}"#).unwrap();
        let value: serde_json::Value = serde_json::from_str(&relaxed).unwrap();
        assert_eq!(value["a"][0].as_str().and_then(raw_number), Some("NaN"));
        assert_eq!(value["a"][1].as_str().and_then(raw_number), Some("-Infinity"));
        assert_eq!(value["b"], "x\u{FDD1}d83dy\u{FDD1}dc00");
        assert_eq!(relax("{\"a\": \"\\"), None);
    }
}
