//! Threads for Rust handlers that block. Each run has one for itself, so one that never returns takes no place from
//! others; a thread whose handler has returned waits a while for the next one.

use std::{
    io,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    time::Duration,
};

/// How long a thread waits for work before it ends.
const IDLE: Duration = Duration::from_secs(10);

/// What a thread does; it must not panic.
type Work = Box<dyn FnOnce() + Send>;

/// A thread that waits: its number, and how work reaches it.
type Waiting = (u64, SyncSender<Work>);

static WAITING: Mutex<Vec<Waiting>> = Mutex::new(Vec::new());

fn waiting() -> MutexGuard<'static, Vec<Waiting>> {
    WAITING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Does it on a thread that has nothing else to do.
///
/// # Errors
/// When there is none and the system gives no other.
pub(super) fn spawn(mut work: Work) -> io::Result<()> {
    // The one that waits for the shortest time: its memory is warm, and the others may end.
    while let Some((_, thread)) = { waiting().pop() } {
        match thread.send(work) {
            Ok(()) => return Ok(()),
            Err(back) => work = back.0,
        }
    }
    std::thread::Builder::new().name("runtimes-handler".to_owned()).spawn(move || live(work)).map(drop)
}

fn live(first: Work) {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let (sender, receiver) = sync_channel(1);
    let mut work = Some(first);
    while let Some(now) = work.take() {
        now();
        waiting().push((number, sender.clone()));
        work = next(&receiver, number);
    }
}

/// The next work; `None` where none came for long.
fn next(receiver: &Receiver<Work>, number: u64) -> Option<Work> {
    if let Ok(work) = receiver.recv_timeout(IDLE) {
        return Some(work);
    }
    let place = {
        let mut waiting = waiting();
        let place = waiting.iter().position(|(waiting, _)| *waiting == number);
        place.map(|place| waiting.remove(place))
    };
    // Somebody has just taken it, and is about to send.
    if place.is_none() { receiver.recv().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn a_thread_is_used_again_and_one_that_is_busy_is_not_waited_for() {
        let (done, results) = channel();
        let run = |gate: Option<Receiver<()>>| {
            let done = done.clone();
            spawn(Box::new(move || {
                let opened = gate.map(|gate| gate.recv());
                done.send((std::thread::current().id(), opened.is_some())).unwrap();
            }))
            .unwrap();
        };
        let (open, gate) = channel();
        run(Some(gate));
        run(None);
        let (quick, blocked) = results.recv().unwrap();
        assert!(!blocked);
        open.send(()).unwrap();
        let (slow, blocked) = results.recv().unwrap();
        assert!(blocked && slow != quick);
        // Both wait, or are about to: among so many, one is used again.
        let mut threads = std::collections::HashSet::from([slow, quick]);
        for _ in 0..100 {
            run(None);
            threads.insert(results.recv().unwrap().0);
        }
        assert!(threads.len() < 50, "{} threads", threads.len());
    }
}
