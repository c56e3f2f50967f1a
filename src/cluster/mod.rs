//! The target "kubernetes": a run's objects are made, watched, read and taken away.
//!
//! What a run is made of is described elsewhere ([`Runtime::render`]); here it is sent to the API server, with labels by
//! which all of it is found again. Pods, Jobs and warnings of a namespace are watched once, for all runs.
//!
//! [`Runtime::render`]: crate::core::Runtime::render

mod apply;
mod board;
mod call;
mod cause;
mod connect;
mod election;
mod error;
mod follow;
mod link;
mod log;
#[cfg(test)]
mod model;
mod observe;
mod options;
mod parts;
mod remove;
mod seen;
mod turns;
mod watch;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
pub use kube;
use runtime_core::{
    Error, ErrorKind, Plan, Result, Run, Target,
    cluster::Cluster,
    labels,
    run::RunKey,
    target::{Event, Job, Leftover},
};
use tokio::{
    sync::{OnceCell, mpsc},
    time::Instant,
};

pub use election::{Election, ElectionOptions, Lost, Standing, Term};
use follow::Drive;
use link::Link;
pub use options::ClusterOptions;

use crate::stop::{self, Stopper};

/// How many events may wait to be taken.
const EVENTS: usize = 256;

/// How long what a cluster serves is taken as true: operators are installed while somebody follows runs.
const KNOWN: Duration = Duration::from_secs(60);

/// After which time a cluster is asked again that did not say what it serves.
const UNKNOWN: Duration = Duration::from_secs(5);

/// The target "kubernetes". It connects when it is first needed.
pub struct Kubernetes {
    options: ClusterOptions,
    client: Option<kube::Client>,
    link: OnceCell<Arc<Link>>,
    /// What is known of the cluster, and until when that is taken as true.
    cluster: tokio::sync::Mutex<Option<(Arc<Cluster>, Instant)>>,
    /// Clusters of other contexts, where runs of earlier orchestrators are.
    others: tokio::sync::Mutex<HashMap<String, Arc<Link>>>,
    active: Mutex<HashMap<RunKey, Active>>,
    /// Types of operators' objects that runs may have.
    expected: OnceLock<Arc<[(&'static str, &'static str)]>>,
}

/// A run that is followed here.
#[derive(Clone)]
struct Active {
    attempt: u32,
    /// To whoever follows it.
    events: mpsc::WeakSender<Event>,
    aborts: Stopper,
    link: Arc<Link>,
    namespace: String,
}

impl Active {
    fn is_followed(&self) -> bool {
        self.events.upgrade().is_some_and(|events| !events.is_closed())
    }
}

impl Kubernetes {
    /// A cluster that is found by the kubeconfig, or in whose pod this runs.
    pub fn new(options: ClusterOptions) -> Self {
        Self {
            options,
            client: None,
            link: OnceCell::new(),
            cluster: tokio::sync::Mutex::default(),
            others: tokio::sync::Mutex::default(),
            active: Mutex::default(),
            expected: OnceLock::new(),
        }
    }

    /// The cluster of this client.
    pub fn with_client(client: kube::Client, options: ClusterOptions) -> Self {
        Self { client: Some(client), ..Self::new(options) }
    }

    async fn link(&self) -> Result<&Arc<Link>> {
        self.link.get_or_try_init(|| Link::open(&self.options, self.client.clone(), self.expected())).await
    }

    /// The cluster on which a run was started, which need not be the one that is chosen now.
    async fn link_of(&self, run: &Run) -> Result<Arc<Link>> {
        let context = run.metadata.annotations.get(labels::CONTEXT).map(String::as_str).unwrap_or_default();
        if self.client.is_some() || context.is_empty() {
            return self.link().await.cloned();
        }
        if let Ok(link) = self.link().await
            && link.context == context
        {
            return Ok(Arc::clone(link));
        }
        let mut others = self.others.lock().await;
        if let Some(link) = others.get(context) {
            return Ok(Arc::clone(link));
        }
        let options = ClusterOptions { context: Some(context.to_owned()), ..self.options.clone() };
        let link = Link::open(&options, None, self.expected()).await?;
        others.insert(context.to_owned(), Arc::clone(&link));
        Ok(link)
    }

    fn expected(&self) -> Arc<[(&'static str, &'static str)]> {
        self.expected.get().cloned().unwrap_or_default()
    }

    fn active(&self) -> MutexGuard<'_, HashMap<RunKey, Active>> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Target for Kubernetes {
    fn name(&self) -> &'static str {
        "kubernetes"
    }

    fn is_bound(&self) -> bool {
        false
    }

    async fn reach(&self, run: &Run) -> Result<()> {
        self.link_of(run).await?.answers().await
    }

    fn expect(&self, resources: &[(&'static str, &'static str)]) {
        let _ = self.expected.set(resources.into());
    }

    fn reports_apart(&self) -> bool {
        true
    }

    async fn cluster(&self) -> Result<Option<Arc<Cluster>>> {
        let mut known = self.cluster.lock().await;
        if let Some((cluster, until)) = &*known
            && Instant::now() < *until
        {
            return Ok(Some(Arc::clone(cluster)));
        }
        let link = self.link().await?;
        let (namespace, context) = (link.namespace.clone(), link.context.clone());
        let served = link.api_versions().await;
        let until = Instant::now() + if served.is_some() { KNOWN } else { UNKNOWN };
        let before = known.take().and_then(|(cluster, _)| cluster.api_versions.clone());
        let api_versions = served.or(before);
        let cluster = Arc::new(Cluster { namespace, context, api_versions, ..self.options.cluster.clone() });
        *known = Some((Arc::clone(&cluster), until));
        Ok(Some(cluster))
    }

    async fn check(&self, job: &Job) -> Result<Vec<String>> {
        let link = self.link().await?;
        let Plan::Cluster(plan) = &*job.plan else {
            return Err(Error::new(ErrorKind::Unsupported, "processes do not run on a cluster")
                .help("leave `--on` out to run it on this machine"));
        };
        plan.objects.iter().try_for_each(|manifest| follow::given(manifest, job).map(drop))?;
        link.check(plan, &job.run).await?;
        Ok(plan.notes.clone())
    }

    async fn apply(&self, mut job: Job) -> Result<mpsc::Receiver<Event>> {
        let link = self.link_of(&job.run).await?;
        let Plan::Cluster(plan) = &*job.plan else {
            return Err(Error::internal("the plan is for another target"));
        };
        let (events, receiver) = mpsc::channel(EVENTS);
        let (aborts, requests) = stop::channel();
        let namespace = link.namespace_of(&job.run);
        {
            let mut active = self.active();
            if active.get(&job.key).is_some_and(|known| known.attempt == job.attempt && known.is_followed()) {
                let what = format!("run {} is being followed already", job.key);
                return Err(Error::new(ErrorKind::AlreadyExists, what));
            }
            let (link, events) = (Arc::clone(&link), events.downgrade());
            active.insert(job.key.clone(), Active { attempt: job.attempt, events, aborts, link, namespace });
        }
        let main = plan.objects.last().map(|main| main.name()).unwrap_or_default();
        let id = board::id(&job.key.to_string(), &job.attempt.to_string());
        let followed = link.follow(plan, id, main);
        let (deadline, grace, addresses) = (plan.deadline, plan.grace(), plan.addresses.clone());
        let main = link::main_type(plan).filter(apply::is_custom).map(Box::new);
        job.plan = Arc::new(Plan::Cluster(link.without_shared(plan).await));
        let drive = Box::new(Drive {
            link,
            key: job.key.clone(),
            attempt: job.attempt,
            stored: job.log_position.clone(),
            main,
            events,
            aborts: requests,
            followed,
            namespace: String::new(),
            stopped: HashMap::new(),
            deleted: HashMap::new(),
            deadline,
            grace,
            refused: None,
            logs: HashMap::new(),
            addresses,
        });
        tokio::spawn(drive.run(Box::new(job)));
        Ok(receiver)
    }

    async fn abort(&self, key: &RunKey, grace: Duration) -> Result<()> {
        let active = self.active().get(key).cloned();
        match active {
            Some(active) if active.aborts.ask(grace) => Ok(()),
            Some(active) => active.link.delete_all(key, &active.namespace).await,
            None => {
                let link = self.link().await?;
                link.delete_all(key, &link.namespace).await
            }
        }
    }

    async fn release(&self, run: &Run) -> Result<()> {
        let active = self.active().remove(&run.key());
        let link = match active {
            Some(active) => active.link,
            None => self.link_of(run).await?,
        };
        link.release(run).await
    }

    async fn leftovers(&self) -> Result<Vec<Leftover>> {
        // Who has not been there has left nothing.
        match self.link.get() {
            Some(link) => link.leftovers().await,
            None => Ok(Vec::new()),
        }
    }
}
