//! What goes wrong on purpose.

use std::time::Duration;

use super::{
    request::Request,
    status::{Refusal, qualified},
};

/// Something that goes wrong with the next requests that it fits: once, unless told otherwise.
///
/// ```
/// use runtime_core::testkit::cluster::{FakeCluster, Fault};
///
/// let cluster = FakeCluster::new();
/// cluster.fault(Fault::too_many_requests(1).on("create", "pods").times(3));
/// cluster.fault(Fault::answer_lost().on("delete", "*"));
/// ```
#[derive(Clone, Debug)]
pub struct Fault {
    what: Harm,
    verb: String,
    resource: String,
    name: Option<String>,
    skip: usize,
    times: usize,
}

/// What happens to a request.
#[derive(Clone, Debug)]
pub(super) enum Harm {
    Refuse(u16, u64),
    /// There is no answer, and nothing was done.
    Unreachable,
    /// It was done, but the answer is lost.
    AnswerLost,
    Delay(Duration),
    /// It waits until the test says so.
    Hold(String),
}

impl Fault {
    fn new(what: Harm) -> Self {
        Self { what, verb: "*".to_owned(), resource: "*".to_owned(), name: None, skip: 0, times: 1 }
    }

    /// 409 `Conflict`.
    pub fn conflict() -> Self {
        Self::new(Harm::Refuse(409, 0))
    }

    /// 410 `Expired`.
    pub fn gone() -> Self {
        Self::new(Harm::Refuse(410, 0))
    }

    /// 401 `Unauthorized`, as with credentials that are over.
    pub fn unauthorized() -> Self {
        Self::new(Harm::Refuse(401, 0))
    }

    /// 429 `TooManyRequests`, with `Retry-After` in seconds.
    pub fn too_many_requests(retry_after: u64) -> Self {
        Self::new(Harm::Refuse(429, retry_after))
    }

    /// 500 `InternalError`.
    pub fn internal() -> Self {
        Self::new(Harm::Refuse(500, 0))
    }

    /// 503 `ServiceUnavailable`.
    pub fn unavailable() -> Self {
        Self::new(Harm::Refuse(503, 0))
    }

    /// 504 `Timeout`. Nothing was done.
    pub fn timeout() -> Self {
        Self::new(Harm::Refuse(504, 0))
    }

    /// No connection: nothing was done.
    pub fn unreachable() -> Self {
        Self::new(Harm::Unreachable)
    }

    /// What was asked for is done, and the connection breaks before the answer.
    pub fn answer_lost() -> Self {
        Self::new(Harm::AnswerLost)
    }

    /// The request waits before anything is done.
    pub fn delay(delay: Duration) -> Self {
        Self::new(Harm::Delay(delay))
    }

    /// The request waits until [`FakeCluster::go`](super::FakeCluster::go) says this word.
    pub fn hold(word: &str) -> Self {
        Self::new(Harm::Hold(word.to_owned()))
    }

    /// Only requests of this verb on this resource; `*` stands for any, `pods/log` for a subresource.
    #[must_use]
    pub fn on(mut self, verb: &str, resource: &str) -> Self {
        verb.clone_into(&mut self.verb);
        resource.clone_into(&mut self.resource);
        self
    }

    /// Only requests that name this object.
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self
    }

    /// So many times.
    #[must_use]
    pub fn times(mut self, times: usize) -> Self {
        self.times = times;
        self
    }

    /// Not with the first so many requests that it fits.
    #[must_use]
    pub fn after(mut self, requests: usize) -> Self {
        self.skip = requests;
        self
    }

    fn fits(&self, request: &Request) -> bool {
        let resource = match &request.subresource {
            Some(sub) => format!("{}/{sub}", request.plural),
            None => request.plural.clone(),
        };
        (self.verb == "*" || self.verb == request.verb)
            && (self.resource == "*" || self.resource == resource)
            && self.name.as_ref().is_none_or(|name| request.name.as_ref() == Some(name))
    }
}

/// The faults that are still to happen.
#[derive(Debug, Default)]
pub(super) struct Faults {
    pub(super) all: Vec<Fault>,
    /// Nothing can be reached.
    pub(super) down: bool,
}

impl Faults {
    /// What happens to this request.
    pub(super) fn next(&mut self, request: &Request) -> Option<Harm> {
        if self.down {
            return Some(Harm::Unreachable);
        }
        let fault = self.all.iter_mut().find(|fault| fault.times > 0 && fault.fits(request))?;
        if fault.skip > 0 {
            fault.skip -= 1;
            return None;
        }
        fault.times -= 1;
        let harm = fault.what.clone();
        self.all.retain(|fault| fault.times > 0);
        Some(harm)
    }
}

/// The refusal of a fault, as servers say it.
pub(super) fn refusal(code: u16, seconds: u64, request: &Request) -> Refusal {
    let what = qualified(&request.group, &request.plural);
    let name = request.name.as_deref().unwrap_or_default();
    match code {
        401 => Refusal::new(401, "Unauthorized", "Unauthorized"),
        409 => {
            let why =
                "the object has been modified; please apply your changes to the latest version and try again";
            Refusal::conflict(&request.group, &request.plural, name, why)
        }
        410 => Refusal::expired("The resourceVersion for the provided request is too old."),
        429 => Refusal::too_many(seconds, "Too many requests, please try again later."),
        503 => {
            Refusal::new(503, "ServiceUnavailable", "the server is currently unable to handle the request")
        }
        504 => {
            let message = format!("Timeout: request did not complete within the allotted timeout ({what})");
            Refusal::new(504, "Timeout", message)
        }
        code => Refusal::new(code, "InternalError", format!("Internal error occurred: fault in {what}")),
    }
}
