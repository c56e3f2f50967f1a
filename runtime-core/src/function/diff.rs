//! What is different between two functions, field by field.

use serde::Serialize;
use serde_json::{Map, Value};

use super::{Function, SourceCode};
use crate::yaml::join;

/// A field that is different.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    /// Where it is: `spec.env[MODE].value`; items of lists that have names are found by them.
    pub path: String,
    /// What it was; `None` where it was not there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// What it is; `None` where it is not there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
}

/// What is different between two functions: all that makes their hashes differ, and nothing else.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Difference {
    /// The fields, but for the code.
    pub changes: Vec<Change>,
    /// The code before and after, where it is different; `None` on a side that carries none.
    pub code: Option<(Option<SourceCode>, Option<SourceCode>)>,
}

impl Difference {
    /// Whether nothing is different.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.code.is_none()
    }
}

const CODE: &str = "spec.build.functionSourceCode";

impl Function {
    /// What is different in `other`: what was here is before, what is there is after. Tag, hash, times and status
    /// are no part of a version, and are not compared.
    pub fn diff(&self, other: &Self) -> Difference {
        let mut difference = Difference::default();
        compare(&mut difference.changes, &self.versioned(), &other.versioned(), "");
        // Code is compared as it reads, unless a side is no code.
        if let (Some(at), Ok(before), Ok(after)) =
            (difference.changes.iter().position(|change| change.path == CODE), self.code(), other.code())
        {
            difference.changes.remove(at);
            difference.code = Some((before, after));
        }
        difference
    }

    /// The document, without what is no part of the version.
    fn versioned(&self) -> Value {
        let mut document = self.to_value();
        if let Some(map) = document.as_object_mut() {
            map.remove("status");
        }
        if let Some(metadata) = document.get_mut("metadata").and_then(Value::as_object_mut) {
            for key in ["tag", "hash", "updated", "created"] {
                metadata.remove(key);
            }
        }
        document
    }
}

fn compare(changes: &mut Vec<Change>, before: &Value, after: &Value, path: &str) {
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => maps(changes, before, after, |key| join(path, key)),
        (Value::Array(old), Value::Array(new)) if before != after => match (named(old), named(new)) {
            (Some(old), Some(new)) => {
                let count = changes.len();
                maps(changes, &old, &new, |name| format!("{path}[{name}]"));
                if changes.len() == count {
                    // The same items in another order.
                    push(changes, path, Some(before), Some(after));
                }
            }
            _ if old.len() == new.len() && !old.iter().chain(new).all(is_plain) => {
                for (index, (old, new)) in old.iter().zip(new).enumerate() {
                    compare(changes, old, new, &format!("{path}[{index}]"));
                }
            }
            _ => push(changes, path, Some(before), Some(after)),
        },
        _ if before != after => push(changes, path, Some(before), Some(after)),
        _ => {}
    }
}

fn maps(
    changes: &mut Vec<Change>,
    before: &Map<String, Value>,
    after: &Map<String, Value>,
    path: impl Fn(&str) -> String,
) {
    for (key, old) in before {
        match after.get(key) {
            Some(new) => compare(changes, old, new, &path(key)),
            None => push(changes, &path(key), Some(old), None),
        }
    }
    for (key, new) in after.iter().filter(|(key, _)| !before.contains_key(*key)) {
        push(changes, &path(key), None, Some(new));
    }
}

fn push(changes: &mut Vec<Change>, path: &str, before: Option<&Value>, after: Option<&Value>) {
    changes.push(Change { path: path.to_owned(), before: before.cloned(), after: after.cloned() });
}

/// The items of a list by their names, where all have one of their own.
fn named(items: &[Value]) -> Option<Map<String, Value>> {
    let mut map = Map::new();
    for item in items {
        let name = item.get("mountPath").or_else(|| item.get("name"))?.as_str()?;
        if map.insert(name.to_owned(), item.clone()).is_some() {
            return None;
        }
    }
    Some(map)
}

fn is_plain(value: &Value) -> bool {
    !matches!(value, Value::Array(_) | Value::Object(_))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn change(path: &str, before: Value, after: Value) -> Change {
        let some = |value: Value| Some(value).filter(|value| *value != json!("absent"));
        Change { path: path.to_owned(), before: some(before), after: some(after) }
    }

    #[test]
    fn only_what_makes_another_version() {
        let a = Function::new("job", "f")
            .with_code("a = 1\n")
            .set_env("A", "1")
            .set_env("B", "2")
            .with_requirements(["x"])
            .mount_pvc("c", "/c");
        let mut same = a.clone();
        same.metadata.tag = "v1".to_owned();
        same.status.state = "ready".to_owned();
        assert!(a.diff(&same).is_empty());
        assert_eq!(a.hash(), same.hash());

        let mut b =
            a.clone().set_env("B", "3").with_requirements(["x", "y"]).with_code("a = 2\n").with_image("i");
        b.spec.pod.volume_mounts[0].read_only = Some(true);
        b.spec.pod.env.remove(0);
        let difference = a.diff(&b);
        assert_eq!(
            difference.changes,
            [
                change("spec.build.requirements", json!(["x"]), json!(["x", "y"])),
                change("spec.env[A]", json!({"name": "A", "value": "1"}), json!("absent")),
                change("spec.env[B].value", json!("2"), json!("3")),
                change("spec.volume_mounts[/c].readOnly", json!("absent"), json!(true)),
                change("spec.image", json!("absent"), json!("i")),
            ]
        );
        let (before, after) = difference.code.unwrap();
        assert_eq!((before.unwrap().text.as_str(), after.unwrap().text.as_str()), ("a = 1\n", "a = 2\n"));
    }

    #[test]
    fn every_other_hash_shows() {
        let of = |document: Value| Function::from_value(document).unwrap();
        let base = json!({"kind": "job", "metadata": {"name": "f"}, "spec": {"env": [{"name": "A"}, {"name": "B"}], "x": null}});
        let mut order = base.clone();
        order["spec"]["env"] = json!([{"name": "B"}, {"name": "A"}]);
        let mut null = base.clone();
        null["spec"].as_object_mut().unwrap().remove("x");
        let mut float = base.clone();
        float["spec"]["x"] = json!(1.0);
        for other in [order, null, float] {
            let (a, b) = (of(base.clone()), of(other));
            assert_ne!(a.hash(), b.hash());
            assert_eq!(a.diff(&b).changes.len(), 1);
        }
    }
}
