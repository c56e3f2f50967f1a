//! Iterations that the code of a run made by itself, and reported: they are kept as runs that have ended.

use jiff::Timestamp;
use runtime_core::{
    ErrorKind, Result, Run, RunState,
    run::{Cause, HyperParamOptions, Reason, RunKey, RunStatus},
    serde_json::Value,
    store::{DocumentFilter, RunRecord},
};

use super::{
    Inner,
    follow::Follow,
    report::{KIND, Kept, name, read},
};

impl Follow {
    /// Records what the code made of the last attempt, before anybody is told that the run has ended.
    pub(super) async fn keep_children(&self) {
        if !self.reports_came() {
            return;
        }
        if let Err(error) = self.inner.keep_children(&self.record).await {
            tracing::warn!(run = %self.record.run.key(), %error, "iterations of a run cannot be recorded");
        }
    }
}

impl Inner {
    /// Records the iterations of a run that has ended; those that are recorded already stay as they are.
    pub(super) async fn keep_children(&self, parent: &RunRecord) -> Result<()> {
        let key = parent.run.key();
        if key.iteration > 0 || !parent.run.state().is_terminal() {
            return Ok(());
        }
        let filter = DocumentFilter { parent: Some(key.clone()), ..DocumentFilter::of(KIND) };
        for document in self.store.list_documents(&filter).await? {
            let Some(iteration) = iteration(&document.name, &key, parent.attempt) else { continue };
            let record = RunRecord {
                run: child(&parent.run, iteration, &read(document)?).into(),
                revision: 0,
                owner: String::new(),
                target: parent.target.clone(),
                attempt: 0,
            };
            match self.store.create_run(&record).await {
                Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Which iteration of the run a report is of, where it is one of this attempt.
fn iteration(document: &str, run: &RunKey, attempt: u32) -> Option<u32> {
    let number = document.strip_prefix(&run.uid)?.strip_prefix('-')?.split('.').next()?.parse().ok()?;
    let key = RunKey { iteration: number, ..run.clone() };
    (number > 0 && name(&key, attempt) == document).then_some(number)
}

fn child(parent: &Run, iteration: u32, kept: &Kept) -> Run {
    let mut run = parent.clone();
    run.metadata.iteration = iteration;
    run.metadata.labels.extend(kept.report.labels.clone());
    run.metadata.annotations.extend(kept.report.annotations.clone());
    if let Some(parameters) = kept.mlrun.pointer("/spec/parameters").and_then(Value::as_object) {
        run.spec.parameters.clone_from(parameters);
    }
    run.spec.hyperparams.clear();
    run.spec.hyper_param_options = HyperParamOptions::default();
    run.spec.notifications.clear();
    let time = |path: &str| kept.mlrun.pointer(path)?.as_str()?.parse::<Timestamp>().ok();
    let ended = parent.status.end_time;
    let error = kept.report.error.as_ref().map(|error| error.message.clone());
    run.status = RunStatus {
        state: match kept.report.state.as_str() {
            "completed" => RunState::Completed,
            "error" => RunState::Error,
            // Code in a pod leaves it to others to say that it is completed.
            _ => parent.state(),
        },
        results: kept.report.results.clone(),
        cause: error.as_ref().map(|message| Cause::new(Reason::Exception, message.as_str())),
        error,
        start_time: time("/status/start_time").or(parent.status.start_time),
        end_time: time("/status/last_update").or(ended),
        last_update: ended,
        ..RunStatus::default()
    };
    run
}

#[cfg(test)]
mod tests {
    use runtime_core::serde_json::json;

    use super::*;

    #[test]
    fn an_iteration_is_a_run_of_its_own() {
        let key = RunKey::new("aa");
        for (document, attempt, wanted) in [
            ("aa-3.0", 0, Some(3)),
            ("aa.0", 0, None),
            ("aa-3.1", 0, None),
            ("aa-0.0", 0, None),
            ("aa-x.0", 0, None),
        ] {
            assert_eq!(iteration(document, &key, attempt), wanted, "{document}");
        }
        let mut parent = Run::default();
        parent.metadata.uid = "aa".to_owned();
        parent.spec.parameters.insert("p".to_owned(), json!(1));
        parent.status.state = RunState::Completed;
        parent.status.results.insert("of".to_owned(), json!("parent"));
        let mut kept = Kept { mlrun: json!({"spec": {"parameters": {"q": 2}}}), ..Kept::default() };
        kept.report.results.insert("r".to_owned(), json!(1));
        let run = child(&parent, 3, &kept);
        assert_eq!((run.key().to_string().as_str(), run.state()), ("aa-3", RunState::Completed));
        assert_eq!(json!([run.spec.parameters, run.status.results]), json!([{"q": 2}, {"r": 1}]));
    }
}
