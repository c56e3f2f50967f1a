//! A run as clients of MLRun keep it: stored as a whole, changed by paths, read back; and what of it is a report.
//!
//! All of it is pure. What comes late changes nothing that is newer, and no state goes back from an end.

use jiff::Timestamp;
use runtime_core::{
    Error, Result, Run,
    run::{CodeError, Report},
    serde_json::{self, Map, Value, json},
};

use crate::orchestrator::Kept;

/// How deep a path may be.
const DEEPEST: usize = 16;

/// Labels that a client sets by itself.
const OWN: [&str; 4] = ["kind", "host", "owner", "v3io_user"];

/// States after which the code says nothing more.
const FINAL: [&str; 3] = ["completed", "error", "aborted"];

/// Takes a run as a whole, in the place of what was kept.
pub(super) fn store(kept: &mut Kept, whole: Value, run: &Run) -> Result<()> {
    if !whole.is_object() {
        return Err(Error::invalid("body", "a run is an object, with metadata, spec and status"));
    }
    let sequence = sequence(whole.pointer("/status/last_update"));
    let late = is_late(kept, sequence);
    // A second context of the same process begins anew, what the first one said at its end stays.
    if late || (is_final(state(&kept.mlrun)) && !is_final(state(&whole))) {
        fill(&mut kept.mlrun, &whole);
    } else {
        kept.mlrun = whole;
    }
    settle(kept, sequence, run)
}

/// Takes changes: `{"status.results": {...}}`.
pub(super) fn update(kept: &mut Kept, changes: &Value, run: &Run) -> Result<()> {
    let changes = changes.as_object().ok_or_else(|| {
        Error::invalid("body", "changes are an object").help(r#"write {"status.results": {"accuracy": 0.9}}"#)
    })?;
    let last = changes.get("status.last_update").or_else(|| changes.get("status")?.get("last_update"));
    let sequence = sequence(last);
    let late = is_late(kept, sequence);
    let before = kept.mlrun.clone();
    for (path, value) in changes {
        set(&mut kept.mlrun, path, value)?;
    }
    if late {
        // All that was there is newer.
        let older = std::mem::replace(&mut kept.mlrun, before);
        fill(&mut kept.mlrun, &older);
    } else if is_final(state(&before)) && !is_final(state(&kept.mlrun)) {
        set(&mut kept.mlrun, "status.state", &json!(state(&before)))?;
    }
    settle(kept, sequence, run)
}

/// The run as it is read back: as it is recorded, with what the code said of it.
pub(super) fn read(run: &Run, kept: Option<&Kept>) -> Value {
    let mut value = serde_json::to_value(run).unwrap_or_default();
    value["kind"] = json!("run");
    let recorded = value["status"]["state"].clone();
    if let Some(kept) = kept.filter(|kept| kept.mlrun.is_object()) {
        let mut said = kept.mlrun.clone();
        // Which run it is, and what was asked, is not the code's to say.
        for (part, fields) in [
            ("metadata", &["uid", "project", "name", "iteration"][..]),
            ("spec", &["function", "secret_sources", "notifications"]),
        ] {
            if let Some(part) = said.get_mut(part).and_then(Value::as_object_mut) {
                fields.iter().for_each(|field| drop(part.remove(*field)));
            }
        }
        let own = state(&kept.mlrun).to_owned();
        fill(&mut said, &value);
        value = said;
        let going_on = matches!(recorded.as_str(), Some("created" | "pending" | "running"));
        if going_on && !own.is_empty() {
            value["status"]["state"] = json!(own);
        } else {
            value["status"]["state"] = recorded;
        }
    }
    if let Some(spec) = value.get_mut("spec").and_then(Value::as_object_mut) {
        ["secret_sources", "notifications"].iter().for_each(|field| drop(spec.remove(*field)));
    }
    // Folders of the machine from which it was started are no business of the code.
    if let Some(notes) = value.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
        notes.retain(|name, _| !name.starts_with("runtimes/"));
    }
    value
}

/// Makes the report of what is kept.
fn settle(kept: &mut Kept, sequence: Option<i64>, run: &Run) -> Result<()> {
    kept.sequence = kept.sequence.max(sequence.unwrap_or_default());
    let part = |name: &str| match kept.mlrun.get(name) {
        None | Some(Value::Null) => Ok(Value::Null),
        Some(part @ Value::Object(_)) => Ok(part.clone()),
        Some(_) => Err(Error::invalid(name, "this is no object").help("metadata, spec and status are")),
    };
    let (metadata, status) = (part("metadata")?, part("status")?);
    part("spec")?;
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let news = |place: &str, field: &str, known: &std::collections::BTreeMap<String, String>| {
        let said = object(&metadata, place, field)?;
        let own = |name: &str| OWN.contains(&name) || name.starts_with("mlrun/");
        let pairs = said.into_iter().map(|(name, value)| (name, text(&value)));
        Ok::<_, Error>(pairs.filter(|(name, value)| !own(name) && known.get(name) != Some(value)).collect())
    };
    let state = state(&kept.mlrun);
    let error = status.get("error").filter(|error| !error.is_null()).map(text);
    let report = Report {
        state: match state {
            "completed" => "completed",
            "error" | "aborted" => "error",
            _ => "running",
        }
        .to_owned(),
        results: object(&status, "status", "results")?,
        iterations: rows(&status)?,
        labels: news("metadata", "labels", &run.metadata.labels)?,
        annotations: news("metadata", "annotations", &run.metadata.annotations)?,
        error: error
            .filter(|_| state == "error")
            .map(|message| CodeError { message, ..CodeError::default() }),
        artifacts: std::mem::take(&mut kept.report.artifacts),
        notes: std::mem::take(&mut kept.report.notes),
    };
    kept.report = report;
    Ok(())
}

fn object(of: &Value, place: &str, field: &str) -> Result<Map<String, Value>> {
    match of.get(field) {
        None | Some(Value::Null) => Ok(Map::new()),
        Some(Value::Object(map)) => Ok(map.clone()),
        Some(_) => Err(Error::invalid(format!("{place}.{field}"), "this is no object: names and values")),
    }
}

fn rows(status: &Value) -> Result<Vec<Vec<Value>>> {
    match status.get("iterations") {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(rows) => serde_json::from_value(rows.clone()).map_err(|_| {
            Error::invalid("status.iterations", "these are no rows: a header, then a list for each iteration")
        }),
    }
}

fn state(run: &Value) -> &str {
    run.pointer("/status/state").and_then(Value::as_str).unwrap_or_default()
}

fn is_final(state: &str) -> bool {
    FINAL.contains(&state)
}

fn is_late(kept: &Kept, sequence: Option<i64>) -> bool {
    sequence.is_some_and(|sequence| sequence < kept.sequence)
}

/// A time of a client as a number that grows.
fn sequence(time: Option<&Value>) -> Option<i64> {
    let time: Timestamp = time?.as_str()?.parse().ok()?;
    i64::try_from(time.as_nanosecond()).ok()
}

/// Sets the value at a path of names with dots between them.
fn set(root: &mut Value, path: &str, value: &Value) -> Result<()> {
    let names: Vec<&str> = path.split('.').collect();
    if names.len() > DEEPEST || names.iter().any(|name| name.is_empty()) {
        return Err(
            Error::invalid("body", format!("{path:?} is no path of a run")).help("write status.results")
        );
    }
    let mut at = root;
    for name in names {
        if !at.is_object() {
            *at = Value::Object(Map::new());
        }
        at = &mut at[name];
    }
    *at = value.clone();
    Ok(())
}

/// Adds what is not there.
fn fill(to: &mut Value, from: &Value) {
    match (to, from) {
        (Value::Object(to), Value::Object(from)) => {
            for (name, value) in from {
                match to.get_mut(name) {
                    Some(known) => fill(known, value),
                    None => drop(to.insert(name.clone(), value.clone())),
                }
            }
        }
        (to @ Value::Null, from) => *to = from.clone(),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn update(kept: &mut Kept, changes: Value) {
        super::update(kept, &changes, &Run::default()).unwrap();
    }

    fn at(second: u32) -> Value {
        json!(format!("2026-01-01T00:00:{second:02}.123456+00:00"))
    }

    #[test]
    fn a_run_is_stored_changed_and_read_back() {
        let mut run = Run::default();
        run.metadata.name = "train".to_owned();
        run.metadata.labels.insert("kind".to_owned(), "job".to_owned());
        run.metadata.labels.insert("team".to_owned(), "a".to_owned());
        for (name, value) in [("why", "x"), ("runtimes/base-dir", "/home")] {
            run.metadata.annotations.insert(name.to_owned(), value.to_owned());
        }
        let mut kept = Kept::default();
        let whole = json!({
            "metadata": {"name": "other", "labels": {"kind": "job", "host": "pod", "team": "a", "mlrun/x": "y"}},
            "spec": {"parameters": {"p": 1}},
            "status": {"state": "running", "last_update": at(1)},
        });
        store(&mut kept, whole, &run).unwrap();
        assert_eq!((kept.report.state.as_str(), kept.report.labels.len()), ("running", 0));
        let changes = json!({
            "status.results": {"accuracy": 0.9}, "status.last_update": at(2), "status.state": "running",
            "metadata.labels": {"team": "b"}, "status.iterations": [["state", "iter"], ["completed", 1]],
        });
        super::update(&mut kept, &changes, &run).unwrap();
        assert_eq!(kept.report.results["accuracy"], json!(0.9));
        assert_eq!((kept.report.labels["team"].as_str(), kept.report.iterations.len()), ("b", 2));
        let value = read(&run, Some(&kept));
        assert_eq!(value["metadata"]["annotations"], json!({"why": "x"}));
        assert_eq!(value["metadata"]["name"], "train", "which run it is, is not the code's to say");
        assert_eq!(
            (&value["status"]["state"], &value["spec"]["parameters"]["p"]),
            (&json!("running"), &json!(1))
        );
    }

    #[test]
    fn what_comes_late_or_twice_changes_nothing_that_is_newer() {
        let mut kept = Kept::default();
        let results = |n: u32| json!({"status.results": {"n": n}, "status.last_update": at(n)});
        update(&mut kept, results(5));
        update(&mut kept, results(3));
        assert_eq!(kept.report.results["n"], json!(5));
        update(&mut kept, json!({"status.results": {"early": 1}, "status.last_update": at(2)}));
        assert_eq!(kept.report.results["early"], json!(1), "what is not there is added all the same");
        update(&mut kept, results(6));
        let before = kept.clone();
        update(&mut kept, results(6));
        assert_eq!(kept, before, "the same again");
    }

    #[test]
    fn no_state_goes_back_from_its_end() {
        for last in FINAL {
            let mut kept = Kept::default();
            update(
                &mut kept,
                json!({"status.state": last, "status.error": "no", "status.results": {"a": 1}}),
            );
            let said = kept.report.state.clone();
            update(&mut kept, json!({"status.state": "running", "status.results": {"a": 1, "b": 2}}));
            assert_eq!((&kept.report.state, &kept.report.results["b"]), (&said, &json!(2)), "{last}");
            store(&mut kept, json!({"status": {"state": "running", "results": {}}}), &Run::default())
                .unwrap();
            assert_eq!((&kept.report.state, &kept.report.results["a"]), (&said, &json!(1)), "{last}");
            assert_eq!(kept.report.error.is_some(), last == "error");
        }
    }

    #[test]
    fn what_is_no_run_is_refused_by_its_field() {
        let wrong = [
            (json!({"status.results": [1]}), "status.results"),
            (json!({"metadata.labels": "x"}), "metadata.labels"),
            (json!({"status.iterations": {"a": 1}}), "status.iterations"),
            (json!({"status": "x"}), "status"),
            (json!({"spec": 3}), "spec"),
            (json!({"a..b": 1}), "body"),
            (json!([1]), "body"),
        ];
        for (body, field) in wrong {
            let error = super::update(&mut Kept::default(), &body, &Run::default()).unwrap_err();
            assert_eq!(error.location(), Some(field), "{body}");
        }
        assert!(store(&mut Kept::default(), json!("x"), &Run::default()).is_err());
    }

    proptest::proptest! {
        #[test]
        fn in_whatever_order_it_comes_the_newest_counts_and_the_end_stays(
            order in proptest::collection::vec(0_u32..6, 1..20),
            end in 0_u32..6,
        ) {
            let mut kept = Kept::default();
            let mut ended = false;
            for n in &order {
                let state = if *n == end { "error" } else { "running" };
                let changes = json!({
                    "status.results": {"n": n, format!("only{n}"): n}, "status.last_update": at(*n), "status.state": state,
                });
                update(&mut kept, changes);
                // What is older than something that was said fills gaps: it ends nothing.
                ended |= *n == end && kept.report.state == "error";
                proptest::prop_assert_eq!(kept.report.state == "error", ended);
            }
            let newest = order.iter().max().unwrap();
            proptest::prop_assert_eq!(&kept.report.results["n"], &json!(newest));
            proptest::prop_assert_eq!(&kept.report.results[&format!("only{newest}")], &json!(newest));
        }

        #[test]
        fn nothing_makes_it_fail(path in ".{0,40}", text in ".{0,20}") {
            for value in [json!(text), json!({&text: text}), json!([[text]]), json!(null)] {
                let mut kept = Kept::default();
                let run = Run::default();
                for path in [path.as_str(), "status", "metadata.labels", "spec", "status.state", "status.error"] {
                    if super::update(&mut kept, &json!({path: value}), &run).is_ok() {
                        read(&run, Some(&kept));
                    }
                    if store(&mut kept, json!({path: value, "status": {path: value}}), &run).is_ok() {
                        read(&run, Some(&kept));
                    }
                }
            }
        }
    }
}
