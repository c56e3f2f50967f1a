//! What a storage says went wrong, in our words. Of a server's answer, its code and its message are kept and nothing
//! else: the rest may quote the request, and with it what signs it.

use std::error::Error as _;

use runtime_core::{Error, ErrorKind};

use super::{Place, credentials};

/// A client that could not even be made.
#[cfg(feature = "_cloud")]
pub(super) fn open(place: &Place, project: &str, error: object_store::Error) -> Error {
    let why = innermost(&error);
    Error::new(ErrorKind::Invalid, format!("{place} cannot be opened: {why}"))
        .help(credentials::how_to_set(place.scheme(), project))
}

/// A request that failed. `action` is what was being done: `read`, `write`, `list`.
pub(super) fn request(action: &str, place: &Place, project: &str, error: object_store::Error) -> Error {
    use object_store::Error as E;
    if asks_the_machine(&error) {
        return Error::new(
            ErrorKind::PermissionDenied,
            format!("cannot {action} {place}: there are no credentials"),
        )
        .help(credentials::how_to_set(place.scheme(), project));
    }
    let answer = Answer::of(&error.to_string());
    let refused = matches!(error, E::PermissionDenied { .. } | E::Unauthenticated { .. })
        || matches!(answer.status, Some(401 | 403));
    if refused {
        return Error::new(
            ErrorKind::PermissionDenied,
            format!("cannot {action} {place}: access denied{}", answer.said()),
        )
        .help(credentials::how_to_set(place.scheme(), project));
    }
    if matches!(error, E::NotFound { .. }) || answer.status == Some(404) {
        return missing(action, place, &answer);
    }
    let error = match (answer.status, &error) {
        (Some(status), _) => {
            let kind =
                if status >= 500 || status == 429 { ErrorKind::Unavailable } else { ErrorKind::Invalid };
            Error::new(
                kind,
                format!("cannot {action} {place}: the server answered {status}{}", answer.said()),
            )
        }
        (None, E::Generic { .. }) => {
            let why = innermost(&error);
            if let Some(io) = disk(&error) {
                return io;
            }
            Error::new(ErrorKind::Unavailable, format!("cannot {action} {place}: {why}"))
                .help("check the URL, the endpoint and the network, then run it again")
        }
        (None, _) => Error::new(ErrorKind::Io, format!("cannot {action} {place}: {}", innermost(&error))),
    };
    if answer.code.as_deref() == Some("PermanentRedirect")
        || answer.code.as_deref() == Some("AuthorizationHeaderMalformed")
    {
        return error.help("the bucket may be in another region: set AWS_REGION");
    }
    error
}

/// Whether no request at all can succeed after this answer to one for an object that need not exist: who asks is not
/// known there, nothing is there, or nobody answers. That one may not read there does not say that one may not write.
pub(super) fn is_hopeless(error: &object_store::Error) -> bool {
    const UNKNOWN: [&str; 7] = [
        "NoSuchBucket",
        "ContainerNotFound",
        "InvalidAccessKeyId",
        "SignatureDoesNotMatch",
        "ExpiredToken",
        "InvalidToken",
        "AuthenticationFailed",
    ];
    let answer = Answer::of(&error.to_string());
    let unreachable = answer.status.is_none() && matches!(error, object_store::Error::Generic { .. });
    unreachable || asks_the_machine(error) || answer.code.is_some_and(|code| UNKNOWN.contains(&code.as_str()))
}

fn missing(action: &str, place: &Place, answer: &Answer) -> Error {
    match answer.code.as_deref() {
        Some("NoSuchBucket" | "ContainerNotFound") => {
            Error::not_found(format!("cannot {action} {place}: there is no bucket {:?}", place.bucket()))
                .help("check its name; buckets are not made here")
        }
        Some("NoSuchUpload") => Error::new(
            ErrorKind::Conflict,
            format!("cannot {action} {place}: somebody ended the upload before it was complete"),
        ),
        _ => Error::not_found(format!("there is no object {place}"))
            .help("check the path; end it with `/` for all that lies below it"),
    }
}

/// The file system's own error, where it is one.
fn disk(error: &object_store::Error) -> Option<Error> {
    let mut source = error.source();
    while let Some(inner) = source {
        if let Some(io) = inner.downcast_ref::<std::io::Error>()
            && matches!(io.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::PermissionDenied)
        {
            let io = std::io::Error::new(io.kind(), io.to_string());
            return Some(Error::io("write", "there", io));
        }
        source = inner.source();
    }
    None
}

/// Whether the credentials were sought at the service of a cloud's machines, for want of others.
fn asks_the_machine(error: &object_store::Error) -> bool {
    let text = error.to_string();
    text.contains("169.254.169.254") || text.contains("metadata.google.internal")
}

/// The error at the root of the others: those around it repeat URLs.
fn innermost(error: &object_store::Error) -> String {
    let mut last: &dyn std::error::Error = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}

/// What is worth repeating of a server's answer.
#[derive(Debug, Default, PartialEq)]
struct Answer {
    status: Option<u16>,
    code: Option<String>,
    message: Option<String>,
}

impl Answer {
    fn of(text: &str) -> Self {
        let status = text.split_once("status code: ").and_then(|(_, rest)| rest.get(..3)?.parse().ok());
        let tag = |name: &str| {
            let (_, rest) = text.split_once(&format!("<{name}>"))?;
            let (inside, _) = rest.split_once(&format!("</{name}>"))?;
            // Azure adds lines that quote the request.
            let line = inside.lines().next().unwrap_or_default().trim();
            (!line.is_empty() && line.len() < 300).then(|| line.to_owned())
        };
        Self { status, code: tag("Code"), message: tag("Message") }
    }

    /// ` (Code: message)`, where it said so.
    fn said(&self) -> String {
        match (&self.code, &self.message) {
            (Some(code), Some(message)) => format!(" ({code}: {message})"),
            (Some(one), None) | (None, Some(one)) => format!(" ({one})"),
            (None, None) => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_an_answer_only_code_and_message_are_kept() {
        let text = "Error performing PUT http://h/b/k in 2ms - Server returned non-2xx status code: 403 Forbidden: \
                    <?xml version=\"1.0\"?><Error><Code>SignatureDoesNotMatch</Code><Message>It does not match.</Message>\
                    <AWSAccessKeyId>AKIAKEY</AWSAccessKeyId><StringToSign>x-amz-security-token:t0ken</StringToSign></Error>";
        let source = object_store::Error::PermissionDenied { path: "k".into(), source: text.into() };
        let error = request("write", &Place::parse("s3://b/k").unwrap(), "p", source);
        assert_eq!(
            error.message(),
            "cannot write s3://b/k: access denied (SignatureDoesNotMatch: It does not match.)"
        );
        assert!(error.help_text().unwrap().contains("mlrun-project-secrets-p"));
        let shown = format!("{error:?}");
        assert!(!shown.contains("AKIAKEY") && !shown.contains("t0ken"), "{shown}");
    }

    #[test]
    fn a_missing_bucket_is_no_missing_object() {
        let place = Place::parse("s3://b/k").unwrap();
        let of = |body: &str| {
            let text = format!("Server returned non-2xx status code: 404 Not Found: {body}");
            request(
                "read",
                &place,
                "p",
                object_store::Error::NotFound { path: "k".into(), source: text.into() },
            )
        };
        assert_eq!(
            of("<Code>NoSuchBucket</Code>").message(),
            "cannot read s3://b/k: there is no bucket \"b\""
        );
        assert_eq!(of("<Code>NoSuchKey</Code>").message(), "there is no object s3://b/k");
    }
}
