//! BuildKit without root: one pod, in which its daemon lives as long as the build.

use crate::{
    Error, Function, Result,
    cluster::{Cluster, variable, verbatim},
    k8s_openapi::api::core::v1::{
        ConfigMapVolumeSource, Container, EmptyDirVolumeSource, PodSpec, SeccompProfile, SecurityContext,
        Volume, VolumeMount,
    },
};

use super::{credentials, dockerfile::BuildKitFile, extra::Extra, mount, recipe::Recipe, requests};

/// Where the files of the build are.
const FILES: &str = "/runtimes/build";
/// Where the registry's credentials are.
const CREDENTIALS: &str = "/runtimes/docker";
/// Where its daemon keeps what it works on; the image's own volume does not do on every node.
const STATE: &str = "/home/user/.local/share/buildkit";
/// The user of the image.
const USER: i64 = 1000;

/// Builds, ends at once when it is told to, and leaves the image's digest as its last word.
const SCRIPT: &str = r#"buildctl-daemonless.sh "$@" --metadata-file /tmp/metadata.json &
trap "kill $!; exit 143" TERM
wait $! || exit
sed -n 's/.*"containerimage.digest" *: *"\(sha256:[0-9a-f]*\)".*/\1/p' /tmp/metadata.json > /dev/termination-log"#;

/// Says what it cannot build.
pub(super) fn check(function: &Function, recipe: &Recipe, cluster: &Cluster) -> Result<()> {
    context(&recipe.source)?;
    Extra::read(&function.spec.build.extra_args)?;
    insecure(&cluster.settings.httpdb.builder.insecure_push_registry_mode, "push").map(drop)
}

/// The files of the build, and the pod.
pub(super) fn pod(
    function: &Function,
    recipe: &Recipe,
    cluster: &Cluster,
    files: &str,
) -> Result<(Vec<(&'static str, String)>, PodSpec)> {
    let builder = &cluster.settings.httpdb.builder;
    let extra = Extra::read(&function.spec.build.extra_args)?;
    let push_insecurely = extra.insecure || insecure(&builder.insecure_push_registry_mode, "push")?;
    let pull_insecurely = extra.insecure_pull || insecure(&builder.insecure_pull_registry_mode, "pull")?;
    let texts = files_of(function, recipe, &extra, pull_insecurely);

    let mut args = vec!["build".to_owned()];
    args.extend(arguments(recipe, push_insecurely)?);
    args.extend(extra.args);
    let args = args.into_iter().map(verbatim);

    let mut flags = "--oci-worker-no-process-sandbox".to_owned();
    if pull_insecurely {
        flags += &format!(" --config {FILES}/buildkitd.toml");
    }
    let mut env = vec![variable("BUILDKITD_FLAGS", flags)];
    let mut volumes = vec![
        Volume {
            name: "state".to_owned(),
            empty_dir: Some(EmptyDirVolumeSource::default()),
            ..Volume::default()
        },
        Volume {
            name: "files".to_owned(),
            config_map: Some(ConfigMapVolumeSource {
                name: files.to_owned(),
                ..ConfigMapVolumeSource::default()
            }),
            ..Volume::default()
        },
    ];
    let mut mounts = vec![mount("state", STATE)];
    // Each by itself: as files, not as links into a volume.
    mounts.extend(texts.iter().map(|(name, _)| VolumeMount {
        sub_path: Some((*name).to_owned()),
        read_only: Some(true),
        ..mount("files", &format!("{FILES}/{name}"))
    }));
    if !recipe.secret.is_empty() {
        volumes.push(credentials("credentials", &recipe.secret));
        mounts.push(VolumeMount { read_only: Some(true), ..mount("credentials", CREDENTIALS) });
        env.push(variable("DOCKER_CONFIG", CREDENTIALS));
    }
    env.extend(recipe.env.iter().filter(|variable| variable.value.is_none()).cloned());
    let container = Container {
        name: "base".to_owned(),
        image: Some(builder.buildkit_image.clone()),
        command: Some(["sh", "-c", SCRIPT, "build"].map(str::to_owned).to_vec()),
        args: Some(args.collect()),
        env: Some(env),
        resources: requests(cluster),
        volume_mounts: Some(mounts),
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        security_context: Some(SecurityContext {
            run_as_user: Some(USER),
            run_as_group: Some(USER),
            // It makes namespaces and mounts of its own.
            seccomp_profile: Some(SeccompProfile {
                type_: "Unconfined".to_owned(),
                ..SeccompProfile::default()
            }),
            ..SecurityContext::default()
        }),
        ..Container::default()
    };
    let spec = PodSpec {
        containers: vec![container],
        volumes: Some(volumes),
        automount_service_account_token: Some(false),
        ..PodSpec::default()
    };
    Ok((texts, spec))
}

/// What the pod is marked with: AppArmor lets it mount. Servers before 1.30 know no field for that, and later ones read
/// this, too.
pub(super) fn annotations() -> [(String, String); 1] {
    [("container.apparmor.security.beta.kubernetes.io/base".to_owned(), "unconfined".to_owned())]
}

fn files_of(
    function: &Function,
    recipe: &Recipe,
    extra: &Extra,
    pull_insecurely: bool,
) -> Vec<(&'static str, String)> {
    let values = recipe.env.iter().filter(|variable| variable.value.is_some());
    let file = BuildKitFile {
        base: &recipe.base,
        args: values.map(|variable| variable.name.clone()).chain(extra.build_args.iter().cloned()).collect(),
        source: !recipe.source.is_empty(),
        target: &recipe.folder,
        commands: &recipe.commands,
        requirements: !recipe.requirements.is_empty(),
        secrets: recipe.secrets().collect(),
        extra: &function.spec.build.dockerfile_extra,
    };
    let mut texts = vec![("Dockerfile", file.text())];
    if !recipe.requirements.is_empty() {
        texts.push(("requirements.txt", recipe.requirements.join("\n") + "\n"));
    }
    if pull_insecurely {
        let registry = registry(&recipe.base);
        let table = format!("[registry.\"{registry}\"]\n  http = true\n  insecure = true\n");
        texts.push(("buildkitd.toml", table));
    }
    texts
}

/// The arguments of its client.
fn arguments(recipe: &Recipe, push_insecurely: bool) -> Result<Vec<String>> {
    let mut args = Vec::new();
    let mut option = |name: &str, value: String| args.extend([format!("--{name}"), value]);
    option("progress", "plain".to_owned());
    option("frontend", "dockerfile.v0".to_owned());
    option("local", format!("dockerfile={FILES}"));
    option("local", format!("runtimes={FILES}"));
    option("opt", "context:runtimes=local:runtimes".to_owned());
    match context(&recipe.source)? {
        // The Dockerfile is none of the source's.
        Some(url) => {
            option("opt", format!("context={url}"));
            option("opt", "dockerfilekey=dockerfile".to_owned());
        }
        None => option("local", format!("context={FILES}")),
    }
    for variable in &recipe.env {
        match &variable.value {
            Some(value) => option("opt", format!("build-arg:{}={value}", variable.name)),
            None => option("secret", format!("id={0},env={0}", variable.name)),
        }
    }
    // What private repositories are fetched with.
    if recipe.secrets().any(|name| name == "GIT_TOKEN") {
        option("secret", "id=GIT_AUTH_TOKEN,env=GIT_TOKEN".to_owned());
    }
    let insecure = if push_insecurely { ",registry.insecure=true" } else { "" };
    option("output", format!("type=image,name={},push=true{insecure}", recipe.target));
    Ok(args)
}

/// Where the source is, as BuildKit writes it; `None`, where there is none.
fn context(source: &str) -> Result<Option<String>> {
    let wrong = |what: &str, help: &str| {
        Err(Error::invalid("spec.build.source", format!("{source:?} {what}")).help(help.to_owned()))
    };
    let (url, reference) = match source.split_once('#') {
        Some((url, reference)) => (url, format!("#{reference}")),
        None => (source, String::new()),
    };
    let repository = |rest: &str| {
        let scheme = if url.starts_with("git+http://") { "http" } else { "https" };
        let end = if rest.ends_with(".git") { "" } else { ".git" };
        Ok(Some(format!("{scheme}://{rest}{end}{reference}")))
    };
    match url.split_once("://") {
        None if source.is_empty() => Ok(None),
        None | Some(("file" | "git+file", _)) => wrong(
            "is a path of this machine, which a pod cannot read",
            "name a repository or an archive by its URL, or fetch it at the start: `load_source_on_run: true`",
        ),
        Some(("git" | "git+https" | "git+http", rest)) => repository(rest),
        Some((_, rest)) if url.starts_with("http") && rest.ends_with(".git") => Ok(Some(source.to_owned())),
        Some(("http" | "https", rest)) => {
            let path = rest.split('?').next().unwrap_or_default();
            let unpacked = [".tar.gz", ".tgz", ".tar", ".tar.bz2", ".tar.xz", ".tar.zst"];
            if unpacked.iter().any(|ending| path.ends_with(ending)) {
                return Ok(Some(url.to_owned()));
            }
            wrong(
                "is neither a repository nor an archive that BuildKit unpacks",
                "a repository ends with `.git`, an archive with `.tar.gz`, `.tgz` or `.tar`",
            )
        }
        Some(_) => wrong(
            "cannot be read by BuildKit",
            "name a repository (git://, https://….git) or an archive (https://….tar.gz); Kaniko reads object \
             storage, too: `httpdb.builder.builder: kaniko`, or `--builder kaniko`",
        ),
    }
}

/// The registry of an image.
fn registry(image: &str) -> &str {
    match image.split_once('/') {
        Some((first, _)) if first.contains(['.', ':']) || first == "localhost" => first,
        _ => "docker.io",
    }
}

/// Whether a registry that nobody vouches for will do. `auto` is what BuildKit does by itself: HTTP for `localhost` alone.
fn insecure(mode: &str, what: &str) -> Result<bool> {
    match mode {
        "enabled" => Ok(true),
        "auto" | "disabled" | "" => Ok(false),
        other => {
            let field = format!("config.httpdb.builder.insecure_{what}_registry_mode");
            Err(Error::invalid(field, format!("{other:?} is no such mode"))
                .help("`auto`, `enabled` or `disabled`"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_written_as_buildkit_has_them() {
        for (source, written) in [
            ("git://h/o/r#main", "https://h/o/r.git#main"),
            ("git+http://h:1/r.git#0123:sub", "http://h:1/r.git#0123:sub"),
            ("https://h/r.git#v1", "https://h/r.git#v1"),
            ("https://h/a.tar.gz?x=1", "https://h/a.tar.gz?x=1"),
        ] {
            assert_eq!(context(source).unwrap().as_deref(), Some(written), "{source}");
        }
        assert_eq!(context("").unwrap(), None);
        for source in
            ["./here", "file:///x", "s3://b/x.tar.gz", "https://h/x.zip", "https://h/x", "git+ssh://h/r"]
        {
            let error = context(source).unwrap_err();
            assert_eq!(error.location(), Some("spec.build.source"), "{source}");
            assert!(error.help_text().is_some());
        }
    }

    #[test]
    fn registries_are_found() {
        for (image, is) in [
            ("python:3", "docker.io"),
            ("a/b", "docker.io"),
            ("localhost/a", "localhost"),
            ("r.io:5/a/b", "r.io:5"),
        ] {
            assert_eq!(registry(image), is);
        }
    }
}
