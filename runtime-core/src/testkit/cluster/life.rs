//! What a pod does, as a script.

use std::time::Duration;

/// What happens to a pod, step by step. Each step is seen by all watches; between two steps nothing has to be waited
/// for, unless the script says so ([`wait`](Self::wait), [`delay`](Self::delay)).
///
/// Steps that are about a container are about the first one, until [`container`](Self::container) names another.
///
/// ```
/// use runtime_core::testkit::cluster::Life;
///
/// let trained = Life::started().prints("epoch 1").wait("go").prints("epoch 2").exits(0);
/// let hungry = Life::started().prints("loading").oom_killed();
/// let never = Life::new().unschedulable("0/1 nodes are available: 1 Insufficient nvidia.com/gpu.");
/// ```
#[derive(Clone, Debug, Default)]
pub struct Life {
    pub(super) steps: Vec<Step>,
    pub(super) on_term: Option<Vec<Step>>,
}

/// One thing that happens.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Schedule(String),
    Unschedulable(String),
    Pull,
    PullFails(String),
    PullBacksOff,
    InvalidImageName,
    ConfigError(String),
    MountFails(String, String),
    Run,
    Ready(bool),
    Container(String),
    Print(String),
    Execute,
    Exit { code: i32, reason: Option<String>, message: Option<String>, signal: Option<i32> },
    Evict(String),
    Preempt(String),
    NodeLost,
    Event { warning: bool, reason: String, message: String },
    Wait(String),
    Delay(Duration),
    Forever,
}

/// The node on which pods run that name no other.
pub const NODE: &str = "node-1";

impl Life {
    /// Nothing has happened yet: the pod is pending.
    pub fn new() -> Self {
        Self::default()
    }

    /// It was given to a node, its image was there, its containers run and are ready.
    pub fn started() -> Self {
        Self::new().scheduled().pulled().running().ready()
    }

    /// It runs and ends well, without a word.
    pub fn completes() -> Self {
        Self::started().exits(0)
    }

    /// It runs what its first container says: a process on this machine, with the container's command, variables and
    /// working directory. What it prints is the log, its exit is the container's. It is asked to end and killed as a
    /// container is, and nothing that it started outlives it.
    ///
    /// There is no image, and no file system of its own: a container without a command, with volumes, or with variables that
    /// have their values from elsewhere gets `CreateContainerConfigError`.
    pub fn executes() -> Self {
        Self::new().scheduled().pulled().and(Step::Execute)
    }

    fn and(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    /// The scheduler gives it to [`NODE`], or to the node that its `kubernetes.io/hostname` selector names.
    #[must_use]
    pub fn scheduled(self) -> Self {
        self.and(Step::Schedule(String::new()))
    }

    /// The scheduler gives it to this node, which is made where it is not there.
    #[must_use]
    pub fn scheduled_on(self, node: &str) -> Self {
        self.and(Step::Schedule(node.to_owned()))
    }

    /// The scheduler finds no node, and says why: `0/3 nodes are available: 3 Insufficient cpu.`
    #[must_use]
    pub fn unschedulable(self, message: &str) -> Self {
        self.and(Step::Unschedulable(message.to_owned()))
    }

    /// Its images are there.
    #[must_use]
    pub fn pulled(self) -> Self {
        self.and(Step::Pull)
    }

    /// Its image cannot be pulled: `ErrImagePull`, with what the registry said.
    #[must_use]
    pub fn pull_fails(self, message: &str) -> Self {
        self.and(Step::PullFails(message.to_owned()))
    }

    /// It waits before it tries again: `ImagePullBackOff`.
    #[must_use]
    pub fn pull_backs_off(self) -> Self {
        self.and(Step::PullBacksOff)
    }

    /// Its image's name cannot be read: `InvalidImageName`.
    #[must_use]
    pub fn invalid_image_name(self) -> Self {
        self.and(Step::InvalidImageName)
    }

    /// Its container cannot be made: `CreateContainerConfigError`, such as `secret "db" not found`.
    #[must_use]
    pub fn config_error(self, message: &str) -> Self {
        self.and(Step::ConfigError(message.to_owned()))
    }

    /// A volume cannot be mounted: `FailedMount`.
    #[must_use]
    pub fn mount_fails(self, volume: &str, message: &str) -> Self {
        self.and(Step::MountFails(volume.to_owned(), message.to_owned()))
    }

    /// Its containers run; those that have ended are started again, and counted.
    #[must_use]
    pub fn running(self) -> Self {
        self.and(Step::Run)
    }

    /// Its containers that run are ready.
    #[must_use]
    pub fn ready(self) -> Self {
        self.and(Step::Ready(true))
    }

    /// Its containers are not ready any more.
    #[must_use]
    pub fn not_ready(self) -> Self {
        self.and(Step::Ready(false))
    }

    /// The next steps are about this container.
    #[must_use]
    pub fn container(self, name: &str) -> Self {
        self.and(Step::Container(name.to_owned()))
    }

    /// The container prints a line.
    #[must_use]
    pub fn prints(self, line: &str) -> Self {
        self.and(Step::Print(line.to_owned()))
    }

    /// The container ends with a code: 0 is `Completed`, all others `Error`. What follows is the pod's restart policy's
    /// matter. Without [`container`](Self::container), the others end, too.
    #[must_use]
    pub fn exits(self, code: i32) -> Self {
        self.and(Step::Exit { code, reason: None, message: None, signal: None })
    }

    /// As [`exits`](Self::exits), with a termination message: what it had written to `/dev/termination-log`.
    #[must_use]
    pub fn exits_saying(self, code: i32, message: &str) -> Self {
        self.and(Step::Exit { code, reason: None, message: Some(message.to_owned()), signal: None })
    }

    /// The container is ended by a signal.
    #[must_use]
    pub fn killed(self, signal: i32) -> Self {
        self.and(Step::Exit { code: 128 + signal, reason: None, message: None, signal: Some(signal) })
    }

    /// The container had more memory than it may: `OOMKilled`, 137.
    #[must_use]
    pub fn oom_killed(self) -> Self {
        self.and(Step::Exit { code: 137, reason: Some("OOMKilled".to_owned()), message: None, signal: None })
    }

    /// The container could not be started: `StartError`, 128, with what the container runtime said.
    #[must_use]
    pub fn start_error(self, message: &str) -> Self {
        let reason = Some("StartError".to_owned());
        self.and(Step::Exit { code: 128, reason, message: Some(message.to_owned()), signal: None })
    }

    /// The kubelet evicts it: `The node was low on resource: memory.`
    #[must_use]
    pub fn evicted(self, message: &str) -> Self {
        self.and(Step::Evict(message.to_owned()))
    }

    /// The scheduler deletes it for a pod of a higher priority.
    #[must_use]
    pub fn preempted(self, by: &str) -> Self {
        self.and(Step::Preempt(by.to_owned()))
    }

    /// Its node is not heard of any more, as with [`FakeCluster::lose_node`](super::FakeCluster::lose_node).
    #[must_use]
    pub fn node_lost(self) -> Self {
        self.and(Step::NodeLost)
    }

    /// An event of type `Warning` about it.
    #[must_use]
    pub fn warns(self, reason: &str, message: &str) -> Self {
        self.and(Step::Event { warning: true, reason: reason.to_owned(), message: message.to_owned() })
    }

    /// It goes on when [`FakeCluster::go`](super::FakeCluster::go) has said this word.
    #[must_use]
    pub fn wait(self, word: &str) -> Self {
        self.and(Step::Wait(word.to_owned()))
    }

    /// It goes on when the server's clock has gone so far, or was [put forward](super::FakeCluster::advance).
    #[must_use]
    pub fn delay(self, delay: Duration) -> Self {
        self.and(Step::Delay(delay))
    }

    /// What happens when it is asked to end; then it is gone. Without it, its containers end with 143 at once. At the end
    /// of its grace it is killed in any case.
    #[must_use]
    pub fn on_term(mut self, life: Self) -> Self {
        self.on_term = Some(life.steps);
        self
    }

    /// It does not end before it is killed.
    #[must_use]
    pub fn ignores_term(self) -> Self {
        self.on_term(Self { steps: vec![Step::Forever], on_term: None })
    }
}
