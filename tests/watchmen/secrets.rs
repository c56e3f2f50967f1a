//! Secrets of projects and of single runs: what code reads, and where the values are not.

use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt, path::Path};

use runtimes::{
    ErrorKind, Function, Orchestrator, Request, Run, RunState, Update,
    core::{
        run::SecretSources,
        secret::{Secret, project_secret},
        serde_json::json,
        store::RunFilter,
    },
    handler::Context,
};

use crate::{holding, open, refusal, within};

const VALUE: &str = "s3cret-value-1f0a";

/// Says what it could read, without saying it; then waits to be looked at.
const READER: &str = r#"
import hashlib, os

def read(context, keys=("TOKEN",), wait=True):
    for key in keys:
        value = context.get_secret(key)
        context.log_result(key, hashlib.sha256(value.encode()).hexdigest() if value else "none")
    folder = os.environ.get("RUNTIMES_SECRETS_DIR")
    context.log_result("files", sorted(os.listdir(folder)) if folder else [])
    print("ready", flush=True)
    if wait:
        open("go").read()
    raise SystemExit(0) if not wait else ValueError("it fails, and says where")
"#;

const WHOLE: &str = r#"
import hashlib
import runtimes
context = runtimes.get_or_create_ctx("reader")
context.log_result("TOKEN", hashlib.sha256(context.get_secret("TOKEN").encode()).hexdigest())
print("ready", flush=True)
open("go").read()
"#;

fn put(orchestrator: &Orchestrator, key: &str, value: &str) {
    orchestrator.secrets().unwrap().put(&project_secret("default"), key, &Secret::new(value)).unwrap();
}

fn digest(value: &str) -> String {
    let mut hash = std::process::Command::new("sha256sum");
    hash.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let mut child = hash.spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), value.as_bytes()).unwrap();
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()[..64].to_owned()
}

fn request(folder: &Path, kind: &str, code: &str) -> Request {
    fs::write(folder.join("reader.py"), code).unwrap();
    let mut request = Request::new(Function::new(kind, "reader").with_command("reader.py"));
    request.base_dir = folder.to_owned();
    request
}

/// Runs it to its end, without waiting in it.
async fn read(orchestrator: &Orchestrator, request: Request, keys: &[&str]) -> Run {
    let request = request.handler("read").parameter("keys", json!(keys)).parameter("wait", false);
    let run = within(orchestrator.submit(request).await.unwrap().wait()).await.unwrap();
    assert_eq!(run.state(), RunState::Completed, "{:?}", run.status);
    run
}

/// The processes in whose command line or environment a value is seen by others.
fn showing(wanted: &str) -> Vec<String> {
    let holds = |file: &Path| {
        fs::read(file).is_ok_and(|text| text.windows(wanted.len()).any(|w| w == wanted.as_bytes()))
    };
    let processes = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    let shown = processes.filter(|path| holds(&path.join("cmdline")) || holds(&path.join("environ")));
    shown.map(|path| path.display().to_string()).collect()
}

/// The folders in which the secrets of running attempts are.
fn laid_out(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(laid_out(&path));
            if path.ends_with("secrets") && !path.ends_with("home/secrets") {
                found.push(path);
            }
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn the_value_is_with_the_code_and_nowhere_else() {
    for (kind, handler, code) in
        [("local", "read", READER), ("handler", "read", READER), ("local", "", WHOLE)]
    {
        let what = format!("{kind} {handler:?}");
        let folder = tempfile::tempdir().unwrap();
        let orchestrator = open(folder.path()).await;
        put(&orchestrator, "TOKEN", VALUE);
        let go = folder.path().join("go");
        assert!(std::process::Command::new("mkfifo").arg(&go).status().unwrap().success());
        let mut handle =
            orchestrator.submit(request(folder.path(), kind, code).handler(handler)).await.unwrap();
        let mut log = String::new();
        within(async {
            while !log.contains("ready") {
                match handle.next().await {
                    Some(Update::Log(line)) => log += &line.text(),
                    Some(_) => {}
                    None => panic!("{what}: it ended: {log}"),
                }
            }
        })
        .await;
        // While it runs, the value is in files of its attempt that nobody else may read.
        let places = laid_out(folder.path());
        assert_eq!(places.len(), 1, "{what}: {places:?}");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&places[0]), mode(&places[0].join("TOKEN"))), (0o700, 0o600), "{what}");
        assert_eq!(holding(folder.path(), VALUE), [places[0].join("TOKEN")], "{what}");
        assert_eq!(showing(VALUE), [""; 0], "{what}");
        fs::write(&go, "").unwrap();
        let run = within(handle.wait()).await.unwrap();
        assert_eq!(run.status.results["TOKEN"], digest(VALUE), "{what}: {:?}", run.status);
        assert!(!json!(run).to_string().contains(VALUE), "{what}");
        orchestrator.close().await.unwrap();
        // Afterwards it is in no database, log, record or error, and its attempt's files are gone.
        assert_eq!(laid_out(folder.path()), [""; 0].map(std::path::PathBuf::from), "{what}");
        assert_eq!(holding(folder.path(), VALUE), [""; 0].map(std::path::PathBuf::from), "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_used_again_has_the_secrets_of_its_run() {
    let folder = tempfile::tempdir().unwrap();
    let orchestrator = open(folder.path()).await;
    for (value, source) in [("one", "A"), ("two", "A"), ("none", "OTHER"), ("three", "A")] {
        let own = BTreeMap::from([(source.to_owned(), Some(Secret::new(value)))]);
        let mut request = request(folder.path(), "handler", READER).secrets(SecretSources::Inline(own));
        request.function.spec.extra.insert("reuse".to_owned(), true.into());
        let found = if source == "A" { digest(value) } else { "none".to_owned() };
        assert_eq!(read(&orchestrator, request, &["A"]).await.status.results["A"], found);
    }
    orchestrator.close().await.unwrap();
}

#[derive(serde::Deserialize)]
struct Key {
    key: String,
}

#[derive(serde::Serialize)]
struct Length {
    length: Option<usize>,
}

fn length_of_secret(context: &Context, Key { key }: Key) -> runtimes::Result<Length> {
    Ok(Length { length: context.secret(&key)?.map(|secret| secret.expose().len()) })
}
runtimes::local::handler!(length_of_secret);

#[tokio::test(flavor = "multi_thread")]
async fn a_rust_handler_asks_its_context() {
    let folder = tempfile::tempdir().unwrap();
    let orchestrator = open(folder.path()).await;
    put(&orchestrator, "TOKEN", VALUE);
    let function = Function::new("handler", "length").with_handler("length_of_secret");
    for (key, length) in [("TOKEN", json!(VALUE.len())), ("OTHER", json!(null))] {
        let request = Request::new(function.clone()).parameter("key", key);
        let run = within(orchestrator.submit(request).await.unwrap().wait()).await.unwrap();
        assert_eq!(run.status.results.get("length"), Some(&length), "{:?}", run.status);
    }
    orchestrator.close().await.unwrap();
    assert_eq!(holding(folder.path(), VALUE), [""; 0].map(std::path::PathBuf::from));
}

#[tokio::test(flavor = "multi_thread")]
async fn sources_of_a_run() {
    let folder = tempfile::tempdir().unwrap();
    let orchestrator = open(folder.path()).await;
    for key in ["A", "B", "mlrun.notifications.x"] {
        put(&orchestrator, key, &format!("{VALUE} {key}"));
    }
    fs::write(folder.path().join("own.env"), format!("# mine\nFILE={VALUE} file\n")).unwrap();
    let inline = BTreeMap::from([("B".to_owned(), Some(Secret::new("own")))]);
    let keys = ["A", "B", "FILE", "mlrun.notifications.x"];
    let with = |sources: Vec<SecretSources>| {
        let request = request(folder.path(), "local", READER);
        sources.into_iter().fold(request, Request::secrets)
    };
    let own = |text: &str| digest(&format!("{VALUE} {text}"));
    let none = || "none".to_owned();
    for (sources, found) in [
        (vec![], [own("A"), own("B"), none(), none()]),
        (vec![SecretSources::Kubernetes(vec!["A".into()])], [own("A"), none(), none(), none()]),
        (
            vec![SecretSources::Inline(inline), SecretSources::File("own.env".into())],
            [own("A"), digest("own"), own("file"), none()],
        ),
    ] {
        let run = read(&orchestrator, with(sources), &keys).await;
        assert_eq!(keys.map(|key| run.status.results[key].as_str().unwrap().to_owned()), found);
    }
    // A variable of whoever starts it; here one that is set.
    let variable = SecretSources::Env(vec!["PATH".into()]);
    let run = read(&orchestrator, with(vec![variable]), &["PATH"]).await;
    assert_eq!(run.status.results["PATH"], digest(&std::env::var("PATH").unwrap()));
    assert_eq!(run.status.results["files"], json!(["A", "B", "PATH"]));
    let record = orchestrator.find(&run.metadata.uid).await.unwrap();
    assert_eq!(json!(record.run.spec.secret_sources), json!([{"kind": "env", "source": "PATH"}]));
    orchestrator.close().await.unwrap();
    let elsewhere = holding(folder.path(), VALUE);
    assert_eq!(elsewhere, [folder.path().join("own.env")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_said_before_anything_starts() {
    let folder = tempfile::tempdir().unwrap();
    let orchestrator = open(folder.path()).await;
    put(&orchestrator, "A", VALUE);
    fs::write(folder.path().join("broken.env"), format!("OK=1\n{VALUE} {VALUE}\n")).unwrap();
    let gone = BTreeMap::from([("K".to_owned(), None)]);
    for (source, kind, parts) in [
        (
            SecretSources::Kubernetes(vec!["B".into()]),
            ErrorKind::NotFound,
            ["\"B\"", "runtimes secret set B"],
        ),
        (SecretSources::Kubernetes(vec!["mlrun.x".into()]), ErrorKind::Invalid, ["mlrun.", "secret list"]),
        (
            SecretSources::Env(vec!["NO_SUCH_VARIABLE".into()]),
            ErrorKind::NotFound,
            ["NO_SUCH_VARIABLE", "export "],
        ),
        (SecretSources::File("none.env".into()), ErrorKind::NotFound, ["none.env", ""]),
        (SecretSources::File("broken.env".into()), ErrorKind::Invalid, ["broken.env:2", "NAME=value"]),
        (
            SecretSources::Vault { kind: "azure_vault".into(), source: json!({"secrets": ["a"]}) },
            ErrorKind::Unsupported,
            ["`azure_vault`", "secret set"],
        ),
        (SecretSources::Inline(gone), ErrorKind::NotFound, ["K", "give it again"]),
    ] {
        let request = request(folder.path(), "local", READER).handler("read").secrets(source);
        let error = refusal(orchestrator.submit(request).await);
        let text = format!("{error}\n{}", error.help_text().unwrap_or_default());
        assert_eq!(error.kind(), kind, "{text}");
        assert!(parts.iter().all(|part| text.contains(part)), "{text}");
        assert!(
            text.contains("spec.secret_sources[0]") && !format!("{error:?}{text}").contains(VALUE),
            "{text}"
        );
    }
    // A file that others can read is refused, with what to do.
    let file = folder.path().join("home/secrets").join(project_secret("default")).join("A");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let error = refusal(orchestrator.submit(request(folder.path(), "local", READER).handler("read")).await);
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert!(error.help_text().unwrap().contains("chmod 600"), "{error}");
    assert!(orchestrator.list(&RunFilter::default()).await.unwrap().is_empty());
    orchestrator.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn values_for_one_run_are_not_for_another() {
    let folder = tempfile::tempdir().unwrap();
    let orchestrator = open(folder.path()).await;
    let own = BTreeMap::from([("K".to_owned(), Some(Secret::new(VALUE)))]);
    let given = request(folder.path(), "local", READER).secrets(SecretSources::Inline(own));
    let run = read(&orchestrator, given.clone(), &["K"]).await;
    assert_eq!(run.status.results["K"], digest(VALUE));
    let error = refusal(orchestrator.rerun(&run.key()).await);
    assert!(error.message().contains("for another run alone"), "{error}");
    // A run that outlives this program would lose them.
    let error = refusal(orchestrator.submit(Request { detached: true, ..given.handler("read") }).await);
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    orchestrator.close().await.unwrap();
    assert_eq!(holding(folder.path(), VALUE), [""; 0].map(std::path::PathBuf::from));
}
