//! What is told of iterations: a line for each, how far they are, and at the end a table and a picture.

use std::path::{Path, PathBuf};

use runtime_core::{
    Error, ErrorKind, Result, Run, RunState,
    run::{
        Artifact,
        hyper::{Row, Tally},
    },
    serde_json::{self, Map, Value, json},
    target::Job,
};

/// How much of a value a line shows.
const VALUE: usize = 40;

/// How many results a line shows.
const SHOWN: usize = 6;

/// The page, with a place for the data.
const PAGE: &str = include_str!("parallel_coordinates.html");
const DATA: &str = "/*DATA*/null";

/// A line for an iteration that has ended.
pub(super) fn line<'a>(run: &Run, names: impl Iterator<Item = &'a str>, best: bool) -> String {
    let state = if run.state() == RunState::Error { "failed" } else { run.state().as_str() };
    let mut line = format!("iteration {} {state}", run.metadata.iteration);
    if let (Some(start), Some(end)) = (run.status.start_time, run.status.end_time) {
        line += &format!(" in {:.2}s", end.duration_since(start).as_secs_f64().max(0.0));
    }
    line += ":";
    for name in names {
        if let Some(value) = run.spec.parameters.get(name) {
            line += &format!(" {name}={}", short(value));
        }
    }
    if run.state() == RunState::Completed {
        let results: Vec<_> = run.status.results.iter().take(SHOWN).map(pair).collect();
        if !results.is_empty() {
            line += &format!(" -> {}", results.join(" "));
        }
    } else if let Some(error) = &run.status.error {
        line += &format!(" -> {error}");
    }
    if best {
        line += " (best so far)";
    }
    line
}

/// How far they are.
pub(super) fn progress(tally: &Tally, going: usize) -> String {
    let mut text = format!("{} of {} iterations", tally.ended(), tally.total());
    if tally.errors() > 0 {
        text += &format!(", {} failed", tally.errors());
    }
    if let (Some(best), Some(selector)) = (tally.best(), tally.selector()) {
        let value = best.results.get(&selector.result).map(short).unwrap_or_default();
        text += &format!(", best {}: {}={value}", best.iteration, selector.result);
    }
    if tally.over().is_some() && going > 0 {
        text += &format!("; no further one is started, {going} go on");
    }
    text
}

fn pair((name, value): (&String, &Value)) -> String {
    format!("{name}={}", short(value))
}

fn short(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    match text.char_indices().nth(VALUE) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// Writes the table and the picture; returns them as artifacts.
pub(super) async fn write(tally: &Tally, job: &Job) -> Result<Vec<Artifact>> {
    if job.artifact_path.contains("://") {
        return Err(Error::new(
            ErrorKind::Unsupported,
            format!(
                "iteration_results and parallel_coordinates go into a folder, not to {}",
                job.artifact_path
            ),
        ));
    }
    let table = tally.table();
    let rows = table.len().saturating_sub(1);
    let header = table.first().cloned().unwrap_or_default();
    let files = [
        ("iteration_results", "table", "csv", csv(&table)?),
        ("parallel_coordinates", "", "html", page(tally, &job.run)?.into_bytes()),
    ];
    let folder = PathBuf::from(&job.artifact_path);
    let written = tokio::task::spawn_blocking(move || {
        let artifact = |(key, kind, format, content): (&str, &str, &str, Vec<u8>)| {
            let path = folder.join(format!("{key}.{format}"));
            write_file(&path, &content)?;
            Ok(artifact(key, kind, format, &path, content.len()))
        };
        files.into_iter().map(artifact).collect::<Result<Vec<_>>>()
    });
    let mut artifacts = written.await.map_err(|error| Error::internal(error.to_string()))??;
    if let Some(table) = artifacts.first_mut() {
        table.spec.insert("header".to_owned(), header.into());
        table.spec.insert("length".to_owned(), rows.into());
    }
    Ok(artifacts)
}

fn artifact(key: &str, kind: &str, format: &str, path: &Path, size: usize) -> Artifact {
    let mut artifact = Artifact { kind: kind.to_owned(), ..Artifact::default() };
    artifact.metadata.key = key.to_owned();
    artifact.spec.insert("target_path".to_owned(), path.display().to_string().into());
    artifact.spec.insert("size".to_owned(), size.into());
    artifact.spec.insert("format".to_owned(), format.into());
    artifact
}

/// Whole or not at all.
fn write_file(path: &Path, content: &[u8]) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(|error| Error::io("create", folder, error))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = folder.join(format!(".{name}.{}", std::process::id()));
    let written = std::fs::write(&beside, content).and_then(|()| std::fs::rename(&beside, path));
    written.map_err(|error| {
        let _ = std::fs::remove_file(&beside);
        Error::io("write", path, error)
    })
}

fn csv(table: &[Vec<Value>]) -> Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for row in table {
        let cells = row.iter().map(|value| match value {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        });
        writer.write_record(cells).map_err(|error| Error::internal(error.to_string()))?;
    }
    writer.into_inner().map_err(|error| Error::internal(error.to_string()))
}

/// The page with its data. In JSON only texts have `<`; written escaped, none can end the script.
fn page(tally: &Tally, run: &Run) -> Result<String> {
    let selector = tally.selector();
    let row = |row: &Row| {
        json!({
            "iter": row.iteration, "state": row.state, "parameters": clipped(&row.parameters),
            "results": clipped(&row.results), "error": row.error,
        })
    };
    let data = json!({
        "name": run.metadata.name, "uid": run.metadata.uid, "total": tally.total(),
        "best": tally.best().map(|best| best.iteration),
        "selector": selector.map(ToString::to_string),
        "result": selector.map(|selector| selector.result.as_str()),
        "rows": tally.rows().map(row).collect::<Vec<_>>(),
    });
    let text = serde_json::to_string(&data).map_err(|error| Error::internal(error.to_string()))?;
    Ok(PAGE.replacen(DATA, &text.replace('<', "\\u003c"), 1))
}

/// Values short enough for a picture.
fn clipped(values: &Map<String, Value>) -> Map<String, Value> {
    let clip = |value: &Value| match value {
        Value::Number(_) | Value::Bool(_) | Value::Null => value.clone(),
        other => Value::from(short(other)),
    };
    values.iter().map(|(name, value)| (name.clone(), clip(value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use runtime_core::run::{RunSpec, hyper::Sweep};

    fn tally() -> (Tally, Vec<Run>) {
        let spec: RunSpec = serde_json::from_value(json!({
            "hyperparams": {"lr": [0.1, 0.01], "name": ["</script>", "b"]}, "hyper_param_options": {"selector": "acc"}
        }))
        .unwrap();
        let sweep = Sweep::of(&spec).unwrap().unwrap();
        let mut tally = Tally::new(&sweep);
        let runs: Vec<_> = (1..=3)
            .map(|n| {
                let mut run = sweep.child(&Run::default(), n);
                run.status.state = if n == 3 { RunState::Error } else { RunState::Completed };
                run.status.error = (n == 3).then(|| "a.py:1: ValueError: \"x\", y".to_owned());
                run.status.results.insert("acc".into(), (f64::from(n) / 4.0).into());
                tally.take(&run);
                run
            })
            .collect();
        (tally, runs)
    }

    #[test]
    fn a_line_says_what_was_tried_and_what_came_of_it() {
        let (tally, runs) = tally();
        let line = |n: usize, best| line(&runs[n], ["lr", "name"].into_iter(), best);
        assert_eq!(line(0, false), "iteration 1 completed: lr=0.1 name=</script> -> acc=0.25");
        assert_eq!(line(1, true), "iteration 2 completed: lr=0.01 name=</script> -> acc=0.5 (best so far)");
        assert_eq!(line(2, false), "iteration 3 failed: lr=0.1 name=b -> a.py:1: ValueError: \"x\", y");
        assert_eq!(progress(&tally, 1), "3 of 4 iterations, 1 failed, best 2: acc=0.5");
    }

    #[test]
    fn the_table_is_csv() {
        let text = String::from_utf8(csv(&tally().0.table()).unwrap()).unwrap();
        assert_eq!(
            text,
            "state,iter,param.lr,param.name,output.acc\ncompleted,1,0.1,</script>,0.25\n\
             completed,2,0.01,</script>,0.5\nerror,3,0.1,b,0.75\n"
        );
    }

    #[test]
    fn no_value_can_leave_the_page_s_data() {
        let page = page(&tally().0, &Run::default()).unwrap();
        assert!(PAGE.contains(DATA) && !page.contains(DATA));
        assert_eq!(page.matches("</script>").count(), PAGE.matches("</script>").count());
        let at = page.find("{\"name\"").unwrap();
        let data: Value =
            serde_json::Deserializer::from_str(&page[at..]).into_iter().next().unwrap().unwrap();
        assert_eq!(data["best"], 2);
        assert_eq!(data["rows"][0]["parameters"]["name"], "</script>");
        assert!(
            !page.contains("http://") && !page.contains("https://"),
            "the page asks the network for something"
        );
    }
}
