//! Names and labels of objects.

use crate::{naming, run::Run};

/// The name of what a run creates: of its name, its uid, its iteration and the attempt, so that what is created twice is
/// created once. It is a DNS label, whatever comes behind it within `room`.
pub fn object_name(run: &Run, attempt: u32, room: usize) -> String {
    let mut tail = format!("-{}", run.metadata.uid);
    if run.metadata.iteration > 0 {
        tail += &format!("-i{}", run.metadata.iteration);
    }
    tail += &format!("-{attempt}");
    let mut name = naming::normalize(&run.metadata.name);
    name.truncate(naming::MAX_NAME.saturating_sub(tail.len() + room));
    let name = name.trim_matches('-');
    // A service's name may not begin with a digit.
    match name.starts_with(|c: char| c.is_ascii_lowercase()) {
        true => format!("{name}{tail}"),
        false => format!("r{tail}"),
    }
}

/// A text as the value of a label may be: at most 63 letters, digits, `-`, `_` and `.`, none of the last three at the ends.
pub fn label_value(text: &str) -> String {
    let right = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let value: String = text.chars().take(63).map(|c| if right(c) { c } else { '-' }).collect();
    value.trim_matches(['-', '_', '.']).to_owned()
}

/// Whether a text is a key of a label: a name, or a DNS name, `/` and a name.
pub(super) fn is_label_key(key: &str) -> bool {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    let is_dns = |prefix: &str| {
        prefix.len() <= 253 && prefix.split('.').all(|part| naming::check("label", part).is_ok())
    };
    !name.is_empty() && label_value(name) == name && prefix.is_none_or(is_dns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_and_are_the_runs_own() {
        let mut run = Run::default();
        run.metadata.uid = "0123456789abcdef0123456789abcdef".to_owned();
        run.metadata.name = "train-fit".to_owned();
        assert_eq!(object_name(&run, 2, 0), "train-fit-0123456789abcdef0123456789abcdef-2");
        run.metadata.name = "9-lives".repeat(20);
        assert_eq!(object_name(&run, 0, 0), "r-0123456789abcdef0123456789abcdef-0");
        run.metadata.name = "a-long-name".repeat(20);
        run.metadata.iteration = 7;
        let name = object_name(&run, 0, 5);
        assert!(name.len() <= 58 && naming::check("name", &name).is_ok(), "{name}");

        assert_eq!(label_value("joe@example.com"), "joe-example.com");
        assert_eq!(label_value("-a b_"), "a-b");
        for key in ["a", "app.iguazio.com/lifecycle", "A_b.c"] {
            assert!(is_label_key(key), "{key}");
        }
        for key in ["", "bad key!", "/a", "a/", "A.b/c", "a/b/c", "-a"] {
            assert!(!is_label_key(key), "{key}");
        }
    }
}
