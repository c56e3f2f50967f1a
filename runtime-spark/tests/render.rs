//! What is made of each function in `inputs` on a cluster.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

use runtime_core::{
    Error, ErrorKind, Function, Registry, Run, cluster::Cluster, plan::ClusterPlan, serde_json::json,
    testkit::shown, yaml,
};

fn function(text: &str) -> Function {
    Function::from_value(yaml::from_str(text, "input.yaml").unwrap()).unwrap()
}

fn rendered(function: &Function, served: &str) -> Result<ClusterPlan, Error> {
    let api_versions = Some([served.to_owned()].into());
    let cluster = Cluster { api_versions, ..Cluster::default() };
    let mut run = Run::default();
    run.metadata.uid = "0123456789abcdef0123456789abcdef".to_owned();
    run.metadata.name = function.metadata.name.clone();
    run.metadata.project = "demo".to_owned();
    Registry::linked()?.get("spark")?.render(function, &run, &cluster)
}

#[test]
fn objects() {
    assert_eq!(runtime_spark::KIND, "spark");
    insta::glob!("inputs/[!w]*.yaml", |path| {
        let function = function(&std::fs::read_to_string(path).unwrap());
        insta::assert_json_snapshot!(match rendered(&function, "sparkoperator.k8s.io/v1beta2") {
            Ok(plan) => shown(plan),
            Err(error) => json!({"error": error.to_string(), "help": error.help_text()}),
        });
    });
}

/// All names are the run's and the attempt's own, with room for what Spark and its operator put behind them.
#[test]
fn names_fit_whatever_the_run_is_called() {
    let text = "kind: spark\nmetadata: {name: x}\nspec: {command: /x.py, image: x}\n";
    let mut function = function(text);
    function.metadata.name = "a-name-that-is-as-long-as-names-may-be-and-no-letter-more-xx".to_owned();
    let plan = rendered(&function, "sparkoperator.k8s.io/v1beta2").unwrap();
    assert_eq!(plan, rendered(&function, "sparkoperator.k8s.io/v1beta2").unwrap());
    let application = plan.objects.last().unwrap();
    assert_eq!(application.kind(), "SparkApplication", "it is the run");
    assert!(application.name().len() + "-driver-svc".len() <= 63, "{}", application.name());
}

#[test]
fn a_cluster_without_the_operator_is_told() {
    let function = function("kind: spark\nmetadata: {name: x}\nspec: {command: /x.py, image: x}\n");
    let error = rendered(&function, "apps/v1").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.message().contains("sparkoperator.k8s.io/v1beta2"), "{error}");
    assert!(error.help_text().unwrap().contains("helm install"), "{error:?}");
}
