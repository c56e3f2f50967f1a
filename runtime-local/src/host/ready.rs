//! When a process counts as ready for those that wait for it.

use std::{collections::BTreeMap, time::Duration};

use runtime_core::{
    logs::Stream,
    plan::{Process, Readiness},
};
use tokio::{net::TcpStream, sync::watch};

use super::process::{follow::Place, supervisor::output_paths, tail::Tail};

/// How often a port or a log is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// Calls `ready` once the process is; gives up when it is gone.
pub(crate) fn watch(
    process: &Process,
    place: &Place,
    ports: &BTreeMap<String, u16>,
    mut gone: watch::Receiver<bool>,
    ready: impl FnOnce() + Send + 'static,
) {
    let (stdout, stderr) = output_paths(&place.attempt, &place.process);
    match &process.ready {
        Readiness::Port(name) => {
            let Some(port) = ports.get(name).copied() else { return };
            tokio::spawn(async move {
                let listens = async {
                    while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
                        tokio::time::sleep(LOOK).await;
                    }
                };
                tokio::select! {
                    () = listens => ready(),
                    _ = gone.wait_for(|gone| *gone) => {}
                }
            });
        }
        Readiness::Log(text) => {
            let text = text.clone();
            tokio::spawn(async move {
                let printed = async {
                    let mut tails = [
                        Tail::new(&stdout, "", Stream::Stdout, 0),
                        Tail::new(&stderr, "", Stream::Stderr, 0),
                    ];
                    let mut lines = Vec::new();
                    loop {
                        for tail in &mut tails {
                            while tail.read(&mut lines).is_ok_and(|any| any) {}
                        }
                        if lines.drain(..).any(|line| line.text().contains(&text)) {
                            return;
                        }
                        tokio::time::sleep(LOOK).await;
                    }
                };
                tokio::select! {
                    () = printed => ready(),
                    _ = gone.wait_for(|gone| *gone) => {}
                }
            });
        }
        // The first is ready at once, the last when it has ended: both are seen without looking.
        _ => {}
    }
}
