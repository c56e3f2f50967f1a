//! A namespace of a real cluster, and an orchestrator that has it.

use std::{sync::Arc, time::Duration};

use runtimes::{
    Function, Orchestrator, Request, Run, RunState, Update,
    cluster::{
        ClusterOptions, Kubernetes,
        kube::{
            self, Api, Client, Config, ResourceExt,
            api::{ApiResource, DeleteParams, DynamicObject, ListParams, PostParams},
            core::GroupVersionKind,
            runtime::wait::{await_condition, conditions},
        },
    },
    core::{
        k8s_openapi::api::core::v1::{Namespace, Pod, ServiceAccount},
        run::{Cause, Reason, RunKey},
        serde_json::json,
    },
};

/// How long anything may take that is waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// The image of the node's Python.
pub(crate) const IMAGE: &str = "k8s.local/python:3";

pub(crate) struct Scene {
    pub(crate) orchestrator: Orchestrator,
    pub(crate) namespace: String,
    pub(crate) home: Arc<tempfile::TempDir>,
    /// The service account as which it acts; `None`: as whoever the kubeconfig says.
    pub(crate) account: Option<String>,
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

pub(crate) async fn client() -> Client {
    Client::try_from(Config::infer().await.unwrap()).unwrap()
}

/// The cluster, as a service account of the namespace sees it.
async fn target(namespace: &str, account: Option<&str>) -> Kubernetes {
    let options = ClusterOptions { namespace: Some(namespace.to_owned()), ..ClusterOptions::default() };
    let Some(account) = account else { return Kubernetes::new(options) };
    let mut config = Config::infer().await.unwrap();
    config.auth_info.impersonate = Some(format!("system:serviceaccount:{namespace}:{account}"));
    Kubernetes::with_client(Client::try_from(config).unwrap(), options)
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
        let ready = await_condition(accounts, "default", condition);
        tokio::time::timeout(PATIENCE, ready).await.unwrap().unwrap();
        let home = Arc::new(tempfile::tempdir().unwrap());
        let orchestrator = open(home.path(), &namespace, None).await;
        Some(Self { orchestrator, namespace, home, account: None })
    }

    /// Drops the orchestrator as a crash does, and opens another one.
    pub(crate) async fn reopen(self) -> Self {
        let Self { orchestrator, namespace, home, account } = self;
        drop(orchestrator);
        let orchestrator = open(home.path(), &namespace, account.as_deref()).await;
        Self { orchestrator, namespace, home, account }
    }

    /// The same with the rights of a service account, and no others.
    pub(crate) async fn reopen_as(mut self, account: &str) -> Self {
        self.account = Some(account.to_owned());
        self.reopen().await
    }

    pub(crate) async fn target(&self) -> Kubernetes {
        target(&self.namespace, self.account.as_deref()).await
    }

    /// Makes the objects of a manifest.
    pub(crate) async fn apply(&self, manifest: &str) {
        for document in manifest.split("\n---\n") {
            let value = runtimes::core::yaml::from_str(document, "manifest").unwrap();
            let object: DynamicObject = runtimes::core::serde_json::from_value(value).unwrap();
            let types = object.types.clone().unwrap();
            let (group, version) = types.api_version.split_once('/').unwrap_or(("", &types.api_version));
            let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, &types.kind));
            let api: Api<DynamicObject> = Api::namespaced_with(client().await, &self.namespace, &resource);
            api.create(&PostParams::default(), &object).await.unwrap();
        }
    }

    /// The same with an orchestrator that reaches the cluster by this client.
    pub(crate) async fn through(self, client: Client, options: ClusterOptions) -> Self {
        let Self { orchestrator, namespace, home, account } = self;
        drop(orchestrator);
        let options = ClusterOptions { namespace: Some(namespace.clone()), ..options };
        let target = Arc::new(Kubernetes::with_client(client, options));
        let orchestrator = Orchestrator::builder(home.path()).target(target).open().await.unwrap();
        Self { orchestrator, namespace, home, account }
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
        for (version, kind) in REMAINS {
            let (group, version) = version.split_once('/').unwrap_or(("", version));
            let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
            gone(Api::namespaced_with(client.clone(), &self.namespace, &resource), kind).await;
        }
    }
}

/// What runs are made of, and what others make for them.
const REMAINS: [(&str, &str); 11] = [
    ("kubernetes.dask.org/v1", "DaskAutoscaler"),
    ("kubernetes.dask.org/v1", "DaskCluster"),
    ("kubernetes.dask.org/v1", "DaskWorkerGroup"),
    ("kubeflow.org/v2beta1", "MPIJob"),
    ("batch/v1", "Job"),
    ("apps/v1", "Deployment"),
    ("apps/v1", "ReplicaSet"),
    ("v1", "Service"),
    ("v1", "Pod"),
    ("v1", "ConfigMap"),
    ("v1", "Secret"),
];

/// Waits until each object of a run that is still there is gone.
async fn gone(api: Api<DynamicObject>, kind: &str) {
    let ours = ListParams::default().labels("runtimes/run");
    let left = match api.list_metadata(&ours).await {
        // There are no such objects.
        Err(kube::Error::Api(status)) if status.code == 404 => return,
        left => left.unwrap(),
    };
    for left in left {
        let (name, uid) = (left.name_any(), left.uid().unwrap());
        let deleted = await_condition(api.clone(), &name, conditions::is_deleted(&uid));
        let waited = tokio::time::timeout(PATIENCE, deleted).await;
        waited.unwrap_or_else(|_| panic!("{kind} {name} is left")).unwrap();
    }
}

pub(crate) async fn open(
    home: impl AsRef<std::path::Path>,
    namespace: &str,
    account: Option<&str>,
) -> Orchestrator {
    let target = Arc::new(target(namespace, account).await);
    Orchestrator::builder(home.as_ref()).target(target).open().await.unwrap()
}
