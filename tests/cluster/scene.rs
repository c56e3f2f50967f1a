//! A namespace of a real cluster, and an orchestrator that has it.

use std::{sync::Arc, time::Duration};

use runtimes::{
    Function, Orchestrator, Request, Run, RunState, Update,
    cluster::{
        ClusterOptions, Kubernetes,
        kube::{
            Api, Client, Config,
            api::{DeleteParams, ListParams, PostParams},
        },
    },
    core::{
        k8s_openapi::api::{
            batch::v1::Job,
            core::v1::{ConfigMap, Namespace, Pod, Secret, ServiceAccount},
        },
        run::{Cause, Reason, RunKey},
        serde_json::json,
    },
};

/// How long anything may take that is waited for.
const PATIENCE: Duration = Duration::from_secs(120);

/// The image of the node's Python.
const IMAGE: &str = "k8s.local/python:3";

pub(crate) struct Scene {
    pub(crate) orchestrator: Orchestrator,
    pub(crate) namespace: String,
    home: Arc<tempfile::TempDir>,
}

/// A function of kind job with this code.
pub(crate) fn python(code: &str) -> Request {
    let mut function = Function::new("job", "main").with_code(code);
    function.spec.image = IMAGE.to_owned();
    Request::new(function)
}

/// A program of the image.
pub(crate) fn program(command: &str, args: &[&str]) -> Request {
    let mut function = Function::new("job", "program");
    function.spec.image = IMAGE.to_owned();
    function.spec.mode = "pass".to_owned();
    function.spec.command = command.to_owned();
    function.spec.args = args.iter().map(|arg| (*arg).to_owned()).collect();
    Request::new(function)
}

async fn client() -> Client {
    Client::try_from(Config::infer().await.unwrap()).unwrap()
}

impl Scene {
    /// `None`, where there is no cluster; it says so.
    pub(crate) async fn new() -> Option<Self> {
        if std::env::var_os("KUBECONFIG").is_none_or(|path| path.is_empty()) {
            println!("skipped: KUBECONFIG names no cluster (with a node that has {IMAGE})");
            return None;
        }
        let client = client().await;
        let namespaces: Api<Namespace> = Api::all(client.clone());
        let object = json!({"metadata": {"generateName": "runtimes-test-"}});
        let object = runtimes::core::serde_json::from_value(object).unwrap();
        let made = namespaces.create(&PostParams::default(), &object).await.unwrap();
        let namespace = made.metadata.name.unwrap();
        // Pods cannot be made before the namespace has its account.
        let accounts: Api<ServiceAccount> = Api::namespaced(client, &namespace);
        let condition = |account: Option<&ServiceAccount>| account.is_some();
        let ready = runtimes::cluster::kube::runtime::wait::await_condition(accounts, "default", condition);
        tokio::time::timeout(PATIENCE, ready).await.unwrap().unwrap();
        let home = Arc::new(tempfile::tempdir().unwrap());
        let orchestrator = open(&home, &namespace).await;
        Some(Self { orchestrator, namespace, home })
    }

    /// Drops the orchestrator as a crash does, and opens another one.
    pub(crate) async fn reopen(self) -> Self {
        let Self { orchestrator, namespace, home } = self;
        drop(orchestrator);
        let orchestrator = open(&home, &namespace).await;
        Self { orchestrator, namespace, home }
    }

    pub(crate) async fn remove(namespace: &str) {
        let namespaces: Api<Namespace> = Api::all(client().await);
        namespaces.delete(namespace, &DeleteParams::default()).await.unwrap();
    }

    pub(crate) async fn run(&self, request: Request) -> Run {
        let run = self.orchestrator.run(request.on("kubernetes"));
        tokio::time::timeout(PATIENCE, run).await.expect("the run ends").unwrap()
    }

    pub(crate) async fn log(&self, run: &Run) -> Vec<String> {
        use futures_util::TryStreamExt;
        let lines = self.orchestrator.logs(&run.key(), false).await.unwrap();
        let lines: Vec<_> = lines.try_collect().await.unwrap();
        lines.iter().filter(|line| line.source == "main").map(|line| line.text().into_owned()).collect()
    }

    pub(crate) async fn wait_for_line(&self, key: &RunKey, text: &str) {
        let mut handle = self.orchestrator.watch(key).await.unwrap();
        let wait = async {
            while let Some(update) = handle.next().await {
                match update {
                    Update::Log(line) if line.text() == text => return,
                    Update::Run(run) => assert!(!run.state().is_terminal(), "{:?}", run.status.cause),
                    _ => {}
                }
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.expect("the line is printed");
    }

    /// What is wrong with a run that waits, once it is this; it is stopped then. A node that is slow may have other
    /// troubles before.
    pub(crate) async fn trouble(&self, request: Request, reason: Reason) -> Cause {
        let mut handle = self.orchestrator.submit(request.on("kubernetes")).await.unwrap();
        let key = handle.key();
        let wait = async {
            loop {
                if let Some(Update::Run(run)) = handle.next().await
                    && let Some(cause) = run.status.cause
                    && cause.reason == reason
                {
                    assert_eq!(run.status.state, RunState::Pending);
                    return cause;
                }
            }
        };
        let cause = tokio::time::timeout(PATIENCE, wait).await.expect("the trouble is seen");
        let run = self.orchestrator.abort_within(&key, Some(Duration::from_secs(1))).await.unwrap();
        assert_eq!(run.state(), RunState::Aborted);
        cause
    }

    pub(crate) async fn delete_pods(&self) {
        let pods: Api<Pod> = Api::namespaced(client().await, &self.namespace);
        pods.delete_collection(&DeleteParams::default().grace_period(1), &ListParams::default())
            .await
            .unwrap();
    }

    /// Nothing of any run is left, as soon as the cluster has taken away what was deleted.
    pub(crate) async fn is_clean(&self) {
        self.orchestrator.idle().await;
        let client = client().await;
        let ours = ListParams::default().labels("app.kubernetes.io/managed-by=runtimes,runtimes/run");
        let end = std::time::Instant::now() + PATIENCE;
        loop {
            let jobs: Api<Job> = Api::namespaced(client.clone(), &self.namespace);
            let pods: Api<Pod> = Api::namespaced(client.clone(), &self.namespace);
            let maps: Api<ConfigMap> = Api::namespaced(client.clone(), &self.namespace);
            let secrets: Api<Secret> = Api::namespaced(client.clone(), &self.namespace);
            let left = [
                jobs.list_metadata(&ours).await.unwrap().items.len(),
                pods.list_metadata(&ours).await.unwrap().items.len(),
                maps.list_metadata(&ours).await.unwrap().items.len(),
                secrets.list_metadata(&ours).await.unwrap().items.len(),
            ];
            if left == [0; 4] {
                return;
            }
            assert!(std::time::Instant::now() < end, "left: {left:?} jobs, pods, config maps, secrets");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

async fn open(home: &tempfile::TempDir, namespace: &str) -> Orchestrator {
    let options = ClusterOptions { namespace: Some(namespace.to_owned()), ..ClusterOptions::default() };
    let target = Arc::new(Kubernetes::new(options));
    Orchestrator::builder(home.path()).target(target).open().await.unwrap()
}
