//! The labels by which MLRun's users and tools find things, and our own.

/// The function's kind.
pub const CLASS: &str = "mlrun/class";
/// The project.
pub const PROJECT: &str = "mlrun/project";
/// The function's name.
pub const FUNCTION: &str = "mlrun/function";
/// The run's name.
pub const NAME: &str = "mlrun/name";
/// The function's tag.
pub const TAG: &str = "mlrun/tag";
/// The run's uid.
pub const UID: &str = "mlrun/uid";
/// Who started the run.
pub const OWNER: &str = "mlrun/owner";

/// Where that person is from: what stands behind the `@`.
pub const OWNER_DOMAIN: &str = "mlrun/owner_domain";
/// Whether metrics are collected: `True` or `False`.
pub const SCRAPE_METRICS: &str = "mlrun/scrape-metrics";
/// What a build pod does.
pub const TASK_NAME: &str = "mlrun/task-name";
/// Which iteration of its parent the run is.
pub const ITERATION: &str = "mlrun/iteration";

/// The schedule that started the run.
pub const SCHEDULE: &str = "mlrun/schedule-name";

/// Label on a run that builds an image: what the image is made of, as [`crate::plan::Image`] says.
pub const BUILD: &str = "runtimes/build";
/// Annotation on a run that builds an image: the image's name.
pub const IMAGE: &str = "runtimes/image";
/// Annotation on a run that builds an image: what that is built on, as its function names it.
pub const BASE_IMAGE: &str = "runtimes/base-image";

/// Label on a run that is a deployment of its function: the function's name.
pub const DEPLOYMENT: &str = "runtimes/deployment";
/// Annotation on a run that uses a deployment of its function: that one's uid.
pub const USES: &str = "runtimes/uses";
/// Annotation on a run that uses a deployment of its function: where that is, as JSON of [`crate::run::RunStatus::addresses`].
pub const ADDRESSES: &str = "runtimes/addresses";

/// Annotation on a run: the folder against which the function's relative paths are read.
pub const BASE_DIR: &str = "runtimes/base-dir";
/// Annotation on a run: what its source is, exactly: `URL#COMMIT`, or an archive with its digest.
pub const SOURCE: &str = "runtimes/source";
/// Annotation on a run: the commit of its source.
pub const SOURCE_COMMIT: &str = "runtimes/source-commit";
/// Annotation on a run: the folder with its source, while it runs.
pub const SOURCE_DIR: &str = "runtimes/source-dir";

/// Annotation on a run: the folder in which its processes run where the function names none.
pub const WORK_DIR: &str = "runtimes/work-dir";
/// Annotation on a run: the run that it does again.
pub const RERUN_OF: &str = "runtimes/rerun-of";

/// Label on objects of a cluster: who made them.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Its value on ours.
pub const RUNTIMES: &str = "runtimes";
/// Label on objects of a cluster: the run that they belong to, as its key is written.
pub const RUN: &str = "runtimes/run";
/// Label on objects of a cluster: which attempt of that run, from 0.
pub const ATTEMPT: &str = "runtimes/attempt";
/// Label on pods of a run that are not its main one: which part of it they are (`scheduler`).
pub const PART: &str = "runtimes/part";
/// Label on pods of a run that are not its main one: `service` or `worker`, as [`crate::plan::Role`] says.
pub const ROLE: &str = "runtimes/role";
/// Annotation on a run: the context of the cluster on which it runs.
pub const CONTEXT: &str = "runtimes/context";
/// Annotation on a run: the namespace in which its objects are.
pub const NAMESPACE: &str = "runtimes/namespace";
/// Label on objects of a cluster that belong to no run: all of a namespace have them together.
pub const SHARED: &str = "runtimes/shared";
/// How the names of labels and annotations begin that are ours.
pub const PREFIX: &str = "runtimes/";
