//! Stands for Spark's operator: makes the driver of an application, where it is not suspended, and at once the executors that
//! this would make. The driver has all of Spark within itself.

use runtimes::{
    cluster::kube::{Client, ResourceExt, api::DynamicObject},
    core::{
        k8s_openapi::api::core::v1::Pod,
        serde_json::{Value, json},
    },
};

use super::Operator;

/// Group and version.
pub(crate) const VERSION: &str = "sparkoperator.k8s.io/v1beta2";

/// The operator.
pub(crate) fn operator(client: Client, namespace: &str) -> Operator {
    Operator::of(client, namespace, (VERSION, "SparkApplication"), parts)
}

fn parts(application: &DynamicObject, _: &[Pod]) -> Vec<Value> {
    let spec = &application.data["spec"];
    if spec["suspend"] == true {
        return Vec::new();
    }
    let executors = spec["executor"]["instances"].as_u64().unwrap_or(1);
    let mut all = vec![pod(application, "driver", "driver", driver(spec))];
    let waits = vec!["sh".into(), "-c".into(), "trap exit TERM; sleep 1000000 & wait".into()];
    all.extend(
        (1..=executors).map(|number| pod(application, "executor", &format!("exec-{number}"), waits.clone())),
    );
    all
}

/// What a driver starts: `spark-submit`, with Spark in its own process.
fn driver(spec: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut words: Vec<_> = ["spark-submit", "--master", "local[1]"].map(str::to_owned).into();
    for (name, value) in spec["sparkConf"].as_object().into_iter().flatten() {
        words.extend(["--conf".to_owned(), format!("{name}={}", text(value))]);
    }
    if let Some(class) = spec["mainClass"].as_str() {
        words.extend(["--class".to_owned(), class.to_owned()]);
    }
    words.push(text(&spec["mainApplicationFile"]).trim_start_matches("local://").to_owned());
    words.extend(spec["arguments"].as_array().into_iter().flatten().map(text));
    words
}

/// A pod of one of the parts, as its place in the application says.
fn pod(application: &DynamicObject, part: &str, name: &str, command: Vec<String>) -> Value {
    let spec = &application.data["spec"];
    let of_part = &spec[part];
    let list = |value: &Value| if value.is_null() { json!([]) } else { value.clone() };
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": format!("{}-{name}", application.name_any()), "labels": of_part["labels"]},
        "spec": {
            "restartPolicy": "Never",
            "volumes": list(&spec["volumes"]),
            "containers": [{
                "name": format!("spark-kubernetes-{part}"),
                "image": spec["image"],
                "command": command,
                "env": list(&of_part["env"]),
                "volumeMounts": list(&of_part["volumeMounts"]),
            }],
        },
    })
}
