//! Names: what is allowed, how a run's name follows from its function, and uids.

use sha2::{Digest, Sha256};

use crate::{Error, Result};

/// The longest name of a function or project: a DNS label, as Kubernetes has it.
pub const MAX_NAME: usize = 63;

/// Makes a name of any text as MLRun does: lower case, `_`, spaces and dots become `-`, other characters go.
pub fn normalize(text: &str) -> String {
    let mut name = String::with_capacity(text.len());
    for c in text.chars().flat_map(char::to_lowercase) {
        match c {
            'a'..='z' | '0'..='9' => name.push(c),
            '-' | '_' | ' ' | '.' | '/' if !name.is_empty() && !name.ends_with('-') => name.push('-'),
            _ => {}
        }
    }
    name.truncate(MAX_NAME);
    name.trim_end_matches('-').to_owned()
}

/// Checks a uid: 32 hexadecimal digits, in lower case.
///
/// # Errors
/// `Invalid`.
pub fn check_uid(uid: &str) -> Result<&str> {
    if uid.len() == 32 && uid.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return Ok(uid);
    }
    Err(Error::invalid("uid", format!("{uid:?} is no uid")).help("32 digits of 0-9 and a-f"))
}

/// Digits that stand for these texts, in this order: two for each of so many bytes, at most 32 of them. 16 bytes are a uid.
pub fn digits<'a>(parts: impl IntoIterator<Item = &'a str>, bytes: usize) -> String {
    let mut digest = Sha256::new();
    for part in parts {
        // With its length: where one part ends and the next begins counts.
        digest.update(part.len().to_le_bytes());
        digest.update(part);
    }
    digest.finalize().iter().take(bytes).map(|byte| format!("{byte:02x}")).collect()
}

/// Checks a DNS label (RFC 1123): lower-case letters, digits and `-`, at most 63, not at the ends.
///
/// # Errors
/// `Invalid`, naming the field and a name that would be right.
pub fn check(field: &str, name: &str) -> Result<()> {
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    let right = name.len() <= MAX_NAME
        && edge(name.chars().next())
        && edge(name.chars().last())
        && name.chars().all(|c| c == '-' || edge(Some(c)));
    if right {
        return Ok(());
    }
    let error = Error::invalid(
        field,
        format!(
            "{name:?} is not a name: lower-case letters, digits and `-`, at most {MAX_NAME}, no `-` at the ends"
        ),
    );
    let fixed = normalize(name);
    Err(if fixed.is_empty() { error } else { error.help(format!("`{fixed}` would be right")) })
}

/// The name of a run: `FUNCTION` or `FUNCTION-HANDLER`, as MLRun forms it.
pub fn run_name(function: &str, handler: &str) -> String {
    let handler = handler.rsplit([':', '.']).next().unwrap_or_default();
    if handler.is_empty() { normalize(function) } else { normalize(&format!("{function}-{handler}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert_eq!(normalize("My_Func .v2"), "my-func-v2");
        assert_eq!(run_name("train", "mod:fit_model"), "train-fit-model");
        assert!(check("metadata.name", "a-1").is_ok());
        let error = check("metadata.name", "A b").unwrap_err();
        assert_eq!(error.help_text(), Some("`a-b` would be right"));
        for bad in ["", "-a", "a-", "é", &"a".repeat(64)] {
            assert!(check("n", bad).is_err(), "{bad}");
        }
    }
}
