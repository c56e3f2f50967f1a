//! Who lives, told to other homes and machines: an orchestrator whose store may be shared holds a lease in it, a
//! document that it renews, as long as it follows runs.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};
use runtime_core::{
    Error, ErrorKind, Result, Store,
    store::{Document, DocumentFilter},
};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

/// The kind of a lease's document.
const KIND: &str = "owner";

/// How long a lease lasts that is not renewed, unless told otherwise.
pub(super) const LENGTH: Duration = Duration::from_secs(15);

/// Shorter ones would be over before a busy store has renewed them.
const SHORTEST: Duration = Duration::from_millis(300);

/// Where an orchestrator is: what it starts is there, and nowhere else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    /// The machine's name.
    pub(super) host: String,
    /// Tells homes apart, whatever they are called.
    pub(super) home: String,
    /// The home's path.
    pub(super) path: PathBuf,
}

impl Place {
    /// The place of this home on this machine; gives the home an id where it has none.
    pub(super) fn of(home: &Path) -> Result<Self> {
        std::fs::create_dir_all(home).map_err(|error| Error::io("create", home, error))?;
        let file = home.join("id");
        let new = uuid::Uuid::new_v4().simple().to_string();
        // Linked into place: whoever reads it reads all of it, and of two that make it one wins.
        let read = || std::fs::read_to_string(&file);
        let home_id = match read() {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let temporary = home.join(format!(".id-{new}"));
                let made =
                    std::fs::write(&temporary, &new).and_then(|()| std::fs::hard_link(&temporary, &file));
                let _ = std::fs::remove_file(&temporary);
                match made {
                    Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(error),
                    _ => read(),
                }
            }
            other => other,
        };
        let home_id = home_id.map_err(|error| Error::io("make", &file, error))?;
        Ok(Self { host: host(), home: home_id, path: home.to_owned() })
    }

    fn is(&self, other: &Self) -> bool {
        self.home == other.home && self.host == other.host
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} on {}", self.path.display(), self.host)
    }
}

/// The name of this machine, or of this pod.
pub(crate) fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").or_else(|_| std::env::var("HOSTNAME"));
    name.map_or_else(|_| "this machine".to_owned(), |name| name.trim().to_owned())
}

/// What a lease's document holds.
#[derive(Serialize, Deserialize)]
struct Body {
    #[serde(flatten)]
    place: Place,
    /// It was closed and left runs that go on: whoever opens that home next takes them up.
    left: bool,
}

/// The lease of another orchestrator, as it stands in the store.
pub(super) struct Other {
    pub(super) id: String,
    place: Option<Place>,
    left: bool,
    due: Option<Timestamp>,
    pub(super) revision: u64,
}

/// What a lease says of its holder.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Standing {
    /// It lives, or may.
    Alive,
    /// It is gone; what it started is in this home.
    Gone,
    /// It was closed, and what it started goes on, in another home.
    Left(Option<Place>),
    /// It is gone, and so is all knowledge of what it started.
    Lost(Option<Place>),
}

impl Other {
    fn of(document: Document) -> Self {
        let Document { name, due, revision, body, .. } = document;
        let body: Option<Body> = serde_json::from_value(body).ok();
        let left = body.as_ref().is_some_and(|body| body.left);
        Self { id: name, place: body.map(|body| body.place), left, due, revision }
    }

    /// Whether it was not renewed in time. It may be forgotten then, once no run depends on it.
    pub(super) fn is_over(&self, now: Timestamp) -> bool {
        self.due.is_none_or(|due| due < now)
    }

    /// How its holder is, seen from this place; whether that one still locks its file here, where that can be told.
    pub(super) fn standing(&self, here: &Place, locked: Option<bool>, now: Timestamp) -> Standing {
        let is_here = self.place.as_ref().is_some_and(|place| place.is(here));
        match (locked, self.is_over(now)) {
            (Some(false), _) => Standing::Gone,
            // One that holds its lock and not its lease is suspended, or cut off from the store.
            (Some(true), over) => {
                if over {
                    Standing::Gone
                } else {
                    Standing::Alive
                }
            }
            (None, _) if is_here => Standing::Gone,
            (None, false) => Standing::Alive,
            (None, true) => match &self.place {
                place if self.left => Standing::Left(place.clone()),
                place => Standing::Lost(place.clone()),
            },
        }
    }
}

/// The lease of this orchestrator.
pub(super) struct Lease {
    store: Arc<dyn Store>,
    id: String,
    place: Place,
    length: Duration,
    held: Mutex<Held>,
    /// Somebody renews it.
    tended: AtomicBool,
}

#[derive(Default)]
struct Held {
    revision: u64,
    until: Option<Instant>,
}

impl Lease {
    pub(super) fn new(store: Arc<dyn Store>, id: &str, place: Place, length: Duration) -> Result<Self> {
        if length < SHORTEST {
            return Err(Error::invalid(
                "lease",
                format!("a lease of {length:?} is over before it can be renewed"),
            )
            .help(format!("at least {SHORTEST:?}")));
        }
        Ok(Self {
            store,
            id: id.to_owned(),
            place,
            length,
            held: Mutex::default(),
            tended: AtomicBool::new(false),
        })
    }

    /// How often it is renewed.
    pub(super) fn third(&self) -> Duration {
        self.length / 3
    }

    /// Sees to it that the lease is held, before a run is recorded as followed by this orchestrator.
    pub(super) async fn hold(&self) -> Result<()> {
        let mut held = self.held.lock().await;
        let fresh = held.until.is_some_and(|until| until > Instant::now() + self.length / 3);
        if fresh { Ok(()) } else { self.write(&mut held, false).await.map(drop) }
    }

    /// Renews it, where it was ever held. Returns whether it was over meanwhile: then others may have taken runs.
    pub(super) async fn renew(&self) -> Result<bool> {
        let mut held = self.held.lock().await;
        let Some(until) = held.until else { return Ok(false) };
        let over = until < Instant::now();
        Ok(self.write(&mut held, false).await? || over)
    }

    /// Gives it up: at once where nothing is left, otherwise with a note for whoever opens this home next.
    pub(super) async fn leave(&self, runs_left: bool) -> Result<()> {
        let mut held = self.held.lock().await;
        if held.until.is_none() {
            return Ok(());
        }
        if runs_left {
            self.write(&mut held, true).await?;
        } else {
            self.store.delete_document(KIND, "", &self.id, None).await?;
        }
        held.until = None;
        Ok(())
    }

    /// Writes it. Returns whether somebody had taken it away.
    async fn write(&self, held: &mut Held, left: bool) -> Result<bool> {
        let body = serde_json::to_value(Body { place: self.place.clone(), left })
            .map_err(|error| Error::internal("a lease cannot be written").source(error))?;
        let mut taken = false;
        loop {
            let now = Instant::now();
            let length = if left { SignedDuration::ZERO } else { signed(self.length) };
            let due = Timestamp::now().checked_add(length).ok();
            let document = Document {
                revision: held.revision,
                due,
                ..Document::new(KIND, "", self.id.as_str(), body.clone())
            };
            match self.store.put_document(&document).await {
                Ok(revision) => {
                    *held = Held { revision, until: Some(now + self.length) };
                    return Ok(taken);
                }
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    taken = true;
                    held.revision = 0;
                }
                // A renewal whose answer was lost.
                Err(error) if matches!(error.kind(), ErrorKind::Conflict | ErrorKind::AlreadyExists) => {
                    let stored = self.store.get_document(KIND, "", &self.id).await?;
                    held.revision = stored.map_or(0, |stored| stored.revision);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether somebody is to start renewing it; asked by each, answered `true` to one.
    pub(super) fn start_tending(&self) -> bool {
        !self.tended.swap(true, Ordering::AcqRel)
    }
}

fn signed(length: Duration) -> SignedDuration {
    SignedDuration::try_from(length).unwrap_or(SignedDuration::MAX)
}

/// All leases in a store.
pub(super) async fn all(store: &dyn Store) -> Result<Vec<Other>> {
    let documents = store.list_documents(&DocumentFilter::of(KIND)).await?;
    Ok(documents.into_iter().map(Other::of).collect())
}

/// Forgets a lease that is over and has no runs any more, if it is still the same.
pub(super) async fn forget(store: &dyn Store, lease: &Other) -> Result<()> {
    match store.delete_document(KIND, "", &lease.id, Some(lease.revision)).await {
        Err(error) if error.kind() == ErrorKind::Conflict => Ok(()),
        other => other.map(drop),
    }
}

#[cfg(test)]
mod tests {
    use runtime_core::store::MemoryStore;

    use super::*;

    fn place(name: &str) -> Place {
        Place { host: "here".to_owned(), home: name.to_owned(), path: PathBuf::from(name) }
    }

    #[tokio::test]
    async fn a_lease_is_held_renewed_and_left() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let lease = |id| Lease::new(Arc::clone(&store), id, place("a"), Duration::from_secs(60)).unwrap();
        let one = lease("one");
        assert!(
            !one.renew().await.unwrap() && all(&*store).await.unwrap().is_empty(),
            "held only when needed"
        );
        one.hold().await.unwrap();
        one.hold().await.unwrap();
        let seen = all(&*store).await.unwrap();
        assert_eq!((seen.len(), seen[0].revision), (1, 1), "what is held is not written again");
        assert!(!one.renew().await.unwrap(), "nobody took it");
        // Somebody thought that it was dead.
        let seen = all(&*store).await.unwrap();
        forget(&*store, &seen[0]).await.unwrap();
        assert!(one.renew().await.unwrap(), "it was taken away");
        assert!(!one.renew().await.unwrap(), "and is held again");
        one.leave(true).await.unwrap();
        let seen = all(&*store).await.unwrap();
        let now = Timestamp::now().checked_add(SignedDuration::from_secs(1)).unwrap();
        assert_eq!(seen[0].standing(&place("b"), None, now), Standing::Left(Some(place("a"))));
        assert_eq!(seen[0].standing(&place("a"), None, now), Standing::Gone);
        let two = lease("two");
        two.hold().await.unwrap();
        two.leave(false).await.unwrap();
        assert_eq!(all(&*store).await.unwrap().len(), 1, "one that left nothing is forgotten");
    }

    #[test]
    fn who_lives_is_told_by_lock_and_lease() {
        let (now, home) = (Timestamp::from_second(1_900_000_000).unwrap(), place("a"));
        let lease = |due: i64| Other {
            id: "one".to_owned(),
            place: Some(home.clone()),
            left: false,
            due: Timestamp::from_second(1_900_000_000 + due).ok(),
            revision: 1,
        };
        let lost = Standing::Lost(Some(home.clone()));
        let cases = [
            // In its own home the lock tells of death at once, and the lease of being cut off.
            ("a", Some(true), 5, Standing::Alive),
            ("a", Some(true), -5, Standing::Gone),
            ("a", Some(false), 5, Standing::Gone),
            ("a", None, 5, Standing::Gone),
            // Elsewhere there is the lease alone.
            ("b", None, 5, Standing::Alive),
            ("b", None, -5, lost),
        ];
        for (here, locked, due, expected) in cases {
            assert_eq!(lease(due).standing(&place(here), locked, now), expected, "{here} {locked:?} {due}");
        }
    }

    #[test]
    fn a_home_keeps_its_id() {
        let folder = tempfile::tempdir().unwrap();
        let first = Place::of(folder.path()).unwrap();
        assert_eq!(Place::of(folder.path()).unwrap(), first);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        let other = tempfile::tempdir().unwrap();
        assert!(!Place::of(other.path()).unwrap().is(&first));
    }

    #[test]
    fn a_lease_that_cannot_be_renewed_in_time_is_refused() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let error = Lease::new(store, "one", place("a"), Duration::from_millis(10)).err().unwrap();
        assert!(error.to_string().contains("at least 300ms"), "{error}");
    }
}
