//! The runs that a template has taken and not ended yet.

use std::collections::{HashMap, VecDeque};

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::host::process::state_file::Ended;

/// What becomes of a run that was given to a template. Both are dropped where the template dies.
pub(crate) struct Started {
    /// It is its turn.
    pub(crate) begun: oneshot::Receiver<()>,
    /// It is over.
    pub(crate) over: oneshot::Receiver<Over>,
}

/// How a run was over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Over {
    /// It ended.
    Ended(Ended),
    /// It was taken back before it had begun.
    Cancelled,
}

/// The runs that a template has taken, and the order in which a worker makes them.
#[derive(Default)]
pub(super) struct Taken {
    runs: HashMap<String, Waiting>,
    queue: VecDeque<String>,
}

/// Who waits for a run.
struct Waiting {
    begun: Option<oneshot::Sender<()>>,
    over: oneshot::Sender<Over>,
    /// Its room in front of a worker, given back with its end.
    room: Option<OwnedSemaphorePermit>,
}

impl Taken {
    /// Notes a run, before it is sent. With `room` it waits for those before it.
    pub(super) fn insert(&mut self, id: &str, room: Option<OwnedSemaphorePermit>) -> Started {
        let ((begun, has_begun), (over, is_over)) = (oneshot::channel(), oneshot::channel());
        let waits = room.is_some();
        self.runs.insert(id.to_owned(), Waiting { begun: Some(begun), over, room });
        if waits {
            self.queue.push_back(id.to_owned());
            self.begin();
        } else if let Some(begun) = self.runs.get_mut(id).and_then(|run| run.begun.take()) {
            let _ = begun.send(());
        }
        Started { begun: has_begun, over: is_over }
    }

    /// Tells who waits for this run that it is over, and the next one that it is its turn.
    pub(super) fn over(&mut self, id: &str, over: Over) {
        let Some(run) = self.runs.remove(id) else { return };
        let _ = run.over.send(over);
        if run.room.is_some() {
            self.queue.retain(|queued| queued != id);
            self.begin();
        }
    }

    fn begin(&mut self) {
        let first = self.queue.front().and_then(|id| self.runs.get_mut(id));
        if let Some(begun) = first.and_then(|run| run.begun.take()) {
            let _ = begun.send(());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::Semaphore;

    use super::*;

    #[test]
    fn a_worker_makes_one_after_the_other() {
        let (room, mut taken) = (Arc::new(Semaphore::new(3)), Taken::default());
        let give =
            |taken: &mut Taken, id| taken.insert(id, Some(Arc::clone(&room).try_acquire_owned().unwrap()));
        let (mut a, mut b, mut c) = (give(&mut taken, "a"), give(&mut taken, "b"), give(&mut taken, "c"));
        assert!(a.begun.try_recv().is_ok() && b.begun.try_recv().is_err());
        taken.over("b", Over::Cancelled);
        assert_eq!((b.over.try_recv(), room.available_permits()), (Ok(Over::Cancelled), 1));
        assert!(c.begun.try_recv().is_err());
        taken.over("a", Over::Ended(Ended::Code(0)));
        assert!(c.begun.try_recv().is_ok() && a.over.try_recv().is_ok());
        let mut forked = taken.insert("d", None);
        assert!(forked.begun.try_recv().is_ok());
    }
}
