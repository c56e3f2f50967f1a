//! Which target a run goes to, and what must be started for it there.

use std::sync::Arc;

use runtime_core::{
    Error, ErrorKind, Function, Plan, Result, Run, Runtime, Target, cluster::Cluster, labels, run::Report,
    serde_json::Value,
};

#[cfg(feature = "_tokens")]
use runtime_core::cluster::token_secret;

use super::{Inner, deliver, image, secrets};
use crate::data::{ArtifactUri, POD, Scheme, is_url};

/// The target of runs that name none.
const HERE: &str = "host";

impl Inner {
    /// The target of this name; of none, this machine.
    pub(super) fn target_named(&self, name: &str, runtime: &dyn Runtime) -> Result<Arc<dyn Target>> {
        let can = runtime.capability();
        let wanted = match name {
            "" if !can.host && can.cluster => "kubernetes",
            "" => HERE,
            name => name,
        };
        let target = self.targets.get(wanted).cloned().ok_or_else(|| {
            let known: Vec<_> = self.targets.keys().copied().collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            Error::new(ErrorKind::Unsupported, format!("there is no target `{wanted}` here"))
                .help(format!("targets of this orchestrator: {known}; `Builder::target` adds one"))
        })?;
        if wanted == "kubernetes" && !can.cluster {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!("functions of the kind `{}` do not run on a cluster", runtime.kind()),
            )
            .at("kind")
            .help(
                "run it as a kind that does (`--kind job`), or leave `--on` out to run it on this machine",
            ));
        }
        Ok(target)
    }

    /// What must be started for an attempt of a run on this target.
    pub(super) async fn plan(
        &self,
        target: &dyn Target,
        runtime: &dyn Runtime,
        function: &Function,
        run: &Run,
        attempt: u32,
    ) -> Result<Plan> {
        let Some(cluster) = target.cluster().await? else { return runtime.plan(function, run) };
        let run_secrets = self.names_for_pods(run);
        let mut cluster = cluster;
        if let Some(namespace) =
            run.metadata.annotations.get(labels::NAMESPACE).filter(|own| **own != cluster.namespace)
        {
            // There it was begun, whatever is chosen now.
            Arc::make_mut(&mut cluster).namespace.clone_from(namespace);
        }
        let run = self.for_cluster(run).await?;
        // What builds, and what is deployed, reports nothing, is given nothing, and fetches its source itself.
        let apart = image::is_build(&run) || run.is_deployment();
        let run_secrets = run_secrets.filter(|_| !apart);
        let endpoint = if apart { String::new() } else { self.endpoint().await? };
        let cluster = match attempt == 0 && endpoint.is_empty() && run_secrets.is_none() {
            true => cluster,
            false => Arc::new(Cluster { attempt, endpoint, run_secrets, ..Cluster::clone(&cluster) }),
        };
        #[cfg(all(feature = "kubernetes", feature = "source"))]
        let (carried, source) = match apart {
            true => None,
            false => super::carry::source(function, &run, attempt, &cluster)?,
        }
        .unzip();
        #[cfg(all(feature = "kubernetes", feature = "source"))]
        let function = carried.as_ref().unwrap_or(function);
        #[allow(unused_mut, reason = "without tokens and sources nothing is added")]
        let mut plan = runtime.render(function, &run, &cluster)?;
        #[cfg(all(feature = "kubernetes", feature = "source"))]
        plan.objects.splice(0..0, source);
        #[cfg(feature = "_tokens")]
        if !cluster.endpoint.is_empty() {
            let token = self.tokens().await?.token(&run.key(), attempt);
            plan.objects.insert(0, token_secret(function, &run, &cluster, &token));
        }
        Ok(Plan::Cluster(plan))
    }

    /// Where runs report that are elsewhere; empty: nowhere.
    async fn endpoint(&self) -> Result<String> {
        #[cfg(feature = "_tokens")]
        return Ok(crate::api::endpoint::known(&*self.store).await?.unwrap_or_default());
        #[cfg(not(feature = "_tokens"))]
        Ok(String::new())
    }

    #[cfg(feature = "_tokens")]
    async fn tokens(&self) -> Result<&crate::api::Tokens> {
        let shared = self.lease.is_some();
        self.tokens.get_or_try_init(|| crate::api::Tokens::find(&*self.store, &self.home, shared)).await
    }

    /// The run as its code gets it where it sees nothing of this machine: what it reads and writes has the address that
    /// it has everywhere.
    async fn for_cluster(&self, run: &Run) -> Result<Run> {
        let mut run = run.clone();
        let project = run.metadata.project.clone();
        run.spec.secret_sources.retain(secrets::stays);
        for (name, text) in &mut run.spec.inputs {
            let at = |error: Error| error.at(format!("inputs.{name}"));
            if ArtifactUri::is_uri(text) {
                let uri = text.parse::<ArtifactUri>().map_err(at)?.in_project(&project);
                let record = self.artifact(&uri).await.map_err(at)?;
                if let Some(path) = record.artifact.target_path().strip_prefix(POD) {
                    // A volume that the other run had may be mounted here, too.
                    path.clone_into(text);
                    continue;
                }
                let place = record.place().map_err(at)?;
                if place.scheme() == Scheme::File {
                    return Err(at(only_here(&format!("the artifact {text}"))));
                }
                place.as_str().clone_into(text);
            } else if !is_url(text) && !text.starts_with('/') {
                return Err(at(only_here(&format!("the file {text}"))));
            }
        }
        run.spec.output_path = deliver::fill(&run.spec.output_path, &run);
        Ok(run)
    }
}

fn only_here(what: &str) -> Error {
    Error::new(ErrorKind::Unsupported, format!("{what} is on this machine, where pods cannot read it"))
        .help("put it where both can (s3://, gs://, az://, https://), or write the path of a volume that the function mounts")
}

/// The annotations that say where a run is: context and namespace.
const PLACE: [&str; 2] = [labels::CONTEXT, labels::NAMESPACE];

/// Where on its target a run is: nothing on this machine.
pub(super) fn place_of(run: &Run) -> [Option<&String>; 2] {
    PLACE.map(|label| run.metadata.annotations.get(label))
}

/// Notes on the run where it goes, so that whoever takes it up finds it there.
pub(super) async fn note_place(target: &dyn Target, function: &Function, run: &mut Run) -> Result<()> {
    let annotations = &mut run.metadata.annotations;
    for label in PLACE {
        annotations.remove(label);
    }
    if let Some(cluster) = target.cluster().await? {
        let namespace = cluster.namespace_of(function);
        for (label, place) in PLACE.into_iter().zip([cluster.context.as_str(), namespace]) {
            if !place.is_empty() {
                annotations.insert(label.to_owned(), place.to_owned());
            }
        }
    }
    Ok(())
}

/// Marks the artifacts that were written into files of a pod, and says that they are gone with it; but for those that
/// were sent here.
pub(super) fn mark_pod_paths(report: &mut Report, is_here: impl Fn(&str) -> bool) {
    for artifact in &mut report.artifacts {
        let path = artifact.target_path().to_owned();
        if path.is_empty() || is_url(&path) || is_here(&path) {
            continue;
        }
        artifact.spec.insert("target_path".to_owned(), format!("{POD}{path}").into());
        let key = &artifact.metadata.key;
        let note = match artifact.spec.get("endpoint").and_then(Value::as_str) {
            Some(endpoint) => format!(
                "the artifact {key:?} was sent to {endpoint}, which keeps it in {path} of its own machine; \
                 with --artifact-path and a URL it can be read from anywhere"
            ),
            None => format!(
                "the artifact {key:?} was written to {path} in the pod: unless that is a volume, it is gone with it; \
                 with --artifact-path and a URL, or the path of a volume, it stays, and so it does where \
                 `runtimes daemon --listen` takes reports"
            ),
        };
        if !report.notes.contains(&note) {
            report.notes.push(note);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use runtime_core::serde_json::{from_value, json};

    #[test]
    fn a_file_of_a_pod_is_none_of_this_machine() {
        let artifact = |path: &str| json!({"metadata": {"key": "a"}, "spec": {"target_path": path}});
        let report = json!({"state": "completed", "artifacts": [artifact("/etc/passwd"), artifact("s3://b/x"), artifact("/home/artifacts/x")]});
        let mut report: Report = from_value(report).unwrap();
        for _ in 0..2 {
            mark_pod_paths(&mut report, |path| path == "/home/artifacts/x");
            let paths: Vec<_> = report.artifacts.iter().map(|artifact| artifact.target_path()).collect();
            assert_eq!(paths, ["pod:///etc/passwd", "s3://b/x", "/home/artifacts/x"]);
        }
        assert_eq!(report.notes.len(), 1);
        let sent = json!([{"metadata": {"key": "a"}, "spec": {"target_path": "/x/a", "endpoint": "http://daemon:8080"}}]);
        let mut report = Report { artifacts: from_value(sent).unwrap(), ..Report::default() };
        mark_pod_paths(&mut report, |_| false);
        assert!(
            report.notes[0].contains("sent to http://daemon:8080, which keeps it in /x/a of"),
            "{:?}",
            report.notes
        );
        assert!(crate::data::Place::parse("pod:///etc/passwd").is_err(), "nobody reads it here");
    }
}
