//! `render`: the objects that a cluster would get for a function and a run, without sending them.

use std::path::{Path, PathBuf};

use runtimes::{
    Error, Function, Registry, Request, Result, Run,
    core::{
        Runtime,
        cluster::{Cluster, Style},
        naming,
        plan::{ClusterPlan, Manifest},
        secret::RunSecrets,
        serde_json::{self, Value, json},
        yaml,
    },
};

use super::run::request;
use crate::{
    home::Home,
    output::{Format, OutputArgs, data, stdio},
    parse::{self, Pair},
};

const EXAMPLES: &str = "\
Examples:
  runtimes render function.yaml                          the Job that a cluster would get
  runtimes render train.py --kind job --handler fit -p epochs=3
  runtimes render function.yaml --build                  the pod that builds its image, and the Dockerfile
  runtimes render cluster.yaml --deploy                  what stays up between runs
  runtimes render function.yaml --style mlrun            what MLRun would send for it
  runtimes render function.json context.json run.json -o json

A context says what a rendering must know of the service: `namespace`, `config` (MLRun's settings by their names),
`client_version`, `project_spec`, `secrets` (keys of the project's secrets), `global_secrets`,
`default_service_account` and `allowed_service_accounts`.";

/// The uid of a run that is not recorded.
const UID: &str = "00000000000000000000000000000000";
/// How long a uid may be: names of objects have room for more than it.
const MAX_UID: usize = 40;

/// Show the objects that a cluster would get for a function, without sending them
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The function: a file, a stored one, or an address
    function: String,
    /// What there is beside it: settings, names of secrets (a JSON or YAML file)
    context: Option<PathBuf>,
    /// A run of it (a JSON or YAML file)
    run: Option<PathBuf>,
    /// Whose objects
    #[arg(long, value_enum, default_value_t)]
    style: Objects,
    /// What deploying it creates, not what a run of it does: a context with nothing of a run means the same
    #[arg(long, conflicts_with_all = ["run", "handler", "params", "name"])]
    deploy: bool,
    /// What building its image creates
    #[arg(long, conflicts_with_all = ["run", "handler", "params", "name", "deploy"])]
    build: bool,
    /// The function to call in its code
    #[arg(long, value_name = "NAME", conflicts_with = "run")]
    handler: Option<String>,
    /// A parameter; JSON where it is JSON, otherwise text
    #[arg(short = 'p', long = "param", value_name = "KEY=VALUE", value_parser = parse::pair, conflicts_with = "run")]
    params: Vec<Pair>,
    /// The run's name
    #[arg(long, value_name = "NAME", conflicts_with = "run")]
    name: Option<String>,
    /// Render it as this kind (`runtimes kinds` lists them)
    #[arg(long, value_name = "KIND")]
    kind: Option<String>,
    /// The image, in place of the function's
    #[arg(long, value_name = "IMAGE")]
    image: Option<String>,
    /// The namespace, in place of the context's
    #[arg(long, value_name = "NAME")]
    namespace: Option<String>,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// Whose objects are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Objects {
    /// What this version would send: a Job of Kubernetes, unless the function has `wrapper: pod`
    #[default]
    Native,
    /// What MLRun would send
    Mlrun,
}

pub(crate) async fn execute(args: Args, home: &Home) -> Result<u8> {
    let request = request::load(&args.function, home).await?;
    let function = changed(&request, &args);
    function.validate()?;
    let registry = Registry::linked()?;
    let kind = registry.get(&function.kind).map_err(|error| function.locate(error))?;
    for note in function.check_fields(kind.fields())? {
        eprintln!("note: {note}");
    }
    let mut cluster = cluster(&args)?;
    if cluster.style == Style::Native && args.context.is_none() && !args.deploy && !args.build {
        cluster.run_secrets = given_secrets(&function, home).await;
    }
    let plan = if args.deploy {
        kind.deploy(&function, &cluster)
    } else if args.build {
        building(&**kind, &function, &cluster)
    } else if args.is_of_deploying() {
        kind.deploy(&function, &cluster).map_err(|error| {
            let help = error.help_text().unwrap_or("a context without a run shows what deploying creates");
            let help = format!("{help}\nfor the objects of a run, add a file of it, or --name");
            error.help(help)
        })
    } else {
        expected_in_image(&function, &request);
        let run = run(&function, &request, &args)?;
        if cluster.style == Style::Native {
            kind.validate(&function, &run).map_err(|error| function.locate(error))?;
        }
        kind.render(&function, &run, &cluster)
    };
    let plan = plan.map_err(|error| function.locate(error))?;
    for note in &plan.notes {
        eprintln!("note: {note}");
    }
    stdio::stdout(shown(&plan, cluster.style, args.output.output)?.as_bytes())?;
    Ok(0)
}

impl Args {
    /// A context without anything of a run.
    fn is_of_deploying(&self) -> bool {
        let of_run = self.run.is_some() || self.handler.is_some() || self.name.is_some();
        self.context.is_some() && !of_run && self.params.is_empty()
    }
}

/// What the first build of its image creates; where there is nothing to build, that is said.
fn building(kind: &dyn Runtime, function: &Function, cluster: &Cluster) -> Result<ClusterPlan> {
    let mut run = Run::default();
    run.metadata.uid = kind.image(function, cluster)?.map_or_else(|| UID.to_owned(), |image| image.uid(0));
    run.metadata.name = naming::run_name(&format!("build-{}", function.metadata.name), "");
    run.metadata.project.clone_from(&function.metadata.project);
    kind.build(function, &run, cluster)
}

/// The names of the secrets that pods of this function would be given from the home; values are not read.
async fn given_secrets(function: &Function, home: &Home) -> Option<Vec<String>> {
    if !home.exists() {
        return None;
    }
    let project = Some(function.metadata.project.as_str()).filter(|project| !project.is_empty());
    let orchestrator = home.open().await.ok()?;
    let source = orchestrator.secrets().ok()?;
    let names = RunSecrets::default().names(Some(&**source), project.unwrap_or("default")).ok()?;
    (!names.is_empty()).then(|| names.into_iter().collect())
}

/// A file that `run` would take along: here it is what its image has by that name.
fn expected_in_image(function: &Function, request: &Request) {
    let command = Path::new(&function.spec.command);
    let carried = !function.spec.build.function_source_code.is_empty();
    if !carried && command.extension().is_some() && request.base_dir.join(command).is_file() {
        eprintln!(
            "note: spec.command: {} must be in the image: the file here does not travel",
            command.display()
        );
    }
}

fn changed(request: &Request, args: &Args) -> Function {
    let mut function = request.function.clone();
    if let Some(kind) = &args.kind {
        function.kind.clone_from(kind);
    }
    if let Some(image) = &args.image {
        function.spec.image.clone_from(image);
    }
    function
}

fn cluster(args: &Args) -> Result<Cluster> {
    let context = match &args.context {
        Some(path) => document(path)?,
        None => json!({}),
    };
    let style = match args.style {
        Objects::Native => Style::Native,
        Objects::Mlrun => Style::Mlrun,
    };
    let mut cluster = Cluster::read(&context, style).map_err(|error| match &args.context {
        Some(path) => in_file(error, path),
        None => error,
    })?;
    if let Some(namespace) = &args.namespace {
        naming::check("--namespace", namespace)?;
        cluster.namespace.clone_from(namespace);
    }
    Ok(cluster)
}

/// The run that was given, or one made of the command line.
fn run(function: &Function, request: &Request, args: &Args) -> Result<Run> {
    if let Some(path) = &args.run {
        let document = document(path)?;
        return read_run(&document).map_err(|error| in_file(error, path));
    }
    let mut run = Run { spec: request.spec.clone(), ..Run::default() };
    for (name, text) in parse::unique("--param", args.params.clone())? {
        run.spec.parameters.insert(name, parse::value(&text));
    }
    if let Some(handler) = &args.handler {
        run.spec.handler.clone_from(handler);
    }
    let handler = [&run.spec.handler, &function.spec.default_handler];
    let handler = handler.into_iter().find(|handler| !handler.is_empty());
    let metadata = &mut run.metadata;
    metadata.uid = UID.to_owned();
    metadata.name = match &args.name {
        Some(name) => {
            naming::check("--name", name)?;
            name.clone()
        }
        None => naming::run_name(&function.metadata.name, handler.map_or("", String::as_str)),
    };
    metadata.project = match function.metadata.project.as_str() {
        "" => "default".to_owned(),
        project => project.to_owned(),
    };
    let mut named = function.clone();
    named.metadata.project.clone_from(&metadata.project);
    run.spec.function = named.uri();
    Ok(run)
}

/// A run as it is recorded; what its objects are called after must be a name.
fn read_run(document: &Value) -> Result<Run> {
    let mut run: Run = yaml::from_value(document, "run")?;
    if run.metadata.uid.is_empty() {
        run.metadata.uid = UID.to_owned();
    }
    naming::check("run.metadata.uid", &run.metadata.uid)?;
    if run.metadata.uid.len() > MAX_UID {
        let wrong = format!("it has more than {MAX_UID} characters");
        return Err(Error::invalid("run.metadata.uid", wrong).help("a uid is 32 hexadecimal digits"));
    }
    Ok(run)
}

/// Says in which file it is wrong.
fn in_file(error: Error, path: &Path) -> Error {
    let place = match error.location() {
        Some(inner) => format!("{}: {inner}", path.display()),
        None => path.display().to_string(),
    };
    error.at(place)
}

fn document(path: &Path) -> Result<Value> {
    let text = yaml::text_of(path)?;
    yaml::from_str(&text, &path.display().to_string())
}

/// JSON and YAML for programs, exactly; for people the YAML that `kubectl` reads, without the values of secrets.
fn shown(plan: &ClusterPlan, style: Style, format: Format) -> Result<String> {
    match (format, style) {
        (Format::Table, _) => {}
        (_, Style::Native) => return data(&plan.objects, format),
        (_, Style::Mlrun) => {
            return data(&plan.objects.iter().map(Manifest::as_addressed).collect::<Vec<_>>(), format);
        }
    }
    let mut text = String::new();
    for shared in plan.objects.iter().filter(|object| object.is_shared()) {
        text += &format!(
            "# and the {} {}, which all runs of a namespace share (-o yaml shows it)\n",
            shared.kind(),
            shared.name()
        );
    }
    for object in plan.objects.iter().filter(|object| !object.is_shared()) {
        if text.contains("apiVersion:") {
            text += "---\n";
        }
        let mut value = serde_json::to_value(object)
            .map_err(|error| Error::internal("an object cannot be written").source(error))?;
        if matches!(object, Manifest::Secret(_)) {
            for values in ["stringData", "data"] {
                let values = value.get_mut(values).and_then(Value::as_object_mut).into_iter().flatten();
                values.for_each(|(_, value)| *value = "(not shown)".into());
            }
        }
        text += &yaml::to_string(&value)?;
    }
    Ok(text)
}
