//! From a request to a recorded run: everything that can be known to be wrong is said here, before anything is
//! recorded or started.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use jiff::Timestamp;
use runtime_core::{
    Error, ErrorKind, Function, Plan, Result, Run, Runtime, Target, function::Metadata, labels,
    logs::LogPosition, naming, run::hyper::Sweep, store::RunRecord, target::Job,
};

use tokio::sync::OwnedSemaphorePermit;

use super::{
    Inner, Request, checked::Checked, image, iterate, plan, provenance, purpose, purpose::Purpose,
    request::current_dir, source,
};
use crate::data::{ArtifactUri, Place, Scheme};

/// The project of functions and runs that name none.
pub(super) const DEFAULT_PROJECT: &str = "default";

/// Files with these endings are code, which a function carries along.
const CODE: [&str; 3] = ["py", "ipynb", "sh"];

/// The longest code that a function carries.
const MAX_CODE: u64 = 16 * 1024 * 1024;

/// A run that was checked and can be recorded.
pub(super) struct Prepared {
    pub(super) function: Arc<Function>,
    pub(super) tag: String,
    /// The function is in the store already, and its tags stay.
    pub(super) stored: bool,
    pub(super) record: RunRecord,
    pub(super) runtime: Arc<dyn Runtime>,
    pub(super) target: Arc<dyn Target>,
    pub(super) job: Job,
    /// The iterations, where it is many.
    pub(super) sweep: Option<Sweep>,
    pub(super) way: Option<Way>,
}

/// A place among those runs that are on their way to a cluster: until the objects are made that their plans describe.
pub(super) type Way = OwnedSemaphorePermit;

impl Inner {
    /// Checks a request from end to end; nothing is written or started. Errors name file and line where the function
    /// was read from a file.
    pub(super) async fn prepare(&self, request: &Request) -> Result<Prepared> {
        self.prepare_for(request, Purpose::Run).await
    }

    /// As [`Self::prepare`], for a run or for a build.
    pub(super) async fn prepare_for(&self, request: &Request, purpose: Purpose<'_>) -> Result<Prepared> {
        self.check(request, purpose).await.map_err(|error| request.function.locate(error))
    }

    async fn check(&self, request: &Request, purpose: Purpose<'_>) -> Result<Prepared> {
        let Request { base_dir, work_dir, tag, detached, .. } = request;
        let (tag, detached) = (tag.clone(), *detached);
        let base_dir = absolute(base_dir)?;
        let work_dir = if work_dir.as_os_str().is_empty() { base_dir.clone() } else { absolute(work_dir)? };
        let checked = self.check_function(request, &base_dir)?;
        let Checked { function, runtime, notes } = &*checked;
        let (function, kind) = (Arc::clone(function), runtime);

        let mut run = Box::new(new_run(&function, request, &base_dir, &work_dir)?);
        purpose.mark(&mut run, &function);
        let runtime = purpose::runtime_of(kind, &run);
        if !function.spec.build.source.is_empty() {
            // The code lies elsewhere; what is given to a run stays relative to the function.
            run.spec.input_path = base_dir.join(&run.spec.input_path).display().to_string();
        }
        if purpose.is_run() {
            super::retry::take_policy(&function, &mut run)?;
        }
        let target = self.target_named(&request.target, &*runtime)?;
        let cluster = target.cluster().await?;
        // Pods fetch what they can; whether they can is said where that is rendered.
        let source_notes = match cluster.is_some() {
            true => Vec::new(),
            false => self.check_source(&request.function, &base_dir)?,
        };
        let secret_notes = self.check_secrets(&mut run, detached, cluster.as_deref())?;
        let unbuilt = cluster.as_deref().filter(|_| !matches!(purpose, Purpose::Build(_)));
        let unbuilt = unbuilt.and_then(|cluster| image::unbuilt(&*runtime, &function, cluster));
        let sweep = iterate::prepare(&mut run, &work_dir)?;
        if cluster.is_none() {
            check_inputs(&run, &base_dir)?;
        }
        plan::note_place(&*target, &function, &mut run).await?;
        let deployed = match purpose.is_run() && runtime.capability().deploys {
            true => self.use_deployment(&function, &*target, &mut run).await?,
            false => None,
        };
        self.pin_inputs(&mut run).await?;
        if let Some(url) = self.artifact_url(&run)? {
            url.check_writable().map_err(|error| error.at("spec.output_path"))?;
        }
        run.status.provenance = provenance::of(&run, &function, &base_dir);
        // Of many iterations the first one stands for all.
        let run: Arc<Run> = run.into();
        let planned = match &sweep {
            Some(sweep) => Arc::new(iterate::check(&*runtime, &function, &run, sweep)?),
            None => {
                runtime.validate(&function, &run)?;
                Arc::clone(&run)
            }
        };
        let way = self.way(&*target).await?;
        let plan = self.plan(&*target, &*runtime, &function, &planned, 0).await?;
        let mut job = self.with_source(&function, self.job(planned, plan, 0, detached))?;
        let found = target.check(&job).await?;
        job.run = run;
        let run = Arc::make_mut(&mut job.run);
        let of_sweep = sweep.iter().flat_map(|sweep| &sweep.notes);
        let of_all = request
            .notes
            .iter()
            .chain(notes)
            .chain(&source_notes)
            .chain(&secret_notes)
            .chain(&unbuilt)
            .chain(&deployed);
        for note in of_all.chain(of_sweep).chain(&found) {
            super::reduce::add_note(run, note);
        }
        if detached && !runtime.capability().survives {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!("a run of the kind `{}` ends with the program that started it", runtime.kind()),
            )
            .help("run it without `--detach`, or from a program that stays"));
        }
        let record = RunRecord {
            run: Arc::clone(&job.run),
            revision: 0,
            owner: self.owner.id().to_owned(),
            target: target.name().to_owned(),
            attempt: 0,
        };
        let stored = request.stored && request.function.metadata.hash == function.metadata.hash;
        Ok(Prepared { function, tag, stored, record, runtime, target, job, sweep, way })
    }

    /// Waits for a place among those on their way to a cluster: plans are large, and who submits more than a cluster takes
    /// would have them all in memory.
    pub(super) async fn way(&self, target: &dyn Target) -> Result<Option<Way>> {
        match target.cluster().await?.is_some() {
            true => Ok(Arc::clone(&self.ways).acquire_owned().await.ok()),
            false => Ok(None),
        }
    }

    /// The function of a request as it is stored: named, checked, with its code and its hash.
    pub(super) fn stored_form(&self, request: &Request) -> Result<Function> {
        let base_dir = absolute(&request.base_dir)?;
        Ok(Function::clone(&self.check_function(request, &base_dir)?.function))
    }

    /// The function of a request as it is stored, and its kind.
    pub(super) fn function_and_kind(&self, request: &Request) -> Result<(Arc<Function>, Arc<dyn Runtime>)> {
        let base_dir = absolute(&request.base_dir)?;
        let checked = self.check_function(request, &base_dir)?;
        Ok((Arc::clone(&checked.function), Arc::clone(&checked.runtime)))
    }

    fn check_function(&self, request: &Request, base_dir: &Path) -> Result<Arc<Checked>> {
        let given = &request.function;
        if let Some(checked) = self.checked.get(given, &request.project, base_dir) {
            return Ok(checked);
        }
        let runtime = Arc::clone(self.registry.get(&given.kind)?);
        let notes = given.check_fields(runtime.fields())?;
        let function = resolved(request)?;
        let checked = Arc::new(Checked { function: Arc::new(function), runtime, notes });
        self.checked.put(given, &request.project, base_dir, &checked);
        Ok(checked)
    }

    /// Writes the function, where it is new, and the run.
    pub(super) async fn record(self: &Arc<Self>, prepared: &mut Prepared) -> Result<()> {
        if prepared.record.owner == self.owner.id() {
            self.hold_lease().await?;
        }
        let Prepared { function, tag, stored, record, .. } = prepared;
        let Metadata { project, name, hash, .. } = &function.metadata;
        let name = (project.clone(), name.clone());
        let known = match (*stored, tag.is_empty()) {
            // A run of an old version does not make it the newest.
            (true, true) => true,
            (true, false) => self.store.tag_function(&name.0, &name.1, hash, tag).await?,
            (false, true) => self.known(&name).as_deref() == Some(hash.as_str()),
            (false, false) => false,
        };
        if !known {
            let tag = Some(tag.as_str()).filter(|tag| !tag.is_empty());
            self.store.put_function(function, tag).await?;
            self.remember(name, function.metadata.hash.clone());
        }
        self.store.create_run(record).await?;
        record.revision = 1;
        Ok(())
    }

    /// The job of a run, as a target takes it.
    pub(super) fn job(&self, run: Arc<Run>, plan: Plan, attempt: u32, detached: bool) -> Job {
        let folder = |label: &str| run.metadata.annotations.get(label).map(PathBuf::from).unwrap_or_default();
        Job {
            key: run.key(),
            attempt,
            plan: Arc::new(plan),
            base_dir: folder(labels::BASE_DIR),
            work_dir: folder(labels::WORK_DIR),
            artifact_path: self.artifact_path(&run),
            secrets: Arc::new(self.run_secrets(&run)),
            secret_source: self.secrets.clone(),
            inputs: BTreeMap::new(),
            run,
            log_position: LogPosition::default(),
            resumed: false,
            detached,
            source: None,
        }
    }

    /// The folder into which the code of a run writes artifacts, as text.
    pub(super) fn artifact_path(&self, run: &Run) -> String {
        self.artifact_folder(run).display().to_string()
    }

    /// The folder for artifacts of a run that names none. Iterations share it: what each writes is put into a folder
    /// in it, as MLRun does.
    pub(super) fn default_artifacts(&self, run: &Run) -> PathBuf {
        self.home.join("artifacts").join(&run.metadata.project).join(&run.metadata.uid)
    }
}

/// The function of a request: named, with its code and its hash.
pub(super) fn resolved(request: &Request) -> Result<Function> {
    let mut function = request.function.clone();
    name_function(&mut function, request);
    let base_dir = absolute(&request.base_dir)?;
    if source::in_reach(&function, &base_dir) {
        let base = source::code_base(&function, &base_dir);
        embed_code(&mut function, &base)?;
    }
    function.validate()?;
    function.metadata.hash = function.hash();
    Ok(function)
}

/// Without `.` and a last `/`: who compares it with the current folder finds them equal.
fn absolute(path: &Path) -> Result<PathBuf> {
    Ok(current_dir()?.join(path).components().collect())
}

fn name_function(function: &mut Function, request: &Request) {
    let metadata = &mut function.metadata;
    if !request.project.is_empty() {
        metadata.project.clone_from(&request.project);
    } else if metadata.project.is_empty() {
        metadata.project = DEFAULT_PROJECT.to_owned();
    }
    if metadata.name.is_empty() {
        let from = [
            function.spec.command.as_str(),
            request.spec.handler.as_str(),
            function.spec.default_handler.as_str(),
        ];
        let stem =
            |text: &str| Path::new(text).file_stem().and_then(|stem| stem.to_str()).map(naming::normalize);
        metadata.name = from
            .into_iter()
            .filter_map(stem)
            .find(|name| !name.is_empty())
            .unwrap_or_else(|| "function".to_owned());
    }
}

/// Takes the code of `spec.command` into the function, so that what is stored is all that is needed.
pub(crate) fn embed_code(function: &mut Function, base_dir: &Path) -> Result<()> {
    let command = function.spec.command.clone();
    let extension = Path::new(&command).extension().and_then(|extension| extension.to_str());
    let is_code = extension.is_some_and(|extension| CODE.contains(&extension));
    if function.spec.mode == "pass" || !is_code || function.code()?.is_some() {
        return Ok(());
    }
    let path = base_dir.join(&command);
    let fail = |error: std::io::Error| {
        let missing = error.kind() == std::io::ErrorKind::NotFound;
        let error = Error::io("read", &path, error).at("spec.command");
        if missing { error.help("paths are read against the folder of the function's file") } else { error }
    };
    let length = std::fs::metadata(&path).map_err(fail)?.len();
    if length > MAX_CODE {
        return Err(Error::invalid(
            "spec.command",
            format!("{} is too large for code: {length} bytes", path.display()),
        ));
    }
    let content = std::fs::read(&path).map_err(fail)?;
    let text = String::from_utf8(content).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Error::invalid("spec.command", format!("{} is not UTF-8 text (byte {at})", path.display()))
    })?;
    *function = std::mem::take(function).embed_file(&command, &text, &path)?;
    Ok(())
}

fn new_run(function: &Function, request: &Request, base_dir: &Path, work_dir: &Path) -> Result<Run> {
    let handler =
        [&request.spec.handler, &function.spec.default_handler].into_iter().find(|name| !name.is_empty());
    let mut run = Run { spec: request.spec.clone(), ..Run::default() };
    let Metadata { project, name, hash, .. } = &function.metadata;
    run.spec.function = format!("{project}/{name}@{hash}");
    let metadata = &mut run.metadata;
    metadata.uid = match request.uid.as_str() {
        "" => uuid::Uuid::new_v4().simple().to_string(),
        uid => naming::check_uid(uid)?.to_owned(),
    };
    metadata.project.clone_from(&function.metadata.project);
    metadata.name = if request.name.is_empty() {
        naming::run_name(&function.metadata.name, handler.map_or("", String::as_str))
    } else {
        naming::check("name", &request.name)?;
        request.name.clone()
    };
    metadata.labels.clone_from(&request.labels);
    metadata.annotations.clone_from(&request.annotations);
    metadata.labels.insert("kind".to_owned(), function.kind.clone());
    if let Ok(user) = std::env::var("USER")
        && !user.is_empty()
    {
        metadata.labels.entry("owner".to_owned()).or_insert(user);
    }
    metadata.annotations.insert(labels::BASE_DIR.to_owned(), base_dir.display().to_string());
    metadata.annotations.insert(labels::WORK_DIR.to_owned(), work_dir.display().to_string());
    run.status.last_update = Some(Timestamp::now());
    Ok(run)
}

/// An input that is a file of this machine must be there; what is elsewhere, must be somewhere that can be reached.
fn check_inputs(run: &Run, base_dir: &Path) -> Result<()> {
    let folder = if run.spec.input_path.is_empty() {
        base_dir.to_owned()
    } else {
        base_dir.join(&run.spec.input_path)
    };
    for (name, text) in &run.spec.inputs {
        if ArtifactUri::is_uri(text) {
            continue;
        }
        let at = |error: Error| error.at(format!("inputs.{name}"));
        let place = Place::parse(text).map_err(at)?;
        let path = match place.path() {
            Some(path) => folder.join(path),
            // Without a client here, the agent has one for these.
            None if place.scheme() == Scheme::Http => continue,
            None => {
                place.check_compiled().map_err(at)?;
                continue;
            }
        };
        if !path.exists() {
            return Err(Error::not_found(format!("there is no file {}", path.display()))
                .at(format!("inputs.{name}"))
                .help("relative paths are read against the function's folder"));
        }
    }
    Ok(())
}
