//! What an image is made of, with all that is said of it resolved.

use crate::{
    Error, Function, Result,
    cluster::{Cluster, Style, full_image, project_secret_name, variable},
    k8s_openapi::api::core::v1::{EnvVar, EnvVarSource, SecretKeySelector},
    plan::Image,
};

use super::dockerfile;

/// How many of the digits that stand for the content are the tag.
const TAG: usize = 12;

/// What an image is made of.
pub(super) struct Recipe {
    /// The image to build on, with registry and tag.
    pub(super) base: String,
    /// As it is named.
    pub(super) named_base: String,
    /// What the image is called.
    pub(super) target: String,
    /// What stands for all of this.
    key: String,
    /// The secret with the registry's credentials.
    pub(super) secret: String,
    pub(super) commands: Vec<String>,
    pub(super) requirements: Vec<String>,
    /// Variables of the build with their values, and those that are keys of a secret.
    pub(super) env: Vec<EnvVar>,
    /// Where the code comes from; empty: none goes into the image.
    pub(super) source: String,
    /// The folder in the image into which it goes.
    pub(super) folder: String,
}

impl Recipe {
    /// What is to be built of a function; `None`, where its image is used as it is.
    pub(super) fn of(function: &Function, cluster: &Cluster) -> Result<Option<Self>> {
        let build = &function.spec.build;
        let settings = &cluster.settings;
        let named = [&build.base_image, &function.spec.image, &settings.default_base_image];
        let base = named.into_iter().find(|image| !image.is_empty()).map_or("", String::as_str);
        let is_mlrun = ["mlrun/mlrun", "mlrun/ml-base"].iter().any(|image| base.contains(image));
        // MLRun goes into every image that is not its own. Our agent needs none.
        let wants_mlrun = build.with_mlrun || (cluster.style == Style::Mlrun && !build.base_image.is_empty());
        let with_mlrun = !is_mlrun && wants_mlrun;
        let source = match build.load_source_on_run {
            true => "",
            false => build.source.as_str(),
        };
        // What is on this machine goes with each run, and what is in the image is there.
        let source = if cluster.style == Style::Native && !is_elsewhere(source) { "" } else { source };
        let has_source =
            if cluster.style == Style::Mlrun { !build.source.is_empty() } else { !source.is_empty() };
        let nothing = !has_source
            && build.commands.is_empty()
            && build.requirements.is_empty()
            && build.dockerfile_extra.is_empty();
        if nothing && !with_mlrun {
            return Ok(None);
        }
        let named_base = base.to_owned();
        let base = full_image(base, cluster)?;
        let (mut commands, mut requirements) = (build.commands.clone(), build.requirements.clone());
        if with_mlrun {
            add_mlrun(&mut commands, &mut requirements, cluster);
        } else if !requirements.is_empty() && (cluster.style == Style::Mlrun || is_mlrun) {
            keep_mlrun(&base, &mut requirements, cluster);
        }
        let folder = [&build.source_code_target_dir, &function.spec.clone_target_dir];
        let folder = folder.into_iter().find(|folder| !folder.is_empty()).map_or("", String::as_str);
        let mut recipe = Self {
            base,
            named_base,
            target: String::new(),
            key: String::new(),
            secret: String::new(),
            commands,
            requirements,
            env: build_env(function, cluster),
            source: source.to_owned(),
            folder: dockerfile::target(folder),
        };
        recipe.name(function, cluster)?;
        Ok(Some(recipe))
    }

    /// Says what the image is called, and who may put it there.
    fn name(&mut self, function: &Function, cluster: &Cluster) -> Result<()> {
        let repository = repository(function, cluster);
        self.key = self.content(function, &repository);
        let tag = match cluster.style {
            Style::Native => self.key.get(..TAG).unwrap_or_default(),
            Style::Mlrun if function.metadata.tag.is_empty() => "latest",
            Style::Mlrun => function.metadata.tag.as_str(),
        };
        let named = !function.spec.build.image.is_empty();
        if function.spec.build.image.contains('@') {
            let wrong = format!("{:?} names an image that is there already", function.spec.build.image);
            return Err(Error::invalid("spec.build.image", wrong).help("REGISTRY/NAME:TAG, without a digest"));
        }
        let target = if named { repository } else { format!("{repository}:{tag}") };
        let of_service = target.starts_with('.');
        self.target = full_image(&target, cluster).map_err(|error| match of_service {
            true => error.at("spec.build.image").help(
                "name it with its registry, or set `httpdb.builder.docker_registry` in the `config` of the context",
            ),
            false => error.at("spec.build.image"),
        })?;
        self.secret = match function.spec.build.secret.as_str() {
            "" if of_service => cluster.settings.httpdb.builder.docker_registry_secret.clone(),
            secret => secret.to_owned(),
        };
        Ok(())
    }

    /// What stands for all that the image is made of.
    fn content(&self, function: &Function, repository: &str) -> String {
        let build = &function.spec.build;
        let mut parts = vec![self.base.as_str(), repository, &self.source, &self.folder];
        for list in [&self.commands, &self.requirements] {
            parts.push("list");
            parts.extend(list.iter().map(String::as_str));
        }
        parts.push("variables");
        for variable in &self.env {
            parts.extend([variable.name.as_str(), variable.value.as_deref().unwrap_or_default()]);
        }
        parts.extend(["more", &build.dockerfile_extra, &build.extra_args]);
        Image::key(parts)
    }

    /// What is said of the image to those who want it.
    pub(super) fn image(self, function: &Function) -> Image {
        let mut notes = Vec::new();
        if !self.source.is_empty() && !is_fixed(&self.source) {
            let source = &function.spec.build.source;
            notes.push(format!(
                "what is at {source} may have changed since: `--rebuild` builds it as it is now"
            ));
        }
        Image { name: self.target, base: self.named_base, key: self.key, notes }
    }

    /// Variables that are keys of a secret.
    pub(super) fn secrets(&self) -> impl Iterator<Item = &str> {
        self.env.iter().filter(|variable| variable.value.is_none()).map(|variable| variable.name.as_str())
    }
}

/// Whether a source is neither on this machine nor in the image.
fn is_elsewhere(source: &str) -> bool {
    source.split_once("://").is_some_and(|(scheme, _)| scheme != "file" && scheme != "git+file")
}

/// Whether a source is the same for ever: a commit.
fn is_fixed(source: &str) -> bool {
    let reference = source.split_once('#').map_or("", |(_, reference)| reference);
    let reference = reference.split(':').next().unwrap_or_default();
    reference.len() == 40 && reference.chars().all(|c| c.is_ascii_hexdigit())
}

fn add_mlrun(commands: &mut Vec<String>, requirements: &mut Vec<String>, cluster: &Cluster) {
    let installs =
        commands.iter().any(|command| command.contains("pip install ") && command.contains("mlrun"));
    let upgrades = |command: &String| command.contains("pip install --upgrade ") && command.contains("pip");
    if !commands.iter().any(upgrades) {
        let version = &cluster.settings.httpdb.builder.pip_version;
        commands.push(format!("python -m pip install --upgrade pip{version}"));
    }
    if !installs {
        requirements.insert(0, mlrun_requirement(&cluster.client_version, cluster));
    }
}

/// What is there already, so that nothing that is installed beside it changes it.
fn keep_mlrun(base: &str, requirements: &mut Vec<String>, cluster: &Cluster) {
    let tag =
        base.rsplit_once(':').map(|(_, tag)| tag).filter(|tag| tag.starts_with(|c: char| c.is_ascii_digit()));
    if let Some(tag) = tag {
        requirements.insert(0, mlrun_requirement(tag.trim_end_matches("-py37"), cluster));
    }
}

fn mlrun_requirement(version: &str, cluster: &Cluster) -> String {
    let settings = &cluster.settings;
    let package = &settings.package_path;
    match settings.httpdb.builder.mlrun_version_specifier.as_str() {
        "" if version.contains("unstable") => {
            format!("{package}[complete] @ git+https://github.com/mlrun/mlrun@development")
        }
        "" => format!("{package}[complete]=={version}"),
        specifier => specifier.to_owned(),
    }
}

/// The image that is built: the one that is named, else one of the function's own name in the service's registry,
/// without its tag.
fn repository(function: &Function, cluster: &Cluster) -> String {
    let build = &function.spec.build;
    let within = |name: String| match build.registry.as_str() {
        "" => name,
        registry => format!("{}/{name}", registry.trim_end_matches('/')),
    };
    if !build.image.is_empty() {
        let whole = cluster.style == Style::Native && names_registry(&build.image);
        return if whole { build.image.clone() } else { within(build.image.clone()) };
    }
    let registry = &cluster.settings.httpdb.builder.docker_registry;
    let folder = registry.split_once('/').map_or("mlrun", |(_, folder)| folder);
    let metadata = &function.metadata;
    let project = if metadata.project.is_empty() { "default" } else { metadata.project.as_str() };
    let name = format!("func-{project}-{}", metadata.name);
    if build.registry.is_empty() { format!(".{folder}/{name}") } else { within(name) }
}

/// Whether the first part of an image's name is its registry.
fn names_registry(image: &str) -> bool {
    image.split_once('/').is_some_and(|(first, _)| first.contains(['.', ':']) || first == "localhost")
}

/// What the build may read: the function's variables, and the project's secrets by their names.
fn build_env(function: &Function, cluster: &Cluster) -> Vec<EnvVar> {
    let given = &function.spec.build.builder_env;
    let secret = project_secret_name(&function.metadata.project, cluster);
    let named = cluster.secrets.iter().filter(|key| !key.starts_with("mlrun.") && !given.contains_key(*key));
    let secrets = named.map(|key| EnvVar {
        name: key.clone(),
        value: None,
        value_from: Some(EnvVarSource {
            secret_key_ref: Some(SecretKeySelector {
                name: secret.clone(),
                key: key.clone(),
                optional: None,
            }),
            ..EnvVarSource::default()
        }),
    });
    given.iter().map(|(name, value)| variable(name.as_str(), value.as_str())).chain(secrets).collect()
}
