//! What a request asks for.

use std::collections::HashMap;

use bytes::Bytes;
use http::{HeaderMap, Method, Uri, header};

use super::status::Refusal;

/// A request to a resource.
#[derive(Clone, Debug, Default)]
pub(super) struct Request {
    /// As access rules call it: `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`.
    pub(super) verb: &'static str,
    pub(super) group: String,
    pub(super) version: String,
    pub(super) plural: String,
    pub(super) namespace: Option<String>,
    pub(super) name: Option<String>,
    pub(super) subresource: Option<String>,
    pub(super) query: Query,
    pub(super) body: Bytes,
    pub(super) content_type: String,
    /// Only the metadata is wanted.
    pub(super) metadata_only: bool,
    pub(super) user_agent: String,
}

/// The parameters after the question mark.
#[derive(Clone, Debug, Default)]
pub(super) struct Query(HashMap<String, String>);

impl Query {
    fn of(uri: &Uri) -> Self {
        let text = uri.query().unwrap_or_default();
        Self(form_urlencoded::parse(text.as_bytes()).into_owned().collect())
    }

    /// A parameter, unless it is empty.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    pub(super) fn flag(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|value| value == "true" || value == "1")
    }

    pub(super) fn number(&self, name: &str) -> Result<Option<u64>, Refusal> {
        let Some(text) = self.get(name) else { return Ok(None) };
        text.parse().map(Some).map_err(|_| {
            Refusal::bad_request(format!("strconv.ParseInt: parsing {text:?}: invalid syntax ({name})"))
        })
    }

    pub(super) fn dry_run(&self) -> bool {
        self.get("dryRun") == Some("All")
    }
}

/// Where a request goes.
pub(super) enum Route {
    Resource(Box<Request>),
    /// What the server has, by path segments.
    Discovery(Vec<String>),
    /// `/healthz` and its kind.
    Health,
}

/// Reads method, path and headers. The body is added later.
pub(super) fn route(method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<Route, Refusal> {
    let parts: Vec<String> = uri.path().split('/').filter(|part| !part.is_empty()).map(decoded).collect();
    let words: Vec<&str> = parts.iter().map(String::as_str).collect();
    let (group, version, rest) = match words.as_slice() {
        ["healthz" | "livez" | "readyz", ..] => return Ok(Route::Health),
        ["api", version, rest @ ..] if !rest.is_empty() => ("", *version, rest),
        ["apis", group, version, rest @ ..] if !rest.is_empty() => (*group, *version, rest),
        _ => return Ok(Route::Discovery(parts)),
    };
    let (namespace, rest) = match rest {
        // The namespaces themselves are a resource.
        ["namespaces", _] | ["namespaces", _, "status" | "finalize"] => (None, rest),
        ["namespaces", namespace, rest @ ..] => (Some(*namespace), rest),
        rest => (None, rest),
    };
    let (plural, name, subresource) = match *rest {
        [plural] => (plural, None, None),
        [plural, name] => (plural, Some(name), None),
        [plural, name, subresource] => (plural, Some(name), Some(subresource)),
        _ => return Err(Refusal::unknown()),
    };
    let query = Query::of(uri);
    let watching = query.flag("watch");
    let verb = match (method.as_str(), name.is_some()) {
        ("GET", true) => "get",
        ("GET", false) if watching => "watch",
        ("GET", false) => "list",
        ("POST", _) => "create",
        ("PUT", true) => "update",
        ("PATCH", true) => "patch",
        ("DELETE", true) => "delete",
        ("DELETE", false) => "deletecollection",
        _ => {
            let message = "the server does not allow this method on the requested resource";
            return Err(Refusal::new(405, "MethodNotAllowed", message));
        }
    };
    let header = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let wanted = header(header::ACCEPT);
    Ok(Route::Resource(Box::new(Request {
        verb,
        group: group.to_owned(),
        version: version.to_owned(),
        plural: plural.to_owned(),
        namespace: namespace.map(str::to_owned),
        name: name.map(str::to_owned),
        subresource: subresource.map(str::to_owned),
        query,
        body: Bytes::new(),
        content_type: header(header::CONTENT_TYPE).split(';').next().unwrap_or_default().trim().to_owned(),
        metadata_only: wanted.contains("as=PartialObjectMetadata"),
        user_agent: header(header::USER_AGENT).to_owned(),
    })))
}

/// A path segment without its percent signs.
fn decoded(part: &str) -> String {
    // A plus sign means itself in a path.
    let text = format!("={}", part.replace('+', "%2B"));
    form_urlencoded::parse(text.as_bytes()).next().map(|(_, value)| value.into_owned()).unwrap_or_default()
}

impl Request {
    /// Who changes fields: `fieldManager`, or the name of the program.
    pub(super) fn manager(&self) -> &str {
        let program = self.user_agent.split('/').next().filter(|name| !name.is_empty()).unwrap_or("unknown");
        self.query.get("fieldManager").unwrap_or(program)
    }
}
