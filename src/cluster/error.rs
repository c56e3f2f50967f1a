//! What the API server said, as errors of ours: who may not do what, where, and what would help.

use kube::core::Status;
use runtime_core::{Error, ErrorKind};

/// What is asked of the API server: for its errors.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask<'a> {
    /// `create`, `get`, `list`, `watch`, `delete`.
    pub(super) verb: &'static str,
    /// `pods`, `jobs`: what a rule of RBAC calls it.
    pub(super) resource: &'a str,
    /// The object's name; empty for all.
    pub(super) name: &'a str,
    /// Its namespace.
    pub(super) namespace: &'a str,
}

impl Ask<'_> {
    fn object(&self) -> String {
        match self.name {
            "" => format!("{} in the namespace {}", self.resource, self.namespace),
            name => format!("{} {}/{name}", self.resource, self.namespace),
        }
    }
}

/// What to do about rights that are missing.
pub(super) const NEEDED: &str = "deploy/rbac.yaml has all that is needed";

/// What the server would not let happen, in its own words: `cannot VERB resource "RESOURCE"`. A request may need more
/// than one right.
fn denied(message: &str) -> Option<(&str, &str)> {
    let (verb, rest) = message.split_once(" cannot ")?.1.split_once(" resource \"")?;
    Some((verb, rest.split_once('"')?.0))
}

/// Whether the same request may succeed in a moment.
pub(super) fn may_pass(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => {
            matches!(status.code, 429 | 500 | 502 | 503 | 504)
                || is_timeout(status)
                || is_starting(status)
                || is_race(status)
        }
        kube::Error::HyperError(_) | kube::Error::ReadEvents(_) => true,
        // Of a connection that cannot be made, that is lost, or of TLS that does not come about.
        kube::Error::Service(error) => !is_of_credentials(error.as_ref()),
        _ => false,
    }
}

/// A server that has just begun answers 403 until it has read its rules.
fn is_starting(status: &Status) -> bool {
    status.code == 403 && status.message.contains("not yet been synced")
}

/// Somebody else changed what the server changes on the way: a quota, mostly.
fn is_race(status: &Status) -> bool {
    status.code == 409 && status.reason == "Conflict" && !is_another(status)
}

/// The object of this name is not the one that was meant.
pub(super) fn is_another(status: &Status) -> bool {
    status.code == 409 && status.message.contains("Precondition failed")
}

fn is_timeout(status: &Status) -> bool {
    status.reason == "Timeout" || status.reason == "ServerTimeout"
}

fn is_of_credentials(error: &(dyn std::error::Error + 'static)) -> bool {
    let text = chain(error);
    ["auth exec", "AuthError", "no valid authentication", "certificate"]
        .iter()
        .any(|word| text.contains(word))
}

/// An error with all that lies behind it, each once.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        next = error.source();
    }
    text
}

/// The error of a request.
pub(super) fn of(error: kube::Error, ask: Ask<'_>, server: &str) -> Error {
    match error {
        kube::Error::Api(status) => refused(*status, ask),
        // The name is a part of the address.
        kube::Error::BuildRequest(error) => {
            let message =
                format!("{} is called what no object can be called: {}", ask.object(), chain(&error));
            Error::new(ErrorKind::Invalid, message)
                .at("metadata.name")
                .help("use lower-case letters, digits and `-`")
        }
        error => {
            let text = chain(&error);
            let help = match text.contains("certificate") {
                true => {
                    "the server's certificate or yours is not accepted: check the kubeconfig, or log in again"
                }
                false => "check that it runs and can be reached from here: `kubectl version`",
            };
            Error::new(
                ErrorKind::Unavailable,
                format!("the Kubernetes API server at {server} does not answer: {text}"),
            )
            .help(help)
        }
    }
}

/// What an answer other than success means.
fn refused(status: Status, ask: Ask<'_>) -> Error {
    let (message, object) = (status.message.trim().to_owned(), ask.object());
    let at =
        status.details.as_ref().and_then(|details| details.causes.first()).map(|cause| cause.field.clone());
    let error = match status.code {
        401 => Error::new(ErrorKind::PermissionDenied, "the Kubernetes API server does not know who asks")
            .help("the credentials have expired or are wrong: log in again, or choose another context"),
        403 if message.contains("exceeded quota") => {
            Error::new(ErrorKind::Exhausted, format!("{object}: {message}"))
                .help("free some of that quota, ask for less, or have it raised")
        }
        403 if message.contains("admission")
            || message.contains("denied the request")
            || message.contains("violates") =>
        {
            Error::new(ErrorKind::PermissionDenied, format!("the cluster's rules refuse {object}: {message}"))
                .help("change what its message names")
        }
        403 if message.contains("being terminated") => {
            Error::new(ErrorKind::Conflict, format!("{object}: {message}"))
                .help("use another namespace, or wait until it is gone")
        }
        403 => {
            let (verb, resource) = denied(&message).unwrap_or(match ask.verb {
                // It may change what is there. That it may not make it is refused without a word.
                "patch" => ("create", ask.resource),
                verb => (verb, ask.resource),
            });
            Error::new(ErrorKind::PermissionDenied, format!("not allowed to {verb} {object}: {message}"))
                .help(format!("whoever runs this needs the verb `{verb}` on `{resource}`; {NEEDED}"))
        }
        404 if message.contains("namespaces") => {
            Error::not_found(format!("there is no namespace {:?}", ask.namespace))
                .help("create it, or name another one: --namespace, or `metadata.namespace` of the function")
        }
        404 if status.details.is_none() || message.contains("could not find the requested resource") => {
            Error::new(ErrorKind::Unsupported, format!("the cluster has no `{}`", ask.resource))
                .help("install the operator that brings it, or a newer Kubernetes")
        }
        404 => Error::not_found(format!("{object}: {message}")),
        409 if status.reason == "AlreadyExists" => {
            Error::new(ErrorKind::AlreadyExists, format!("{object}: {message}"))
        }
        409 => Error::new(ErrorKind::Conflict, format!("{object}: {message}")),
        413 => Error::new(ErrorKind::Invalid, format!("{object} is too large for the cluster: {message}"))
            .help("make code and parameters smaller, or put them into an image, an archive or an input"),
        400 | 422 => {
            let kind = if message.contains("must have at most") || message.contains("Too long") {
                " (too large)"
            } else {
                ""
            };
            Error::new(ErrorKind::Invalid, format!("the cluster does not take {object}{kind}: {message}"))
                .help("change the field that its message names")
        }
        429 | 500.. => Error::new(ErrorKind::Unavailable, format!("{object}: {message} ({})", status.code)),
        code => Error::new(ErrorKind::Internal, format!("{object}: {message} ({code})")),
    };
    match at {
        Some(field) if !field.is_empty() => error.at(field),
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(code: u16, reason: &str, message: &str) -> Error {
        let status = Status { code, reason: reason.into(), message: message.into(), ..Status::default() };
        let ask = Ask { verb: "create", resource: "pods", name: "x", namespace: "n" };
        of(kube::Error::Api(Box::new(status)), ask, "https://c")
    }

    #[test]
    fn a_name_that_is_no_part_of_an_address_is_named() {
        let ask = Ask { verb: "create", resource: "pods", name: "No Name", namespace: "n" };
        let error = kube::core::request::Error::Validation("invalid uri character".to_owned());
        let error = of(kube::Error::BuildRequest(error), ask, "https://c");
        assert_eq!((error.kind(), error.location()), (ErrorKind::Invalid, Some("metadata.name")));
        assert!(error.to_string().contains("No Name"), "{error}");
    }

    #[test]
    fn answers_say_what_to_do() {
        for (code, reason, message, kind, word) in [
            (401, "Unauthorized", "Unauthorized", ErrorKind::PermissionDenied, "log in again"),
            (403, "Forbidden", "pods is forbidden: exceeded quota: q", ErrorKind::Exhausted, "quota"),
            (
                403,
                "Forbidden",
                "pods is forbidden: User \"u\" cannot list resource \"pods\" in API group \"\"",
                ErrorKind::PermissionDenied,
                "verb `list` on `pods`",
            ),
            (404, "NotFound", "namespaces \"n\" not found", ErrorKind::NotFound, "--namespace"),
            (413, "RequestEntityTooLarge", "too large", ErrorKind::Invalid, "archive"),
            (422, "Invalid", "spec.x: wrong", ErrorKind::Invalid, "field"),
        ] {
            let error = error(code, reason, message);
            assert_eq!(error.kind(), kind, "{message}");
            assert!(error.help_text().unwrap().contains(word), "{error}");
        }
    }

    #[test]
    fn what_may_pass_is_tried_again() {
        let api = |code| kube::Error::Api(Box::new(Status { code, ..Status::default() }));
        assert!([429, 500, 503, 504].into_iter().all(|code| may_pass(&api(code))));
        assert!(![400, 401, 403, 404, 409, 422].into_iter().any(|code| may_pass(&api(code))));
    }
}
