//! `daemon --listen`: what runs report from elsewhere.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use runtimes::{Orchestrator, Update, api::Tokens, core::run::RunKey};
use rustix::process::Signal;

use crate::fixture::Folder;

/// `METHOD PATH` with this token; the answer's body, where its status is 200.
#[track_caller]
fn ask(address: &str, token: &str, what: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let length = body.len();
    write!(
        stream,
        "{what} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

/// Waits until the run has this result; what its record says of it is in `runtimes get`.
async fn until_result(orchestrator: &Orchestrator, key: &RunKey, name: &str) {
    let mut handle = orchestrator.watch(key).await.unwrap();
    while let Some(update) = handle.next().await {
        if matches!(update, Update::Run(run) if run.status.results.contains_key(name)) {
            return;
        }
    }
    panic!("the run ended before");
}

#[test]
fn a_daemon_takes_what_a_run_reports() {
    let folder = Folder::with("wait.sh", "cat go\n");
    let go = folder.fifo("go");
    let mut daemon = folder.start("daemon --listen 127.0.0.1:0");
    let line = daemon.line();
    let (_, address) = line.split_once("runs report to http://").unwrap_or_else(|| panic!("{line}"));
    let uid = folder.run("run wait.sh --kind local --detach").ok().stdout.trim().to_owned();
    let key = RunKey::new(&uid);

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let orchestrator =
            Orchestrator::builder(folder.path(".runtimes")).recover(false).open().await.unwrap();
        assert_eq!(orchestrator.endpoint().await.unwrap(), Some(format!("http://{address}")));
        let token = Tokens::open(&orchestrator).await.unwrap().token(&key, 0);
        let run = format!("/api/v1/projects/default/runs/{uid}");
        ask(address, token.expose(), &format!("PATCH {run}"), r#"{"status.results": {"far": 0.25}}"#);
        let artifact =
            r#"{"kind": "model", "metadata": {"key": "net"}, "spec": {"target_path": "s3://b/net"}}"#;
        ask(address, token.expose(), "PUT /api/v2/projects/default/artifacts/wait_net", artifact);
        let waits = until_result(&orchestrator, &key, "far");
        tokio::time::timeout(Duration::from_secs(60), waits).await.unwrap();
        let shown = folder.run(&format!("get {uid} -o json")).ok().json();
        assert_eq!(
            (&shown["status"]["state"], &shown["status"]["results"]["far"]),
            (&"running".into(), &0.25.into())
        );
        assert!(!folder.run("runs").ok().stdout.contains(token.expose()));
        orchestrator.close().await.unwrap();
    });

    drop(std::fs::OpenOptions::new().write(true).open(go).unwrap());
    folder.run(&format!("logs -f {uid}")).ok();
    let listed = folder.run("artifacts list").ok().stdout.clone();
    assert!(listed.contains("net") && listed.contains("s3://b/net"), "{listed}");
    daemon.signal(Signal::TERM);
    let ended = daemon.end();
    assert!(ended.ok().stdout.contains("ending; "), "{ended:?}");
}

#[test]
fn an_endpoint_that_cannot_be_is_said_at_once() {
    let folder = Folder::new();
    folder.run("daemon --listen nowhere").code(1).says(&[
        "--listen",
        "cannot listen at \"nowhere\"",
        "0.0.0.0:8080",
    ]);
    folder.run("daemon --listen 127.0.0.1:0 --advertise ftp://a").code(2).says(&[
        "--advertise",
        "begins with http://",
        "write http://HOST:PORT",
    ]);
    folder.run("daemon --advertise http://a").code(2).says(&["--listen"]);
}
