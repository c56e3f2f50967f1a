//! Finding a run by what people write.

use runtime_core::{
    Error, ErrorKind, Result,
    run::RunKey,
    store::{RunFilter, RunRecord},
};

use super::Orchestrator;

impl Orchestrator {
    /// The run whose uid begins so, or the newest one of this name; `UID-3` and `NAME-3` are its third iteration.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` where several uids begin so, naming them.
    pub async fn find(&self, uid_or_name: &str) -> Result<RunRecord> {
        let iteration = uid_or_name.rsplit_once('-').and_then(|(run, n)| Some((run, n.parse::<u32>().ok()?)));
        match (self.find_whole(uid_or_name).await, iteration) {
            (Err(error), Some((run, iteration @ 1..))) if error.kind() == ErrorKind::NotFound => {
                let parent = self.find_whole(run).await.map_err(|_| error)?;
                let key = RunKey { iteration, ..parent.run.key() };
                self.inner.get(&key).await.map_err(|error| {
                    error.help(format!("`runtimes get {run} --iterations` lists what there is of it"))
                })
            }
            (found, _) => found,
        }
    }

    async fn find_whole(&self, uid_or_name: &str) -> Result<RunRecord> {
        let filter = RunFilter {
            uid_prefix: Some(uid_or_name.to_owned()),
            iteration: Some(0),
            limit: 3,
            ..RunFilter::default()
        };
        let mut found = if uid_or_name.is_empty() { Vec::new() } else { self.list(&filter).await? };
        if found.is_empty() {
            let filter = RunFilter {
                name: Some(uid_or_name.to_owned()),
                iteration: Some(0),
                limit: 1,
                ..RunFilter::default()
            };
            found = self.list(&filter).await?;
        }
        match found.len() {
            1 => {
                let mut record = found.remove(0);
                self.inner.put_notifications(record.run_mut()).await?;
                Ok(record)
            }
            0 => Err(Error::not_found(format!("there is no run {uid_or_name:?}"))
                .help("`runtimes runs` lists them; give a uid, the beginning of one, or a name")),
            _ => {
                let uids: Vec<_> = found.iter().map(|record| record.run.metadata.uid.as_str()).collect();
                Err(Error::new(ErrorKind::Invalid, format!("several runs begin with {uid_or_name:?}"))
                    .help(format!("write more of it: {}", uids.join(", "))))
            }
        }
    }
}
