//! Text as PostgreSQL can hold it: its columns take every character but NUL.

use std::borrow::Cow;

/// Stands before what replaces a character.
const ESCAPE: char = '\u{1}';

/// The text as it is stored. What differs before differs after, so that it can be searched for.
pub(super) fn stored(text: &str) -> Cow<'_, str> {
    if !text.contains(['\0', ESCAPE]) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        match character {
            '\0' => escaped.extend([ESCAPE, '0']),
            ESCAPE => escaped.extend([ESCAPE, '1']),
            other => escaped.push(other),
        }
    }
    Cow::Owned(escaped)
}

/// The text as it was before it was stored.
pub(super) fn original(text: String) -> String {
    if !text.contains(ESCAPE) {
        return text;
    }
    let mut characters = text.chars();
    let mut restored = String::with_capacity(text.len());
    while let Some(character) = characters.next() {
        restored.push(match character {
            ESCAPE if characters.next() == Some('0') => '\0',
            other => other,
        });
    }
    restored
}

/// The labels of a run: JSON, in which NUL may be written as an escape that `jsonb` does not take.
pub(super) fn stored_labels(json: &str) -> Cow<'_, str> {
    // Control characters are always escaped in JSON: without an escape there is none.
    if !json.contains("\\u000") {
        return Cow::Borrowed(json);
    }
    let Ok(labels) = serde_json::from_str::<std::collections::BTreeMap<String, String>>(json) else {
        return Cow::Borrowed(json);
    };
    let labels: serde_json::Map<String, serde_json::Value> =
        labels.iter().map(|(key, value)| (stored(key).into_owned(), stored(value).into())).collect();
    Cow::Owned(serde_json::Value::Object(labels).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_stored_comes_back() {
        for text in ["", "plain", "a\0b", "\u{1}", "\u{1}0", "\0\u{1}1\0", "\u{1F980}"] {
            let kept = stored(text).into_owned();
            assert!(!kept.contains('\0'), "{text:?}");
            assert_eq!(original(kept), text);
        }
        assert_ne!(stored("\0"), stored("\u{1}0"));
        assert_eq!(stored_labels("{\"a\\u0000\":\"b\"}"), "{\"a\\u00010\":\"b\"}");
        assert_eq!(stored_labels("{\"a\":\"b\"}"), "{\"a\":\"b\"}");
    }
}
