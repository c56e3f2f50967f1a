//! The document that a function was read from, and how what was changed since is written into it.

use std::{fmt, sync::Arc};

use serde_json::{Map, Value};

use super::Function;

/// The document that a function was read from: what keeps nulls, empty values and unknown fields when the function
/// is written again, and tells on which line a field stands. A function that was built has none.
#[derive(Clone, Default)]
pub struct Origin(Option<Arc<Read>>);

/// What was read.
pub(super) struct Read {
    /// The name of the file, or what else the text is called.
    pub(super) name: String,
    /// The text, where there was one.
    pub(super) text: Option<String>,
    /// The document as it was.
    pub(super) document: Value,
    /// The function as it was typed, without origin.
    pub(super) typed: Function,
}

impl Origin {
    pub(super) fn new(read: Read) -> Self {
        Self(Some(Arc::new(read)))
    }

    pub(super) fn read(&self) -> Option<&Read> {
        self.0.as_deref()
    }

    pub(super) fn is(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (None, None) => true,
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }

    /// The name of the file that the function was read from, if it was.
    pub fn name(&self) -> Option<&str> {
        self.read().map(|read| read.name.as_str()).filter(|name| !name.is_empty())
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Origin").field(&self.name()).finish()
    }
}

/// Writes what changed between `base` and `current` into `original`, of which both are the typed view.
/// What the types do not show, and what did not change, stays as it is.
pub(super) fn merge(original: &Value, base: &Value, current: &Value) -> Value {
    if base == current {
        return original.clone();
    }
    let nothing = Map::new();
    match (original, base, current) {
        (Value::Object(original), base, Value::Object(current)) => {
            Value::Object(merge_maps(original, base.as_object().unwrap_or(&nothing), current))
        }
        (Value::Array(original), Value::Array(base), Value::Array(current))
            if original.len() == base.len() =>
        {
            Value::Array(merge_lists(original, base, current))
        }
        _ => current.clone(),
    }
}

fn merge_maps(
    original: &Map<String, Value>,
    base: &Map<String, Value>,
    current: &Map<String, Value>,
) -> Map<String, Value> {
    let mut merged = Map::new();
    for (key, value) in original {
        match (base.get(key), current.get(key)) {
            (None, None) => merged.insert(key.clone(), value.clone()),
            (Some(_), None) => None,
            (base, Some(current)) => {
                merged.insert(key.clone(), merge(value, base.unwrap_or(&Value::Null), current))
            }
        };
    }
    for (key, value) in current {
        // What the types add by themselves is not a change.
        if !original.contains_key(key) && base.get(key) != Some(value) {
            merged.insert(key.clone(), value.clone());
        }
    }
    merged
}

fn merge_lists(original: &[Value], base: &[Value], current: &[Value]) -> Vec<Value> {
    let partners = partners(base, current);
    let pair = |(item, partner): (&Value, Option<usize>)| match partner {
        Some(at) => merge(&original[at], &base[at], item),
        None => item.clone(),
    };
    current.iter().zip(partners).map(pair).collect()
}

/// Which item of `base` each item of `current` was: the same one, else one of the same name.
fn partners(base: &[Value], current: &[Value]) -> Vec<Option<usize>> {
    let mut free = vec![true; base.len()];
    let mut partners = vec![None; current.len()];
    // Unchanged items first, so that a changed one cannot take the place of another that is still there.
    for exact in [true, false] {
        for (index, item) in current.iter().enumerate() {
            let name = item.get("name");
            if partners[index].is_some() || (!exact && name.is_none()) {
                continue;
            }
            let was = |at: &usize| {
                let other = &base[*at];
                free[*at] && if exact { other == item } else { other.get("name") == name }
            };
            let found =
                Some(index).filter(|at| *at < base.len() && was(at)).or_else(|| (0..base.len()).find(was));
            if let Some(at) = found {
                free[at] = false;
                partners[index] = found;
            }
        }
    }
    partners
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_change_touches_only_itself() {
        let original = json!({"a": null, "b": [{"name": "x", "new": 1}, {"name": "y", "new": 2}], "c": ""});
        let base = json!({"b": [{"name": "x"}, {"name": "y"}]});
        let current = json!({"b": [{"name": "y", "v": 3}, {"name": "z"}], "d": 1});
        let merged = merge(&original, &base, &current);
        assert_eq!(
            merged,
            json!({"a": null, "b": [{"name": "y", "new": 2, "v": 3}, {"name": "z"}], "c": "", "d": 1})
        );
    }

    #[test]
    fn what_was_removed_is_gone_and_what_types_add_does_not_come() {
        let merged =
            merge(&json!({"a": 1, "u": 2}), &json!({"a": 1, "added": ""}), &json!({"added": "", "n": {}}));
        assert_eq!(merged, json!({"u": 2, "n": {}}));
    }
}
