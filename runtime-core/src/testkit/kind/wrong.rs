//! What is wrong is refused before anything is started, and the error says where.

use serde_json::{Value, json};

use super::{Subject, taken};
use crate::Function;

/// Changes the sample's function in ways that must be refused.
pub(super) fn check(subject: &Subject<'_>) {
    common_fields(subject);
    misspelt_fields(subject);
    for field in subject.runtime.fields() {
        own_field(subject, field);
    }
}

/// Fields that all kinds share.
fn common_fields(subject: &Subject<'_>) {
    type Change = fn(&mut Function);
    let changes: [(&str, &str, Change); 4] = [
        ("a name with a space", "metadata.name", |function| function.metadata.name = "not a name".to_owned()),
        ("a mode that is none", "spec.mode", |function| function.spec.mode = "sideways".to_owned()),
        ("a memory limit with a space", "spec.resources.limits", |function| {
            limit(function, "memory", "1 GB");
        }),
        ("a negative cpu limit", "spec.resources.limits", |function| limit(function, "cpu", "-1")),
    ];
    for (what, place, change) in changes {
        let mut function = subject.sample.function.clone();
        change(&mut function);
        subject.refused(what, place, &function, &subject.sample.run);
    }
}

fn limit(function: &mut Function, resource: &str, amount: &str) {
    let quantity = k8s_openapi::apimachinery::pkg::api::resource::Quantity(amount.to_owned());
    function.spec.pod.resources.limits.get_or_insert_default().insert(resource.to_owned(), quantity);
}

fn misspelt_fields(subject: &Subject<'_>) {
    let mut misspelt: Vec<(String, &str)> = vec![("replcas".to_owned(), "replicas")];
    misspelt.extend(
        subject
            .runtime
            .fields()
            .iter()
            .filter(|field| field.len() > 4)
            .map(|field| (format!("{field}x"), *field)),
    );
    for (written, meant) in misspelt {
        let function = with_field(subject, &written, json!(1));
        subject.refused(
            &format!("the field `{written}`"),
            &format!("spec.{written}"),
            &function,
            &subject.sample.run,
        );
        let error = function.check_fields(subject.runtime.fields()).err();
        let help = error.as_ref().and_then(|error| error.help_text()).unwrap_or_default();
        assert!(help.contains(meant), "{}: `{written}` must be told from `{meant}`: {help:?}", subject.what);
    }
}

/// A field of the kind is its own, and is not taken whatever stands in it.
fn own_field(subject: &Subject<'_>, field: &str) {
    let document = json!({ "kind": subject.runtime.kind(), "metadata": { "name": "x" }, "spec": { field: { "?": [] } } });
    let own = Function::from_value(document).is_ok_and(|function| function.spec.extra.contains_key(field));
    assert!(own, "{}: the field `{field}` of the kind is one that all functions have", subject.what);

    let wrong = [json!({ "?": [] }), json!(["?", { "?": 1 }]), json!("\u{0}?"), json!(-1.5), json!(true)];
    let mut refusals = 0;
    for value in wrong {
        let function = with_field(subject, field, value.clone());
        if let Err(error) = taken(subject.runtime, &function, &subject.sample.run) {
            subject.well_refused(&format!("`{field}: {value}`"), field, &error);
            refusals += 1;
        }
    }
    assert!(refusals > 0, "{}: `{field}` takes anything: it is not checked", subject.what);
    let none = with_field(subject, field, Value::Null);
    subject.plan(&format!("with `{field}: null`"), &none, &subject.sample.run);
}

fn with_field(subject: &Subject<'_>, field: &str, value: Value) -> Function {
    let mut function = subject.sample.function.clone();
    function.spec.extra.insert(field.to_owned(), value);
    function
}
