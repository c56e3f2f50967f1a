//! Whether two states of an object are the same.

use serde_json::{Map, Value};

/// Whether they differ in nothing but what the server counts.
pub(super) fn same(before: &Value, after: &Value) -> bool {
    same_fields(before, after, &[], |name, before, after| match name {
        "metadata" => {
            same_fields(before, after, &["resourceVersion", "generation"], |name, before, after| {
                before == after || (name == "managedFields" && same_owners(before, after))
            })
        }
        _ => before == after,
    })
}

fn same_fields(
    before: &Value,
    after: &Value,
    but: &[&str],
    same: impl Fn(&str, &Value, &Value) -> bool,
) -> bool {
    let (Value::Object(before), Value::Object(after)) = (before, after) else { return before == after };
    let counted = |map: &Map<String, Value>| map.keys().filter(|name| !but.contains(&name.as_str())).count();
    counted(before) == counted(after)
        && before
            .iter()
            .filter(|(name, _)| !but.contains(&name.as_str()))
            .all(|(name, value)| after.get(name).is_some_and(|after| same(name, value, after)))
}

/// Managed fields that differ in the times of their changes alone.
fn same_owners(before: &Value, after: &Value) -> bool {
    let (Some(before), Some(after)) = (before.as_array(), after.as_array()) else { return false };
    let same = |(before, after)| same_fields(before, after, &["time"], |_, before, after| before == after);
    before.len() == after.len() && before.iter().zip(after).all(same)
}
