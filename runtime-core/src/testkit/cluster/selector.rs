//! Label and field selectors.

use serde_json::Value;

use super::{object::Object, request::Request, resource::Resource, status::Refusal};

/// Which objects are wanted.
#[derive(Clone, Debug, Default)]
pub(super) struct Selector {
    labels: Vec<Requirement>,
    fields: Vec<Field>,
    namespace: Option<String>,
}

#[derive(Clone, Debug)]
struct Requirement {
    key: String,
    test: Test,
}

#[derive(Clone, Debug)]
enum Test {
    Exists,
    Absent,
    In(Vec<String>),
    NotIn(Vec<String>),
    Greater(i64),
    Less(i64),
}

#[derive(Clone, Debug)]
struct Field {
    pointer: String,
    value: String,
    equal: bool,
}

impl Selector {
    pub(super) fn of(request: &Request, resource: &Resource) -> Result<Self, Refusal> {
        let labels = request.query.get("labelSelector").map(labels).transpose()?.unwrap_or_default();
        let fields = request.query.get("fieldSelector").unwrap_or_default();
        let fields = fields.split(',').filter(|term| !term.is_empty());
        let fields = fields.map(|term| field(term, resource)).collect::<Result<_, _>>()?;
        Ok(Self { labels, fields, namespace: request.namespace.clone() })
    }

    pub(super) fn matches(&self, object: &Object) -> bool {
        let labels = object.meta("labels");
        self.namespace.as_deref().is_none_or(|namespace| namespace == object.namespace())
            && self.labels.iter().all(|requirement| requirement.holds(labels))
            && self.fields.iter().all(|field| field.holds(object))
    }
}

impl Requirement {
    fn holds(&self, labels: Option<&Value>) -> bool {
        let value = labels.and_then(|labels| labels.get(&self.key)).and_then(Value::as_str);
        let number = || value.and_then(|value| value.parse::<i64>().ok());
        match &self.test {
            Test::Exists => value.is_some(),
            Test::Absent => value.is_none(),
            Test::In(values) => value.is_some_and(|value| values.iter().any(|one| one == value)),
            Test::NotIn(values) => value.is_none_or(|value| values.iter().all(|one| one != value)),
            Test::Greater(than) => number().is_some_and(|number| number > *than),
            Test::Less(than) => number().is_some_and(|number| number < *than),
        }
    }
}

impl Field {
    fn holds(&self, object: &Object) -> bool {
        (text(object.at(&self.pointer)) == self.value) == self.equal
    }
}

/// A field's value as a selector compares it.
fn text(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// The fields that can be selected by, beside name and namespace.
fn selectable(resource: &Resource, field: &str) -> bool {
    let fields: &[&str] = match (resource.group.as_str(), resource.kind.as_str()) {
        ("", "Pod") => &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
        ],
        ("", "Event") => &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
        ("", "Secret") => &["type"],
        ("", "Namespace") => &["status.phase"],
        ("", "Node") => &["spec.unschedulable"],
        ("batch", "Job") => &["status.successful"],
        _ => &[],
    };
    matches!(field, "metadata.name" | "metadata.namespace") || fields.contains(&field)
}

fn field(term: &str, resource: &Resource) -> Result<Field, Refusal> {
    let (name, value, equal) = match term.split_once("!=") {
        Some((name, value)) => (name, value, false),
        None => match term.split_once("==").or_else(|| term.split_once('=')) {
            Some((name, value)) => (name, value, true),
            None => {
                let message = format!("invalid selector: '{term}'; can't understand '{term}'");
                return Err(Refusal::bad_request(message));
            }
        },
    };
    let name = name.trim();
    if !selectable(resource, name) {
        return Err(Refusal::bad_request(format!("field label not supported: {name}")));
    }
    let pointer = match name {
        "source" => "/source/component".to_owned(),
        "status.successful" => "/status/succeeded".to_owned(),
        name => format!("/{}", name.replace('.', "/")),
    };
    Ok(Field { pointer, value: value.trim().to_owned(), equal })
}

/// Reads `a=b,c!=d,e in (f, g),h notin (i),j,!k,l>1`.
fn labels(text: &str) -> Result<Vec<Requirement>, Refusal> {
    terms(text).into_iter().map(|term| requirement(term.trim())).collect()
}

/// Splits at commas outside of parentheses.
fn terms(text: &str) -> Vec<&str> {
    let (mut depth, mut begin, mut terms) = (0_u32, 0, Vec::new());
    for (at, letter) in text.char_indices() {
        match letter {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                terms.push(&text[begin..at]);
                begin = at + 1;
            }
            _ => {}
        }
    }
    terms.push(&text[begin..]);
    terms
}

fn requirement(term: &str) -> Result<Requirement, Refusal> {
    let wrong = |what: String| Refusal::bad_request(format!("unable to parse requirement: {what}"));
    let key = |key: &str| {
        let key = key.trim().to_owned();
        match super::names::label_key(&key) {
            Ok(()) => Ok(key),
            Err(why) => Err(wrong(format!("<nil>: Invalid value: {key:?}: {why}"))),
        }
    };
    let value = |value: &str| {
        let value = value.trim().to_owned();
        match super::names::label_value(&value) {
            Ok(()) => Ok(value),
            Err(why) => Err(wrong(format!("values[0][{value}]: Invalid value: {value:?}: {why}"))),
        }
    };
    let set = |values: &str| -> Result<Vec<String>, Refusal> {
        let inner = values.trim().strip_prefix('(').and_then(|values| values.strip_suffix(')'));
        let inner = inner.ok_or_else(|| wrong(format!("found {values:?}, expected: '('")))?;
        inner.split(',').map(value).collect()
    };
    let number = |text: &str| {
        let text = text.trim();
        text.parse::<i64>()
            .map_err(|_| wrong(format!("values[0]: Invalid value: {text:?}: must be an integer")))
    };
    if term.is_empty() {
        return Err(wrong("found '', expected: identifier after ','".to_owned()));
    }
    let (name, test) = if let Some(name) = term.strip_prefix('!') {
        (key(name)?, Test::Absent)
    } else if let Some((name, values)) = term.split_once(" notin ") {
        (key(name)?, Test::NotIn(set(values)?))
    } else if let Some((name, values)) = term.split_once(" in ") {
        (key(name)?, Test::In(set(values)?))
    } else if let Some((name, than)) = term.split_once("!=") {
        (key(name)?, Test::NotIn(vec![value(than)?]))
    } else if let Some((name, than)) = term.split_once("==").or_else(|| term.split_once('=')) {
        (key(name)?, Test::In(vec![value(than)?]))
    } else if let Some((name, than)) = term.split_once('>') {
        (key(name)?, Test::Greater(number(than)?))
    } else if let Some((name, than)) = term.split_once('<') {
        (key(name)?, Test::Less(number(than)?))
    } else {
        (key(term)?, Test::Exists)
    };
    Ok(Requirement { key: name, test })
}
