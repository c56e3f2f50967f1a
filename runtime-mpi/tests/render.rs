//! What is made of each function in `inputs` on a cluster, with either version of MPIJob.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

use runtime_core::{
    Error, Function, Registry, Run, cluster::Cluster, plan::ClusterPlan, serde_json::json, testkit::shown,
    yaml,
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
    Registry::linked()?.get("mpijob")?.render(function, &run, &cluster)
}

#[test]
fn objects() {
    assert_eq!(runtime_mpi::KIND, "mpijob");
    insta::glob!("inputs/[!w]*.yaml", |path| {
        let function = function(&std::fs::read_to_string(path).unwrap());
        let of = |served: &str| match rendered(&function, served) {
            Ok(plan) => shown(plan),
            Err(error) => json!(error.to_string()),
        };
        let (newest, older) = (of("kubeflow.org/v2beta1"), of("kubeflow.org/v1"));
        insta::assert_json_snapshot!(json!({"v2beta1": newest, "v1": older}));
    });
}

/// All names are the run's and the attempt's own, with room for what the operator puts behind them.
#[test]
fn names_fit_whatever_the_run_is_called() {
    let text = "kind: mpijob\nmetadata: {name: x}\nspec: {command: x.py, image: x, replicas: 2}\n";
    let mut function = function(text);
    function.metadata.name = "a-name-that-is-as-long-as-names-may-be-and-no-letter-more-xx".to_owned();
    let plan = rendered(&function, "kubeflow.org/v2beta1").unwrap();
    assert_eq!(plan, rendered(&function, "kubeflow.org/v2beta1").unwrap());
    let job = plan.objects.last().unwrap();
    assert_eq!(job.kind(), "MPIJob", "it is the run");
    assert!(job.name().len() + "-launcher".len() <= 63, "{}", job.name());
}
