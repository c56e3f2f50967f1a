//! Runs of the kind `dask` on a cluster that does what a script says, with Dask's operator and without it.

use std::time::Duration;

use runtimes::{
    ErrorKind, Function, Request, RunState,
    cluster::kube::{Api, ResourceExt, api::DynamicObject},
    core::{
        k8s_openapi::api::core::v1::Pod,
        run::Reason,
        serde_json::{Value, json},
        testkit::cluster::{FakeCluster, Fault, Life, Resource},
    },
};

use crate::{
    Scene, client, kills,
    operator::{Operator, part},
    pods, within,
};

/// Makes a Deployment and a Service of the scheduler, and a Deployment for each worker, as Dask's operator does. It does not
/// scale.
fn operator(cluster: &FakeCluster) -> Operator {
    for kind in ["DaskCluster", "DaskAutoscaler"] {
        cluster.register(Resource::new("kubernetes.dask.org", "v1", kind));
    }
    Operator::of(client(cluster), "default", ("kubernetes.dask.org/v1", "DaskCluster"), parts)
}

/// The objects of a Dask cluster.
fn parts(cluster: &DynamicObject, _: &[Pod]) -> Vec<Value> {
    let (name, spec) = (cluster.name_any(), &cluster.data["spec"]);
    let object = |api: &str, kind: &str, name: String, labels: &Value, spec: Value| json!({"apiVersion": api, "kind": kind, "spec": spec, "metadata": {"name": name, "labels": labels}});
    let labels = |part: &str| {
        let mut labels = json!(cluster.labels());
        let own = spec[part]["metadata"]["labels"].as_object().unwrap().clone();
        labels.as_object_mut().unwrap().extend(own);
        labels["dask.org/cluster-name"] = name.clone().into();
        labels["dask.org/component"] = part.into();
        labels
    };
    let deployment = |part: &str, own: String| {
        let mut labels = labels(part);
        labels["own"] = own.clone().into();
        let template = json!({"metadata": {"labels": labels}, "spec": spec[part]["spec"]});
        let inner = json!({"replicas": 1, "selector": {"matchLabels": labels}, "template": template});
        object("apps/v1", "Deployment", own, &labels, inner)
    };
    let scheduler = format!("{name}-scheduler");
    let service = object(
        "v1",
        "Service",
        scheduler.clone(),
        &labels("scheduler"),
        spec["scheduler"]["service"].clone(),
    );
    let count = spec["worker"]["replicas"].as_u64().unwrap();
    let workers = (0..count).map(|number| deployment("worker", format!("{name}-default-worker-{number}")));
    [service, deployment("scheduler", scheduler)].into_iter().chain(workers).collect()
}

/// Who makes the clusters.
#[derive(Clone, Copy, Debug)]
enum Engine {
    Operator,
    Plain,
}

impl Engine {
    const ALL: [Self; 2] = [Self::Operator, Self::Plain];

    async fn scene(self, lives: fn(&str) -> Life) -> (Scene, Option<Operator>) {
        let scene = Scene::new().await;
        scene.cluster.on_pod(move |pod| lives(&part(pod)));
        let operator = matches!(self, Self::Operator).then(|| operator(&scene.cluster));
        (scene, operator)
    }
}

/// A run with two workers. Which engine makes them is found out.
fn total() -> Request {
    let code = "def total(context):\n    return context.dask_client.submit(sum, [1, 2]).result()\n";
    let function = Function::new("dask", "main").with_code(code).with_image("python:3").with_replicas(2);
    Request::new(function).handler("total").on("kubernetes")
}

/// The cluster runs, and the code too, until it is told to end.
fn goes_on(part: &str) -> Life {
    match part {
        "main" => Life::started()
            .prints("begun")
            .wait("end")
            .exits_saying(0, r#"{"state": "completed", "results": {"return": 3}}"#),
        part => Life::started().prints(part).wait("never"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_is_made_for_a_run_and_goes_with_it() {
    for engine in Engine::ALL {
        let (scene, _operator) = engine.scene(goes_on).await;
        let handle = scene.orchestrator.submit(total()).await.unwrap();
        let there = |cluster: &FakeCluster| {
            ["main", "scheduler", "worker"].map(|part| pods(cluster, part).len()) == [1, 1, 2]
        };
        within(scene.cluster.until(there)).await;
        scene.cluster.go("end");
        let run = within(handle.wait()).await.unwrap();
        assert_eq!(run.state(), RunState::Completed, "{engine:?}: {:?}", run.status.cause);
        assert_eq!(run.status.results["return"], json!(3));
        assert_eq!(scene.log(&run.key()).await, ["begun"]);
        scene.is_clean().await;
        let made = |plural: &str| scene.cluster.count("create", plural);
        match engine {
            Engine::Operator => assert_eq!(made("daskclusters"), 1),
            Engine::Plain => assert_eq!((made("deployments"), made("services")), (2, 1)),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scheduler_that_ends_is_the_cause() {
    for engine in Engine::ALL {
        for (life, words) in [
            (Life::started().wait("hurt").exits(3), "exit code 3"),
            (Life::started().wait("hurt").exits(0), "exit code 0"),
            (Life::started().wait("hurt").oom_killed(), "memory"),
        ] {
            let (scene, _operator) = engine.scene(goes_on).await;
            let scheduler = life.clone();
            scene.cluster.on_pod(move |pod| match part(pod).as_str() {
                "scheduler" => scheduler.clone(),
                part => goes_on(part),
            });
            let handle = scene.orchestrator.submit(total()).await.unwrap();
            scene.begins(&handle.key(), &["main"]).await;
            scene.cluster.go("hurt");
            let run = within(handle.wait()).await.unwrap();
            let cause = run.status.cause.clone().unwrap();
            assert_eq!((run.state(), cause.reason), (RunState::Error, Reason::ServiceEnded), "{cause:?}");
            let message = &cause.message;
            assert!(message.starts_with("scheduler, which it needs, ended first: "), "{message}");
            assert!(message.contains(words), "{engine:?}: {message}");
            scene.is_clean().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scheduler_whose_pod_is_deleted_is_the_cause() {
    for engine in Engine::ALL {
        let (scene, _operator) = engine.scene(goes_on).await;
        let handle = scene.orchestrator.submit(total()).await.unwrap();
        scene.begins(&handle.key(), &["main", "scheduler"]).await;
        let api: Api<Pod> = Api::default_namespaced(client(&scene.cluster));
        api.delete(&pods(&scene.cluster, "scheduler")[0].name_any(), &Default::default()).await.unwrap();
        let run = within(handle.wait()).await.unwrap();
        let cause = run.status.cause.clone().unwrap();
        assert_eq!((run.state(), cause.reason), (RunState::Error, Reason::ServiceEnded), "{cause:?}");
        assert!(cause.message.contains("its pod was deleted"), "{engine:?}: {}", cause.message);
        scene.is_clean().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_goes_is_replaced_and_the_run_goes_on() {
    for engine in Engine::ALL {
        let (scene, _operator) = engine.scene(goes_on).await;
        let handle = scene.orchestrator.submit(total()).await.unwrap();
        scene.begins(&handle.key(), &["main", "scheduler"]).await;
        within(scene.cluster.until(|cluster| pods(cluster, "worker").len() == 2)).await;
        let gone = pods(&scene.cluster, "worker")[0].name_any();
        let api: Api<Pod> = Api::default_namespaced(client(&scene.cluster));
        api.delete(&gone, &Default::default()).await.unwrap();
        let names: Vec<_> = pods(&scene.cluster, "worker").iter().map(ResourceExt::name_any).collect();
        assert!(names.len() == 2 && !names.contains(&gone), "{names:?}");
        scene.cluster.go("end");
        let run = within(handle.wait()).await.unwrap();
        assert_eq!(run.state(), RunState::Completed, "{engine:?}: {:?}", run.status.cause);
        scene.is_clean().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_keeps_a_worker_from_running_names_it() {
    for engine in Engine::ALL {
        let (scene, _operator) = engine.scene(goes_on).await;
        scene.cluster.on_pod(|pod| match part(pod).as_str() {
            "worker" => Life::new().scheduled().pull_fails("no such image").wait("mended").pulled().running(),
            // It waits for the workers.
            "main" => Life::started().wait("mended").exits(0),
            part => goes_on(part),
        });
        let mut handle = scene.orchestrator.submit(total()).await.unwrap();
        let cause = scene.trouble(&mut handle).await;
        assert_eq!(cause.reason, Reason::ImagePull, "{engine:?}: {cause:?}");
        assert!(cause.message.starts_with("worker-") && cause.message.contains("python:3"), "{cause:?}");
        scene.cluster.go("mended");
        let run = within(handle.wait()).await.unwrap();
        assert_eq!((run.state(), run.status.cause.clone()), (RunState::Completed, None), "{engine:?}");
        scene.is_clean().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_stopped_leaves_nothing() {
    for engine in Engine::ALL {
        for waits in [false, true] {
            let (scene, _operator) = engine.scene(goes_on).await;
            if waits {
                scene.cluster.on_pod(|_| Life::new().unschedulable("0/1 nodes are available"));
            }
            let handle = scene.orchestrator.submit(total()).await.unwrap();
            within(scene.cluster.until(|cluster| pods(cluster, "main").len() == 1)).await;
            let key = handle.key();
            let abort = scene.orchestrator.abort_within(&key, Some(Duration::from_millis(10)));
            assert_eq!(within(abort).await.unwrap().state(), RunState::Aborted, "{engine:?}");
            scene.is_clean().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_made_for_a_moment_is_made_once() {
    for fault in [
        Fault::too_many_requests(0).on("create", "deployments").times(3),
        Fault::unreachable().on("create", "services").times(2),
        // It was made, and nobody heard of it.
        Fault::answer_lost().on("create", "deployments"),
        Fault::internal().on("delete", "deployments").times(2),
    ] {
        let what = format!("{fault:?}");
        let (scene, _) = Engine::Plain.scene(goes_on).await;
        scene.cluster.go("end");
        scene.cluster.fault(fault);
        let run = scene.run(total()).await;
        assert_eq!(run.state(), RunState::Completed, "{what}: {:?}", run.status.cause);
        scene.is_clean().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_operator_a_cluster_says_how_to_have_it() {
    let (scene, _) = Engine::Plain.scene(goes_on).await;
    let mut request = total();
    request.function.spec.extra.insert("engine".to_owned(), "operator".into());
    let error = scene.orchestrator.submit(request).await.err().unwrap();
    assert_eq!((error.kind(), error.location()), (ErrorKind::Unsupported, Some("spec.engine")), "{error}");
    assert!(error.help_text().unwrap().contains("helm install"), "{error}");
    assert!(scene.orchestrator.list(&Default::default()).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_moment() {
    for engine in Engine::ALL {
        let scene = async || engine.scene(goes_on).await;
        kills::at_any_moment(&["worker", "scheduler", "main"], scene, total, |killed, run| {
            let cause = run.status.cause.as_ref().unwrap();
            match killed {
                "scheduler" => assert_eq!(cause.reason, Reason::ServiceEnded, "{engine:?}: {cause:?}"),
                "main" => assert!([Reason::Lost, Reason::Signal].contains(&cause.reason), "{cause:?}"),
                _ => panic!("{engine:?}: {killed}: {cause:?}"),
            }
        })
        .await;
    }
}
