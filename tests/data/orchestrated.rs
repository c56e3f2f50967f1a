//! Runs whose inputs and artifacts lie in a storage of this program.

use std::sync::Arc;

use runtimes::{
    Function, Orchestrator, Request, RunState,
    core::{run::Reason, serde_json::json, store::MemoryStore},
    data::{ArtifactFilter, ArtifactUri, Meter, Place},
};

const CODE: &str = "
def double(context, text):
    context.log_artifact('twice', body=text.get(encoding='utf-8') * 2, format='txt', tag='t')
    return text.url
";

struct Case {
    orchestrator: Orchestrator,
    folder: tempfile::TempDir,
}

impl Case {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let builder =
            Orchestrator::builder(folder.path().join("home")).store(Arc::new(MemoryStore::default()));
        Self { orchestrator: builder.open().await.unwrap(), folder }
    }

    async fn put(&self, url: &str, text: &str) {
        let file = self.folder.path().join("source");
        std::fs::write(&file, text).unwrap();
        let place = Place::parse(url).unwrap();
        self.orchestrator.storage().put(&file, &place, "default", &Meter::default()).await.unwrap();
    }

    async fn text(&self, url: &str) -> Option<String> {
        let (place, mut content) = (Place::parse(url).unwrap(), Vec::new());
        let read = self.orchestrator.storage().read(&place, "default", &mut content, &Meter::default()).await;
        read.ok().map(|()| String::from_utf8(content).unwrap())
    }
}

fn request(input: &str, output: &str) -> Request {
    let function = Function::new("local", "double").embed_code("double.py", CODE);
    let mut request = Request::new(function).handler("double").input("text", input);
    request.spec.output_path = output.to_owned();
    request
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_reads_and_writes_what_lies_elsewhere() {
    let case = Case::new().await;
    case.put("memory://in/a.txt", "ab").await;
    let first = case
        .orchestrator
        .run(request("memory://in/a.txt", "memory://{{project}}/{{run.uid}}"))
        .await
        .unwrap();
    assert_eq!(
        (first.state(), &first.status.results["return"]),
        (RunState::Completed, &json!("memory://in/a.txt"))
    );
    let target = format!("memory://default/{}/twice.txt", first.metadata.uid);
    assert_eq!(first.status.artifacts[0].target_path(), target);
    assert_eq!(case.text(&target).await.as_deref(), Some("abab"));

    // What it wrote is the input of the next, by name.
    let second = case.orchestrator.run(request("store://default/twice:t", "")).await.unwrap();
    let uri: ArtifactUri = second.spec.inputs["text"].parse().unwrap();
    assert_eq!(uri.tree.as_deref(), Some(first.metadata.uid.as_str()), "what is recorded names exactly one");
    let written = second.status.artifacts[0].target_path().to_owned();
    assert_eq!(std::fs::read_to_string(&written).unwrap(), "abababab");

    let newest = case.orchestrator.artifact(&"twice".parse().unwrap()).await.unwrap();
    assert_eq!(newest.run, second.key());
    let all = case.orchestrator.artifacts(&ArtifactFilter::default()).await.unwrap();
    assert_eq!(all.iter().map(|record| record.run.clone()).collect::<Vec<_>>(), [second.key(), first.key()]);

    case.orchestrator.delete(&first.key(), true).await.unwrap();
    assert_eq!(case.text(&target).await, None);
    assert_eq!(case.orchestrator.artifacts(&ArtifactFilter::default()).await.unwrap().len(), 1);
    assert!(!case.folder.path().join("home/staged").join(&first.metadata.uid).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_that_another_run_wrote_to_since_is_left() {
    let case = Case::new().await;
    case.put("memory://in/a.txt", "x").await;
    let first = case.orchestrator.run(request("memory://in/a.txt", "memory://shared")).await.unwrap();
    case.put("memory://in/a.txt", "y").await;
    let second = case.orchestrator.run(request("memory://in/a.txt", "memory://shared")).await.unwrap();
    case.orchestrator.delete(&first.key(), true).await.unwrap();
    assert_eq!(case.text("memory://shared/twice.txt").await.as_deref(), Some("yy"));
    case.orchestrator.delete(&second.key(), true).await.unwrap();
    assert_eq!(case.text("memory://shared/twice.txt").await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_input_ends_the_run_before_its_code() {
    let case = Case::new().await;
    let run = case.orchestrator.run(request("memory://in/none.txt", "")).await.unwrap();
    let cause = run.status.cause.unwrap();
    assert_eq!((run.status.state, cause.reason), (RunState::Error, Reason::InputFailed));
    assert_eq!(cause.message, "inputs.text: there is no object memory://in/none.txt");
    assert_eq!(run.status.exit_code, None);
    for (input, output, place) in [
        ("s9://b/k", "", "inputs.text"),
        ("store://default/none", "", "inputs.text"),
        ("memory://a", "https://h/x", "spec.output_path"),
        ("memory://a", "s9://b", "spec.output_path"),
    ] {
        let error = case.orchestrator.run(request(input, output)).await.unwrap_err();
        assert_eq!(error.location(), Some(place), "{error}");
    }
}
