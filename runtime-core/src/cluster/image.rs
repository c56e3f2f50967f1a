//! Names of images: which tag and which registry they get.

use super::{Cluster, Settings};
use crate::{Error, Result};

/// The whole name of an image: MLRun's own get a tag and a registry, a `.` in front becomes the registry of what is built.
///
/// # Errors
/// `Invalid`, where it is none, or that registry is not known.
pub fn full_image(image: &str, cluster: &Cluster) -> Result<String> {
    let image = image.trim();
    if image.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(Error::invalid("spec.image", format!("{image:?} is no name of an image"))
            .help("REGISTRY/NAME:TAG, such as mlrun/mlrun:1.8.0"));
    }
    let image = enriched(image, cluster);
    let Some(rest) = image.strip_prefix('.') else { return Ok(image) };
    match parsed_registry(&cluster.settings.httpdb.builder.docker_registry) {
        (Some(registry), Some(repository)) if !rest.contains(repository) => {
            Ok(format!("{registry}/{repository}/{rest}"))
        }
        (Some(registry), _) => Ok(format!("{registry}/{rest}")),
        (None, _) => Err(Error::invalid(
            "spec.image",
            format!("{image:?} is in the registry of the service, which is not known"),
        )
        .help("set `httpdb.builder.docker_registry` in the `config` of the context, or write the image with its registry")),
    }
}

/// Whether MLRun publishes it.
pub(super) fn is_mlrun(image: &str) -> bool {
    image.starts_with("mlrun/") || image.contains("/mlrun/")
}

fn enriched(image: &str, cluster: &Cluster) -> String {
    let settings = &cluster.settings;
    let ours = is_mlrun(image);
    let mut image = match ours && !image.contains(':') {
        true => format!("{image}:{}", tag(cluster)),
        false => image.to_owned(),
    };
    let registry = if ours { &settings.images_registry } else { &settings.vendor_images_registry };
    if !registry.is_empty() && gets_registry(&image, settings) {
        image = format!("{}/{image}", registry.trim_end_matches('/'));
    }
    image
}

fn tag(cluster: &Cluster) -> String {
    if !cluster.settings.images_tag.is_empty() {
        return with_python(cluster.settings.images_tag.clone(), cluster);
    }
    // What is a version for pip is no tag: `0.0.0+unstable`.
    let version = cluster.client_version.replace('+', "-").replace("0.0.0-", "");
    with_python(version, cluster)
}

/// MLRun 1.3 and 1.4, and what is built of no release, have images of their own for Python 3.7.
fn with_python(version: String, cluster: &Cluster) -> String {
    let mut parts = version.split(['.', '-']);
    let release = (parts.next(), parts.next());
    let has_both = matches!(release, (Some("1"), Some("3" | "4"))) || version.contains("unstable");
    match has_both && cluster.client_python_version.starts_with("3.7") {
        true => version + "-py37",
        false => version,
    }
}

/// Whether one of the patterns fits: each is the beginning of a name, where `/*` and `.*` at its end mean anything.
fn gets_registry(image: &str, settings: &Settings) -> bool {
    settings.images_to_enrich_registry.split(',').any(|pattern| {
        let pattern = pattern.trim().trim_start_matches('^');
        let begin = pattern.strip_suffix("/*").or_else(|| pattern.strip_suffix(".*")).unwrap_or(pattern);
        !pattern.is_empty() && image.starts_with(begin)
    })
}

/// The registry and the folder in it: the first part is a registry where it looks like an address.
fn parsed_registry(text: &str) -> (Option<&str>, Option<&str>) {
    match text.split_once('/') {
        None => ((!text.is_empty()).then_some(text), None),
        Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => {
            (Some(first), Some(rest))
        }
        Some(_) => (None, Some(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_get_what_they_lack() {
        let mut cluster = Cluster::default();
        let full = |image: &str, cluster: &Cluster| full_image(image, cluster).unwrap();
        assert_eq!(full(" mlrun/mlrun ", &cluster), "mlrun/mlrun:1.8.0");
        assert_eq!(full("mlrun/mlrun:x", &cluster), "mlrun/mlrun:x");
        assert_eq!(full("gcr.io/x/mlrun/mlrun", &cluster), "gcr.io/x/mlrun/mlrun:1.8.0");
        assert_eq!(full_image("a b", &cluster).unwrap_err().location(), Some("spec.image"));
        assert!(full_image(".loc", &cluster).unwrap_err().help_text().unwrap().contains("docker_registry"));

        cluster.settings.images_registry = "quay.io/".to_owned();
        cluster.settings.vendor_images_registry = "vend.io".to_owned();
        cluster.settings.httpdb.builder.docker_registry = "localhost/team".to_owned();
        assert_eq!(full("mlrun/mlrun", &cluster), "quay.io/mlrun/mlrun:1.8.0");
        assert_eq!(full("python:3.9-slim", &cluster), "vend.io/python:3.9-slim");
        assert_eq!(full("python:3.11", &cluster), "python:3.11");
        assert_eq!(full(".loc:1", &cluster), "localhost/team/loc:1");

        cluster.client_python_version = "3.7.17".to_owned();
        for (version, tag) in [
            ("1.3.0", "1.3.0-py37"),
            ("1.4.1-rc2", "1.4.1-rc2-py37"),
            ("1.5.0", "1.5.0"),
            ("0.0.0+unstable", "unstable-py37"),
        ] {
            cluster.client_version = version.to_owned();
            assert_eq!(full("mlrun/mlrun", &cluster), format!("quay.io/mlrun/mlrun:{tag}"));
        }
    }
}
