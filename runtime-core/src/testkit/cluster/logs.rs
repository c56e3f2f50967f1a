//! What containers printed.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

use super::{
    call::{Answer, Call},
    object::Object,
    service::Body,
    status::Refusal,
};

/// The logs of all pods, by their uids.
#[derive(Debug, Default)]
pub(super) struct Logs {
    pods: HashMap<String, Arc<PodLog>>,
}

/// The logs of a pod's containers, and who follows them.
#[derive(Debug)]
struct PodLog {
    containers: Mutex<HashMap<String, ContainerLog>>,
    changed: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct ContainerLog {
    lines: Vec<Line>,
    previous: Option<Vec<Line>>,
    runs: bool,
    /// Which start of the container it is.
    start: usize,
}

#[derive(Clone, Debug)]
struct Line {
    time: Timestamp,
    bytes: Bytes,
    /// Its end was printed, too; otherwise the next one goes on with it.
    ends: bool,
}

impl PodLog {
    fn containers(&self) -> MutexGuard<'_, HashMap<String, ContainerLog>> {
        self.containers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Logs {
    fn change(&mut self, uid: &str, container: &str, change: impl FnOnce(&mut ContainerLog)) {
        let pod = self.pods.entry(uid.to_owned()).or_insert_with(|| {
            let (changed, _) = watch::channel(());
            Arc::new(PodLog { containers: Mutex::default(), changed })
        });
        change(pod.containers().entry(container.to_owned()).or_default());
        pod.changed.send_replace(());
    }

    /// A container starts, for the first time or again.
    pub(super) fn begin(&mut self, uid: &str, container: &str) {
        self.change(uid, container, |log| {
            if log.start > 0 {
                log.previous = Some(std::mem::take(&mut log.lines));
            }
            log.start += 1;
            log.runs = true;
        });
    }

    /// A line was printed, or a piece of one, without its end.
    pub(super) fn print(&mut self, uid: &str, container: &str, time: Timestamp, bytes: Bytes, ends: bool) {
        let line = Line { time, bytes, ends };
        self.change(uid, container, |log| log.lines.push(line));
    }

    pub(super) fn end(&mut self, uid: &str, container: &str) {
        self.change(uid, container, |log| log.runs = false);
    }

    pub(super) fn end_all(&mut self, uid: &str) {
        if let Some(pod) = self.pods.get(uid) {
            pod.containers().values_mut().for_each(|log| log.runs = false);
            pod.changed.send_replace(());
        }
    }

    /// The pod is gone: whoever follows it comes to the end.
    pub(super) fn forget(&mut self, uid: &str) {
        self.end_all(uid);
        self.pods.remove(uid);
    }
}

/// Which lines are wanted, and how.
struct Wanted {
    timestamps: bool,
    since: Option<Timestamp>,
    limit: Option<usize>,
    /// What is next goes on with a line that was sent.
    goes_on: bool,
}

impl Call<'_> {
    pub(super) fn log(&mut self) -> Result<Answer, Refusal> {
        let pod = self.found()?;
        let name = self.container(&pod)?;
        if pod.str_at("/spec/nodeName").is_empty() {
            return Ok(Answer::Empty);
        }
        if self.world.lost_nodes.contains(pod.str_at("/spec/nodeName")) {
            let address =
                format!("https://10.0.0.1:10250/containerLogs/{}/{}/{name}", pod.namespace(), pod.name());
            let message = format!("Get {address:?}: dial tcp 10.0.0.1:10250: connect: no route to host");
            return Err(Refusal::new(500, "InternalError", message));
        }
        let query = &self.request.query;
        let since = match (query.get("sinceTime"), query.number("sinceSeconds")?) {
            (Some(text), _) => Some(text.parse().map_err(|error| {
                Refusal::bad_request(format!("parsing time {text:?} as RFC 3339: {error}"))
            })?),
            (None, Some(seconds)) => {
                let back = SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX));
                self.world.clock.now().saturating_sub(back).ok()
            }
            (None, None) => None,
        };
        let limit = query.number("limitBytes")?.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
        let tail = query.number("tailLines")?.map(|tail| usize::try_from(tail).unwrap_or(usize::MAX));
        let mut wanted = Wanted { timestamps: query.flag("timestamps"), since, limit, goes_on: false };
        let (follow, previous) = (query.flag("follow"), query.flag("previous"));
        let log = self.world.logs.pods.get(pod.uid()).cloned();
        let Some(log) = log.filter(|log| log.containers().contains_key(&name)) else {
            return Err(not_started(&pod, &name, previous));
        };
        let containers = log.containers();
        let Some(own) = containers.get(&name) else { return Err(not_started(&pod, &name, previous)) };
        if previous {
            let lines = own.previous.as_ref().ok_or_else(|| not_started(&pod, &name, true))?;
            return Ok(Answer::Text(wanted.cut(lines, tail).0));
        }
        let (text, left) = wanted.cut(&own.lines, tail);
        if !follow {
            return Ok(Answer::Text(text));
        }
        let at = Place { container: name, start: own.start, next: own.lines.len() };
        drop(containers);
        Ok(Answer::Stream("text/plain", stream(text, log, at, Wanted { limit: left, ..wanted })))
    }

    /// The container whose log is wanted.
    fn container(&self, pod: &Object) -> Result<String, Refusal> {
        let all = |list| pod.at(list).and_then(serde_json::Value::as_array).into_iter().flatten();
        let names = |list| all(list).filter_map(|one| one["name"].as_str());
        let main: Vec<_> = names("/spec/containers").collect();
        match self.request.query.get("container") {
            Some(name) if main.contains(&name) || names("/spec/initContainers").any(|one| one == name) => {
                Ok(name.to_owned())
            }
            Some(name) => {
                Err(Refusal::bad_request(format!("container {name} is not valid for pod {}", pod.name())))
            }
            None if main.len() == 1 => Ok(main.concat()),
            None => Err(Refusal::bad_request(format!(
                "a container name must be specified for pod {}, choose one of: [{}]",
                pod.name(),
                main.join(" ")
            ))),
        }
    }
}

fn not_started(pod: &Object, name: &str, previous: bool) -> Refusal {
    if previous {
        let message = format!("previous terminated container {name:?} in pod {:?} not found", pod.name());
        return Refusal::bad_request(message);
    }
    let statuses = pod.at("/status/containerStatuses").and_then(serde_json::Value::as_array);
    let own = statuses.into_iter().flatten().find(|one| one["name"] == name);
    let reason =
        own.and_then(|one| one["state"]["waiting"]["reason"].as_str()).unwrap_or("ContainerCreating");
    let why = if reason.contains("Image") && reason != "ContainerCreating" {
        format!(
            "is waiting to start: {}",
            if reason == "ErrImagePull" {
                "image can't be pulled"
            } else {
                "trying and failing to pull image"
            }
        )
    } else {
        format!("is waiting to start: {reason}")
    };
    Refusal::bad_request(format!("container {name:?} in pod {:?} {why}", pod.name()))
}

impl Wanted {
    /// The text of lines, and how many bytes may still come.
    fn cut(&mut self, lines: &[Line], tail: Option<usize>) -> (Bytes, Option<usize>) {
        let mut lines: Vec<_> =
            lines.iter().filter(|line| self.since.is_none_or(|since| line.time >= since)).collect();
        if let Some(tail) = tail {
            lines.drain(..lines.len().saturating_sub(tail));
        }
        let mut text = Vec::new();
        for line in lines {
            if self.timestamps && !self.goes_on {
                text.extend_from_slice(format!("{:.9} ", line.time).as_bytes());
            }
            text.extend_from_slice(&line.bytes);
            if line.ends {
                text.push(b'\n');
            }
            self.goes_on = !line.ends;
        }
        let mut bytes = Bytes::from(text);
        if let Some(limit) = self.limit {
            bytes.truncate(limit);
        }
        let left = self.limit.map(|limit| limit - bytes.len());
        (bytes, left)
    }
}

/// How far a log was sent.
struct Place {
    container: String,
    start: usize,
    next: usize,
}

/// What was printed, and then each line until the container ends.
fn stream(begin: Bytes, log: Arc<PodLog>, at: Place, wanted: Wanted) -> Body {
    let changed = log.changed.subscribe();
    let state = (log, at, wanted, changed);
    let rest = futures_util::stream::unfold(state, |(log, mut at, mut wanted, mut changed)| async move {
        loop {
            changed.borrow_and_update();
            let (text, over) = {
                let containers = log.containers();
                let own = containers.get(&at.container)?;
                if own.start == at.start {
                    let (text, left) = wanted.cut(own.lines.get(at.next..).unwrap_or_default(), None);
                    at.next = own.lines.len();
                    wanted.limit = left;
                    (text, !own.runs)
                } else {
                    // It was started again; what it printed before its end is the previous log's.
                    let lines = own.previous.as_deref().unwrap_or_default();
                    let (text, _) = wanted.cut(lines.get(at.next..).unwrap_or_default(), None);
                    at.next = usize::MAX;
                    (text, true)
                }
            };
            if !text.is_empty() {
                return Some((Ok::<_, io::Error>(Frame::data(text)), (log, at, wanted, changed)));
            }
            if over || wanted.limit == Some(0) {
                return None;
            }
            changed.changed().await.ok()?;
        }
    });
    let begin = futures_util::stream::iter((!begin.is_empty()).then(|| Ok(Frame::data(begin))));
    StreamBody::new(futures_util::StreamExt::chain(begin, rest)).boxed_unsync()
}
