//! Runs beside a bare loop that creates the same objects: pods, and Jobs. A Job's pod is its controller's work, which is
//! not counted.

use std::{
    collections::HashSet,
    fmt::Debug,
    time::{Duration, Instant},
};

use futures_util::{StreamExt, stream};
use runtimes::{
    Orchestrator, Run,
    cluster::{
        ClusterOptions,
        kube::{
            Api, Client, Config, Resource,
            api::{DeleteParams, ListParams, PostParams},
            core::NamespaceResourceScope,
            runtime::{WatchStreamExt, watcher},
        },
    },
    core::{
        Registry,
        cluster::Cluster,
        k8s_openapi::api::{
            batch::v1::Job,
            core::v1::{Namespace, Pod, ServiceAccount},
        },
        serde_json::{from_value, json, to_value},
    },
};

use serde::{Serialize, de::DeserializeOwned};

use super::{Home, Outcome, function, open, request};

/// Pods of one round.
const ROUND: usize = 300;

const ROUNDS: usize = 5;

/// Requests at a time.
const PARALLEL: usize = 16;

pub(crate) async fn beside_a_bare_loop() -> Outcome {
    if std::env::var_os("KUBECONFIG").is_none_or(|path| path.is_empty()) {
        println!("skipped: KUBECONFIG names no cluster");
        return Ok(());
    }
    let client = Client::try_from(Config::infer().await?)?;
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let object = from_value(json!({"metadata": {"generateName": "runtimes-bench-"}}))?;
    let namespace = namespaces.create(&PostParams::default(), &object).await?.metadata.name.unwrap();
    let measured = measure(&client, &namespace).await;
    namespaces.delete(&namespace, &DeleteParams::default()).await?;
    measured
}

async fn measure(client: &Client, namespace: &str) -> Outcome {
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
    let there = runtimes::cluster::kube::runtime::wait::await_condition(
        accounts,
        "default",
        |account: Option<&ServiceAccount>| account.is_some_and(|it| it.secrets.is_some()),
    );
    // Newer servers make no secrets for accounts.
    let _ = tokio::time::timeout(Duration::from_secs(5), there).await;
    let home = Home::new("submission")?;
    let options = ClusterOptions {
        namespace: Some(namespace.to_owned()),
        parallel_requests: PARALLEL,
        ..ClusterOptions::default()
    };
    let orchestrator = open(&home, client.clone(), options).await?;
    println!("{:<34} {:>12} {:>12} {:>8}", "", "ours", "bare", "ratio");
    beside::<Pod>("pod", &orchestrator, client, namespace).await?;
    beside::<Job>("job", &orchestrator, client, namespace).await?;
    Ok(())
}

/// An object that is a run.
trait Object:
    Resource<Scope = NamespaceResourceScope, DynamicType = ()>
    + Clone
    + Debug
    + Send
    + Sync
    + Serialize
    + DeserializeOwned
    + 'static
{
}

impl Object for Pod {}
impl Object for Job {}

async fn beside<K: Object>(
    wrapper: &str,
    orchestrator: &Orchestrator,
    client: &Client,
    namespace: &str,
) -> Outcome {
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    // What is made once is made.
    ours(orchestrator, &api, wrapper, 4).await?;
    let mut ratios = Vec::new();
    for _ in 0..ROUNDS {
        let bare = bare(&api, wrapper, namespace, ROUND).await?;
        let ours = ours(orchestrator, &api, wrapper, ROUND).await?;
        println!("{:<34} {:>10.0}/s {:>10.0}/s {:>7.2}x", wrapper, ours, bare, ours / bare);
        ratios.push(ours / bare);
    }
    ratios.sort_by(f64::total_cmp);
    println!("{:<34} {:>34.2}x  (at least 0.90x)", format!("submission, {wrapper}"), ratios[ROUNDS / 2]);
    Ok(())
}

/// How many objects are made in a second, from the first request to the last that is seen.
async fn counted<K: Object>(api: &Api<K>, count: usize, make: impl Future<Output = Outcome>) -> Outcome<f64> {
    let mut seen = std::pin::pin!(watcher(api.clone(), watcher::Config::default()).default_backoff());
    // From here on, what is seen is new.
    while !matches!(seen.next().await, Some(Ok(watcher::Event::InitDone))) {}
    let begin = Instant::now();
    let watch = async {
        let mut names = HashSet::new();
        while names.len() < count {
            if let Some(Ok(watcher::Event::Apply(object))) = seen.next().await {
                names.insert(object.meta().name.clone());
            }
        }
        begin.elapsed()
    };
    let (elapsed, outcome) = tokio::join!(watch, make);
    outcome?;
    Ok(count as f64 / elapsed.as_secs_f64())
}

async fn clear<K: Object>(api: &Api<K>) -> Outcome {
    let params = DeleteParams::background().grace_period(0);
    api.delete_collection(&params, &ListParams::default()).await?;
    while !api.list_metadata(&ListParams::default().limit(1)).await?.items.is_empty() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

/// The objects of runs of the same function.
fn the_same<K: Object>(wrapper: &str, namespace: &str, count: usize) -> Outcome<Vec<K>> {
    let registry = Registry::linked()?;
    let function = function(wrapper);
    let cluster = Cluster { namespace: namespace.to_owned(), ..Cluster::default() };
    let mut made = Vec::new();
    for _ in 0..count {
        let mut run = Run::default();
        run.metadata.uid = uuid::Uuid::new_v4().simple().to_string();
        run.metadata.name = "bench-fit".to_owned();
        run.metadata.project = "default".to_owned();
        run.spec.handler = "fit".to_owned();
        let plan = registry.get("job")?.render(&function, &run, &cluster)?;
        made.push(from_value(to_value(plan.objects.last().unwrap())?)?);
    }
    Ok(made)
}

async fn bare<K: Object>(api: &Api<K>, wrapper: &str, namespace: &str, count: usize) -> Outcome<f64> {
    let objects = the_same::<K>(wrapper, namespace, count)?;
    let make = async {
        let params = PostParams::default();
        let made =
            stream::iter(&objects).map(|object| api.create(&params, object)).buffer_unordered(PARALLEL);
        let made: Vec<_> = made.collect().await;
        made.into_iter().collect::<Result<Vec<_>, _>>()?;
        Outcome::Ok(())
    };
    let rate = counted(api, count, make).await?;
    clear(api).await?;
    Ok(rate)
}

async fn ours<K: Object>(
    orchestrator: &Orchestrator,
    api: &Api<K>,
    wrapper: &str,
    count: usize,
) -> Outcome<f64> {
    let keys = std::sync::Mutex::new(Vec::new());
    let make = async {
        let submitted = stream::iter(0..count).map(|_| orchestrator.submit(request(wrapper)));
        let mut submitted = submitted.buffer_unordered(PARALLEL);
        while let Some(handle) = submitted.next().await {
            keys.lock().unwrap().push(handle?.key());
        }
        Outcome::Ok(())
    };
    let rate = counted(api, count, make).await?;
    let keys = keys.into_inner()?;
    stream::iter(&keys)
        .for_each_concurrent(PARALLEL, |key| async move {
            let _ = orchestrator.abort_within(key, Some(Duration::ZERO)).await;
        })
        .await;
    orchestrator.idle().await;
    clear(api).await?;
    Ok(rate)
}
