//! Watches: what there is, what was, and then each change as it happens.

use std::{io, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use serde_json::json;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::{
    call::{Answer, Call, present},
    object::{Event, Object, What, line},
    request::Request,
    resource::Resource,
    selector::Selector,
    status::{Cause, Refusal},
    world::{Signal, Watcher, Work, World},
};

/// As long as watches last that do not say how long.
const DEFAULT: u64 = 1800;

impl Call<'_> {
    pub(super) fn watch(&mut self) -> Result<Answer, Refusal> {
        let selector = Selector::of(self.request, &self.resource)?;
        let query = &self.request.query;
        let from = query.number("resourceVersion")?.unwrap_or_default();
        let initial = query.flag("sendInitialEvents");
        if initial && query.get("resourceVersionMatch") != Some("NotOlderThan") {
            let why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
            let cause = Cause::forbidden("resourceVersionMatch", why);
            return Err(Refusal::invalid("meta.k8s.io", "ListOptions", "", &[cause]));
        }
        let view = View { selector, resource: self.resource.clone(), request: self.request.clone() };
        let mut lines = Vec::new();
        let table = &self.world.tables[self.id];
        if initial || from == 0 {
            let wanted = table.objects.values().filter(|object| view.selector.matches(object));
            lines.extend(wanted.map(|object| line("ADDED", &present(object, &self.resource, self.request))));
            if initial && view.request.query.flag("allowWatchBookmarks") {
                lines.push(view.bookmark(self.world.version, true));
            }
        } else if from < table.since {
            let gone = Refusal::expired(format!("too old resource version: {from} ({})", table.since));
            return Ok(Answer::Stream("application/json", once(error_line(&gone))));
        } else {
            // The history is in the order of versions.
            let begin = table.history.partition_point(|event| event.object.version <= from);
            lines.extend(table.history.range(begin..).filter_map(|event| view.line(event)));
        }
        let (to, receiver) = unbounded_channel();
        let id = self.world.number();
        self.world.tables[self.id].watchers.push(Watcher { id, to });
        let seconds = self.request.query.number("timeoutSeconds")?.unwrap_or(DEFAULT);
        self.world.later(Duration::from_secs(seconds), Work::WatchOver(self.id, id));
        Ok(Answer::Stream("application/json", stream(lines, receiver, view)))
    }
}

impl World {
    /// The time of a watch is over: it learns how far it came, and ends.
    pub(super) fn watch_over(&mut self, table: usize, id: u64) {
        let version = self.version;
        let watchers = &mut self.tables[table].watchers;
        if let Some(at) = watchers.iter().position(|watcher| watcher.id == id) {
            let watcher = watchers.swap_remove(at);
            // It does not matter where nobody listens any more.
            let _ = watcher.to.send(Signal::Bookmark(version)).and_then(|()| watcher.to.send(Signal::End));
        }
    }

    /// Tells all watches something.
    pub(super) fn signal(&mut self, signal: &Signal) {
        for table in &mut self.tables {
            table.watchers.retain(|watcher| watcher.to.send(signal.clone()).is_ok());
            if !matches!(signal, Signal::Bookmark(_)) {
                table.watchers.clear();
            }
        }
    }
}

/// What one watch wants to see, and how.
struct View {
    selector: Selector,
    resource: Arc<Resource>,
    request: Request,
}

impl View {
    /// What this watch sees of a change, if anything.
    fn line(&self, event: &Event) -> Option<Bytes> {
        let was = event.before.as_ref().is_some_and(|before| self.selector.matches(before));
        let is = event.what != What::Deleted && self.selector.matches(&event.object);
        let what = match (was, is) {
            (true, true) => What::Modified,
            (false, true) => What::Added,
            (true, false) => What::Deleted,
            (false, false) => return None,
        };
        if what == What::Deleted && event.what != What::Deleted {
            // It is there, but not here any more: what it was, as of now.
            let before = event.before.as_ref()?;
            let last = Object::new(before.value.clone(), event.object.version);
            return Some(line(what.as_str(), &present(&last, &self.resource, &self.request)));
        }
        let plain = !self.request.metadata_only && self.resource.versions[0] == self.request.version;
        if plain && what == event.what {
            return Some(event.line());
        }
        Some(line(what.as_str(), &present(&event.object, &self.resource, &self.request)))
    }

    fn bookmark(&self, version: u64, initial: bool) -> Bytes {
        let mut metadata = json!({"resourceVersion": version.to_string(), "creationTimestamp": null});
        if initial {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let (kind, version) = if self.request.metadata_only {
            ("PartialObjectMetadata".to_owned(), "meta.k8s.io/v1".to_owned())
        } else {
            (self.resource.kind.clone(), self.resource.api_version(&self.request.version))
        };
        let mut object = json!({"kind": kind, "apiVersion": version, "metadata": metadata});
        // Typed clients read it as any other object.
        if self.resource.is_pod() && !self.request.metadata_only {
            object["spec"] = json!({"containers": null});
            object["status"] = json!({});
        }
        line("BOOKMARK", object.to_string().as_bytes())
    }
}

fn error_line(refusal: &Refusal) -> Bytes {
    line("ERROR", refusal.json().to_string().as_bytes())
}

/// A body of one line.
fn once(text: Bytes) -> super::service::Body {
    http_body_util::Full::new(text).map_err(|never| match never {}).boxed_unsync()
}

/// What there was at the beginning, then what is told.
fn stream(lines: Vec<Bytes>, receiver: UnboundedReceiver<Signal>, view: View) -> super::service::Body {
    let wants_bookmarks = view.request.query.flag("allowWatchBookmarks");
    let begin = futures_util::stream::iter(lines.into_iter().map(|line| Ok(Frame::data(line))));
    let rest = futures_util::stream::unfold(Some((receiver, view)), move |state| async move {
        let (mut receiver, view) = state?;
        loop {
            match receiver.recv().await? {
                Signal::Event(event) => {
                    if let Some(line) = view.line(&event) {
                        return Some((Ok(Frame::data(line)), Some((receiver, view))));
                    }
                }
                Signal::Bookmark(version) if wants_bookmarks => {
                    return Some((Ok(Frame::data(view.bookmark(version, false))), Some((receiver, view))));
                }
                Signal::Bookmark(_) => {}
                Signal::Expired => {
                    let gone = Refusal::expired("The resourceVersion for the provided watch is too old.");
                    return Some((Ok(Frame::data(error_line(&gone))), None));
                }
                Signal::Broken => {
                    let error = io::Error::new(io::ErrorKind::ConnectionReset, "connection reset by peer");
                    return Some((Err(error), None));
                }
                Signal::End => return None,
            }
        }
    });
    StreamBody::new(futures_util::StreamExt::chain(begin, rest)).boxed_unsync()
}
