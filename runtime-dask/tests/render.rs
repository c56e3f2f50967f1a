//! What is made of each function in `inputs` on a cluster, with Dask's operator and without it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

use runtime_core::{
    Error, ErrorKind, Function, Registry, Run,
    cluster::Cluster,
    labels,
    plan::ClusterPlan,
    serde_json::{self, json},
    testkit::shown,
    yaml,
};

fn function(text: &str) -> Function {
    let mut function = Function::from_value(yaml::from_str(text, "input.yaml").unwrap()).unwrap();
    if function.spec.image.is_empty() {
        function.spec.image = "daskdev/dask:2026.1.0".to_owned();
    }
    function
}

/// What is to be rendered: a run, one that uses a deployment, or that.
#[derive(Clone, Copy, PartialEq)]
enum What {
    Run,
    Using,
    Deployment,
}

fn rendered(function: &Function, operator: bool) -> Result<ClusterPlan, Error> {
    rendered_as(What::Run, function, operator)
}

fn rendered_as(what: What, function: &Function, operator: bool) -> Result<ClusterPlan, Error> {
    let served = if operator { vec!["apps/v1", "kubernetes.dask.org/v1"] } else { vec!["apps/v1"] };
    let api_versions = Some(served.into_iter().map(str::to_owned).collect());
    let cluster = Cluster { api_versions, ..Cluster::default() };
    let mut run = Run::default();
    run.metadata.uid = "0123456789abcdef0123456789abcdef".to_owned();
    run.metadata.name = function.metadata.name.clone();
    run.metadata.project = "demo".to_owned();
    if what == What::Using {
        let addresses = json!({"scheduler": "tcp://theirs-scheduler.ml:8786"}).to_string();
        run.metadata.annotations.insert(labels::ADDRESSES.to_owned(), addresses);
    }
    let registry = Registry::linked()?;
    let kind = registry.get("dask")?;
    match what {
        What::Deployment => kind.render_deployment(function, &run, &cluster),
        _ => kind.render(function, &run, &cluster),
    }
}

#[test]
fn objects() {
    assert_eq!(runtime_dask::KIND, "dask");
    insta::glob!("inputs/[!w]*.yaml", |path| {
        let function = function(&std::fs::read_to_string(path).unwrap());
        let of = |operator| match rendered(&function, operator) {
            Ok(plan) => shown(plan),
            Err(error) => json!(error.to_string()),
        };
        insta::assert_json_snapshot!(json!({"operator": of(true), "plain": of(false)}));
    });
}

/// The same parts, with the scheduler as what counts, and nothing that is called.
#[test]
fn a_deployment_is_the_cluster_without_a_driver() {
    let text = "kind: dask\nmetadata: {name: x}\nspec: {command: x.py, min_replicas: 1, max_replicas: 2}\n";
    for (operator, kinds) in
        [(true, &["DaskAutoscaler", "DaskCluster"][..]), (false, &["Service", "Deployment", "Deployment"])]
    {
        let plan = rendered_as(What::Deployment, &function(text), operator).unwrap();
        assert_eq!(
            plan.objects.iter().filter(|it| !it.is_shared()).map(|it| it.kind()).collect::<Vec<_>>(),
            kinds
        );
        let last = serde_json::to_value(plan.objects.last().unwrap()).unwrap();
        let scheduler = match operator {
            true => &last["spec"]["scheduler"]["metadata"]["labels"],
            false => &last["spec"]["template"]["metadata"]["labels"],
        };
        assert_eq!(scheduler["runtimes/run"], "0123456789abcdef0123456789abcdef");
        assert!(scheduler.get("runtimes/role").is_none(), "it is the run itself: {scheduler}");
        let address = "tcp://x-0123456789abcdef0123456789abcdef-0-scheduler.default:8786";
        assert_eq!(plan.addresses["scheduler"], address);
    }
}

#[test]
fn a_run_that_uses_a_deployment_is_a_driver_alone() {
    let text = "kind: dask\nmetadata: {name: x}\nspec: {command: x.py, replicas: 2}\n";
    let plan = rendered_as(What::Using, &function(text), true).unwrap();
    let objects: Vec<_> = plan.objects.iter().filter(|it| !it.is_shared()).collect();
    assert_eq!(objects.iter().map(|it| it.kind()).collect::<Vec<_>>(), ["Job"]);
    let pod = &serde_json::to_value(objects[0]).unwrap()["spec"]["template"]["spec"];
    assert_eq!(pod["initContainers"][0]["args"], json!(["theirs-scheduler.ml", "8786"]));
    let env = pod["containers"][0]["env"].as_array().unwrap();
    let value = |name: &str| env.iter().find(|it| it["name"] == name).map(|it| it["value"].clone());
    assert_eq!(value("DASK_SCHEDULER_ADDRESS"), Some(json!("tcp://theirs-scheduler.ml:8786")));
    assert_eq!(value("RUNTIMES_DASK_SHARED"), Some(json!("1")));
}

#[test]
fn an_operator_that_is_asked_for_must_be_there() {
    let text = "kind: dask\nmetadata: {name: x}\nspec: {command: x.py, replicas: 1, engine: operator}\n";
    let error = rendered(&function(text), false).unwrap_err();
    assert_eq!((error.kind(), error.location()), (ErrorKind::Unsupported, Some("spec.engine")));
    assert!(error.message().contains("kubernetes.dask.org/v1"), "{error}");
    assert!(error.help_text().unwrap().contains("helm install"), "{error:?}");
    // Plain objects are made wherever they are asked for.
    let plain = function(&text.replace("operator", "plain"));
    assert_eq!(shown(rendered(&plain, true).unwrap()), shown(rendered(&plain, false).unwrap()));
}

/// All names are the run's and the attempt's own: what is made twice is made once.
#[test]
fn names_fit_whatever_the_run_is_called() {
    let text = "kind: dask\nmetadata: {name: x}\nspec: {command: x.py, replicas: 1}\n";
    let mut function = function(text);
    function.metadata.name = "a-name-that-is-as-long-as-names-may-be-and-no-letter-more-xx".to_owned();
    for operator in [true, false] {
        let plan = rendered(&function, operator).unwrap();
        assert_eq!(plan, rendered(&function, operator).unwrap());
        for object in plan.objects.iter().filter(|object| !object.is_shared()) {
            // The operator puts `-scheduler` behind its name.
            let room = if object.kind() == "DaskCluster" { "-scheduler".len() } else { 0 };
            assert!(object.name().len() + room <= 63, "{} {}", object.kind(), object.name());
        }
        assert_eq!(plan.objects.last().unwrap().kind(), "Job", "the driver is the run");
    }
}
