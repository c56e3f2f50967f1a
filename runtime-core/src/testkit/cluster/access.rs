//! Who may do what. Everything may be done that no rule forbids.

use serde_json::{Value, json};

use super::{request::Request, status::Refusal};

/// What is not allowed: verbs, on resources, in namespaces. What is not said stands for all.
#[derive(Clone, Debug, Default)]
pub struct Forbid {
    verbs: Vec<String>,
    resources: Vec<String>,
    namespace: Option<String>,
}

impl Forbid {
    /// A verb: `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`.
    pub fn verb(verb: &str) -> Self {
        Self { verbs: vec![verb.to_owned()], ..Self::default() }
    }

    /// Whatever is done.
    pub fn all() -> Self {
        Self::default()
    }

    /// This verb, too.
    #[must_use]
    pub fn and(mut self, verb: &str) -> Self {
        self.verbs.push(verb.to_owned());
        self
    }

    /// On this resource: its plural, with its subresource where it has one (`pods`, `pods/log`).
    #[must_use]
    pub fn on(mut self, resource: &str) -> Self {
        self.resources.push(resource.to_owned());
        self
    }

    /// In this namespace.
    #[must_use]
    pub fn in_namespace(mut self, namespace: &str) -> Self {
        self.namespace = Some(namespace.to_owned());
        self
    }

    fn covers(&self, verb: &str, resource: &str, namespace: Option<&str>) -> bool {
        let any =
            |all: &[String], one: &str| all.is_empty() || all.iter().any(|this| this == one || this == "*");
        any(&self.verbs, verb)
            && any(&self.resources, resource)
            && self.namespace.as_deref().is_none_or(|this| namespace == Some(this))
    }
}

/// The rules, and who asks.
#[derive(Debug)]
pub(super) struct Access {
    pub(super) rules: Vec<Forbid>,
    pub(super) user: String,
}

impl Default for Access {
    fn default() -> Self {
        Self { rules: Vec::new(), user: "system:serviceaccount:default:runtimes".to_owned() }
    }
}

impl Access {
    fn forbids(&self, verb: &str, resource: &str, namespace: Option<&str>) -> bool {
        self.rules.iter().any(|rule| rule.covers(verb, resource, namespace))
    }

    pub(super) fn check(&self, request: &Request) -> Result<(), Refusal> {
        let resource = match &request.subresource {
            Some(sub) => format!("{}/{sub}", request.plural),
            None => request.plural.clone(),
        };
        let namespace = request.namespace.as_deref();
        if !self.forbids(request.verb, &resource, namespace) {
            return Ok(());
        }
        let place = match namespace {
            Some(namespace) => format!("in the namespace {namespace:?}"),
            None => "at the cluster scope".to_owned(),
        };
        let (user, verb, group) = (&self.user, request.verb, &request.group);
        let why = format!("User {user:?} cannot {verb} resource {resource:?} in API group {group:?} {place}");
        let name = request.name.as_deref().unwrap_or_default();
        Err(Refusal::forbidden(group, &request.plural, name, &why))
    }

    /// Answers a `SelfSubjectAccessReview`.
    pub(super) fn review(&self, body: &[u8]) -> Result<Value, Refusal> {
        let mut review: Value =
            serde_json::from_slice(body).map_err(|error| Refusal::bad_request(error.to_string()))?;
        let asked = review["spec"]["resourceAttributes"].clone();
        let text = |name: &str| asked[name].as_str().unwrap_or_default();
        let resource = match text("subresource") {
            "" => text("resource").to_owned(),
            sub => format!("{}/{sub}", text("resource")),
        };
        let namespace = Some(text("namespace")).filter(|namespace| !namespace.is_empty());
        let allowed = !self.forbids(text("verb"), &resource, namespace);
        super::object::map(&mut review).insert("status".to_owned(), json!({"allowed": allowed}));
        Ok(review)
    }
}
