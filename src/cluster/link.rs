//! The connection to a cluster: what all its runs share.

use std::{
    collections::{BTreeSet, HashMap, HashSet, hash_map::Entry},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, ListParams},
};
use runtime_core::{
    Result, Run,
    k8s_openapi::api::{batch::v1::Job, core::v1::Pod},
    labels,
    plan::{ClusterPlan, Manifest},
    run::RunKey,
};

use super::{
    ClusterOptions,
    apply::{CHECK, START, Sent, is_custom, resource},
    board::{Board, Followed},
    call::Calls,
    connect,
    error::Ask,
    seen,
    turns::Turns,
    watch::Watches,
};

/// How long it may take to say what it serves, which most runs do not need.
const GLANCE: Duration = Duration::from_secs(1);

/// How many functions are known to be accepted.
const KNOWN: usize = 1000;

/// The type of the object that is the run.
pub(super) fn main_type(plan: &ClusterPlan) -> Option<ApiResource> {
    let main = plan.objects.last()?;
    Some(resource(main.api_version(), main.kind()))
}

/// The connection to a cluster.
pub(super) struct Link {
    pub(super) client: Client,
    pub(super) calls: Arc<Calls>,
    pub(super) turns: Arc<Turns>,
    /// The namespace of what names none.
    pub(super) namespace: String,
    /// The context, or `in-cluster`.
    pub(super) context: String,
    /// Types of operators' objects that runs may have.
    pub(super) expected: Arc<[(&'static str, &'static str)]>,
    board: Arc<Board>,
    watches: Mutex<HashMap<String, Watches>>,
    /// What each run has made.
    made: Mutex<HashMap<RunKey, Vec<Sent>>>,
    /// What all runs share and is there: namespace and name.
    shared: tokio::sync::Mutex<HashSet<(String, String)>>,
    /// Functions whose objects the cluster takes.
    accepted: tokio::sync::Mutex<HashSet<String>>,
}

impl Link {
    pub(super) async fn open(
        options: &ClusterOptions,
        client: Option<Client>,
        expected: Arc<[(&'static str, &'static str)]>,
    ) -> Result<Arc<Self>> {
        let found = match client {
            Some(client) => connect::Found {
                namespace: client.default_namespace().to_owned(),
                client,
                server: "the given client".to_owned(),
                context: options.context.clone().unwrap_or_default(),
            },
            None => connect::find(options.context.as_deref()).await?,
        };
        let namespace = options.namespace.clone().unwrap_or(found.namespace);
        runtime_core::naming::check("namespace", &namespace)?;
        let server = match found.context.as_str() {
            "" => found.server,
            context => format!("{} (context {context})", found.server),
        };
        Ok(Arc::new(Self {
            client: found.client,
            calls: Arc::new(Calls::new(options, server)),
            turns: Arc::new(Turns::new(options.log_streams)),
            namespace,
            context: found.context,
            expected,
            board: Arc::default(),
            watches: Mutex::default(),
            made: Mutex::default(),
            shared: tokio::sync::Mutex::default(),
            accepted: tokio::sync::Mutex::default(),
        }))
    }

    /// Whether the server answers, and knows who asks.
    pub(super) async fn answers(&self) -> Result<()> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &self.namespace);
        let ask = Ask { verb: "list", resource: "pods", name: "", namespace: &self.namespace };
        let params = ListParams::default().limit(1);
        self.calls.ask(ask, CHECK, || pods.list_metadata(&params)).await.map(drop)
    }

    /// The groups and versions that the server serves; `None` where it does not say so.
    pub(super) async fn api_versions(&self) -> Option<BTreeSet<String>> {
        let ask = Ask { verb: "get", resource: "apis", name: "", namespace: "" };
        let groups = self.calls.ask(ask, GLANCE, || self.client.list_api_groups()).await;
        let groups =
            groups.inspect_err(|error| tracing::debug!(%error, "what the cluster serves is not known"));
        let versions = groups.ok()?.groups.into_iter().flat_map(|group| group.versions);
        Some(versions.map(|version| version.group_version).collect())
    }

    /// Says what the cluster would not take, before anything is made. What it took of a version of a function, it takes
    /// again.
    pub(super) async fn check(&self, plan: &ClusterPlan, run: &Run) -> Result<()> {
        // Of many that ask for the first time, one finds out.
        let mut accepted = self.accepted.lock().await;
        // Building it makes other objects than running it.
        let build = run.metadata.labels.get(labels::BUILD).map(String::as_str).unwrap_or_default();
        let what = format!("{} {build}", run.spec.function);
        if accepted.contains(&what) {
            return Ok(());
        }
        let key = run.key().to_string();
        for manifest in &plan.objects {
            self.try_out(&Sent::new(manifest, &self.namespace, &key, 0)?).await?;
        }
        if accepted.len() >= KNOWN {
            accepted.clear();
        }
        // What is kept nowhere may be another one the next time.
        if !run.spec.function.is_empty() {
            accepted.insert(what);
        }
        Ok(())
    }

    /// Begins to watch what this run makes.
    pub(super) fn follow(&self, plan: &ClusterPlan, id: String, main: &str) -> Followed {
        let mut watches = self.watches.lock().unwrap_or_else(PoisonError::into_inner);
        let namespaces = plan.objects.iter().filter_map(Manifest::namespace).chain([self.namespace.as_str()]);
        let followed = self.board.follow(id, main);
        for namespace in namespaces.take(1) {
            let here = watches
                .entry(namespace.to_owned())
                .or_insert_with(|| Watches::start(&self.client, &self.calls, namespace, &self.board));
            if let Some(resource) = main_type(plan).filter(is_custom) {
                here.also(&resource);
            }
        }
        followed
    }

    /// Leaves out of a plan what all runs of its namespace share and is there: it is large, and there may be many runs.
    pub(super) async fn without_shared(&self, plan: &ClusterPlan) -> ClusterPlan {
        let shared = self.shared.lock().await;
        let is_needed =
            |manifest: &&Manifest| !manifest.is_shared() || !shared.contains(&self.shared_key(manifest));
        let objects = plan.objects.iter().filter(is_needed).cloned().collect();
        ClusterPlan {
            objects,
            addresses: plan.addresses.clone(),
            deadline: plan.deadline,
            notes: plan.notes.clone(),
        }
    }

    fn shared_key(&self, manifest: &Manifest) -> (String, String) {
        let namespace = manifest.namespace().unwrap_or(&self.namespace).to_owned();
        (namespace, manifest.name().to_owned())
    }

    /// Makes an object that all runs of the namespace share, unless that was done.
    pub(super) async fn share(&self, manifest: &Manifest) -> Result<()> {
        let key = self.shared_key(manifest);
        let mut shared = self.shared.lock().await;
        if !shared.contains(&key) {
            let mut sent = Sent::new(manifest, &self.namespace, "", 0)?;
            for label in [labels::RUN, labels::ATTEMPT] {
                if let Some(labels) = sent.value["metadata"]["labels"].as_object_mut() {
                    labels.remove(label);
                }
            }
            self.apply(&sent).await?;
            shared.insert(key);
        }
        Ok(())
    }

    /// Looks for what was made of this attempt, and keeps what is seen of it. Whether there is anything.
    pub(super) async fn find(
        &self,
        followed: &Followed,
        namespace: &str,
        (run, attempt): (&str, u32),
        main: Option<&ApiResource>,
    ) -> Result<bool> {
        let selector = format!("{}={run},{}={attempt}", labels::RUN, labels::ATTEMPT);
        let params = ListParams::default().labels(&selector);
        let jobs: Api<Job> = Api::namespaced(self.client.clone(), namespace);
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        let ask = |resource| Ask { verb: "list", resource, name: "", namespace };
        let jobs = self.calls.ask(ask("jobs"), START, || jobs.list(&params)).await?;
        let pods = self.calls.ask(ask("pods"), START, || pods.list(&params)).await?;
        let mut found: Vec<_> = jobs.iter().map(seen::job).collect();
        if let Some(resource) = main {
            let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), namespace, resource);
            let objects = self.calls.ask(ask(&resource.plural), START, || api.list(&params)).await?;
            found.extend(objects.iter().map(seen::custom));
        }
        let any = !found.is_empty() || pods.iter().next().is_some();
        followed.board().found(followed.id(), found.into_iter(), pods.iter().map(seen::pod));
        Ok(any)
    }

    /// Keeps what a run has made, for its end.
    pub(super) fn remember(&self, key: &RunKey, mut objects: Vec<Sent>) {
        // Their content is not needed to delete them.
        objects.iter_mut().for_each(|sent| sent.value = runtime_core::serde_json::Value::Null);
        objects.shrink_to_fit();
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        match made.entry(key.clone()) {
            Entry::Occupied(mut known) => known.get_mut().extend(objects),
            Entry::Vacant(new) => drop(new.insert(objects)),
        }
    }

    fn made(&self, key: &RunKey) -> Option<Vec<Sent>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner).remove(key)
    }

    /// Takes the object away that owns the others of a run, so that it makes no more of them; those that it `keeps` have
    /// the time to end that they are given.
    pub(super) async fn delete_owner(&self, key: &RunKey, keeps: bool) -> Result<()> {
        let objects = self.made(key).unwrap_or_default();
        let deleted = match objects.last() {
            Some(owner) if owner.resource.kind == "Pod" => Ok(()),
            Some(owner) if keeps => self.disown(owner).await,
            Some(owner) => self.delete(owner).await,
            None => Ok(()),
        };
        self.remember(key, objects);
        deleted.inspect_err(|error| tracing::warn!(%key, %error, "an object cannot be deleted"))
    }

    /// Deletes all that a run has made.
    pub(super) async fn release(&self, run: &Run) -> Result<()> {
        let key = run.key();
        match self.made(&key).filter(|objects| !objects.is_empty()) {
            Some(objects) => {
                for object in objects.iter().rev() {
                    self.delete(object).await?;
                }
                Ok(())
            }
            None => self.delete_all(&key, &self.namespace_of(run)).await,
        }
    }

    /// Where the objects of a run are.
    pub(super) fn namespace_of(&self, run: &Run) -> String {
        run.metadata.annotations.get(labels::NAMESPACE).unwrap_or(&self.namespace).clone()
    }
}
