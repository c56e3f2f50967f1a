//! Resources: which there are, and how much of each.

use std::collections::BTreeMap;

use k8s_openapi::{api::core::v1::ResourceRequirements, apimachinery::pkg::api::resource::Quantity as Text};

use super::Quantity;
use crate::{Error, ErrorKind, Result, error::did_you_mean};

/// The name of the resource that a GPU is where nobody says otherwise.
pub const GPU: &str = "nvidia.com/gpu";

const KNOWN: [&str; 4] = ["cpu", "memory", "ephemeral-storage", "storage"];

/// Checks a quantity for a resource.
pub(crate) fn check(resource: &str, text: &str) -> Result<Quantity> {
    let quantity: Quantity = text.parse()?;
    if resource.contains('/') && !quantity.is_whole() {
        return Err(Error::new(ErrorKind::Invalid, format!("{text:?} is not a whole number"))
            .help(format!("{resource} cannot be shared in parts")));
    }
    Ok(quantity)
}

/// Checks the names, the quantities, and that no request is above its limit.
pub(crate) fn validate(resources: &ResourceRequirements, path: &str) -> Result<()> {
    let limits = read(resources.limits.as_ref(), &format!("{path}.limits"))?;
    let requests = read(resources.requests.as_ref(), &format!("{path}.requests"))?;
    for (name, (text, request)) in &requests {
        let Some((limit_text, limit)) = limits.get(name) else { continue };
        let at = format!("{path}.requests.{name}");
        if request > limit {
            let message =
                format!("the request {text} is above the limit {limit_text} of {path}.limits.{name}");
            return Err(Error::invalid(at, message).help("lower the request, or raise the limit"));
        }
        if name.contains('/') && request != limit {
            let message =
                format!("the request {text} differs from the limit {limit_text} of {path}.limits.{name}");
            return Err(Error::invalid(at, message)
                .help("for this resource both are the same: leave the request out"));
        }
    }
    Ok(())
}

type Read<'a> = BTreeMap<&'a str, (&'a str, Quantity)>;

fn read<'a>(list: Option<&'a BTreeMap<String, Text>>, path: &str) -> Result<Read<'a>> {
    let mut known = Read::new();
    for (name, text) in list.into_iter().flatten() {
        let at = format!("{path}.{name}");
        if !KNOWN.contains(&name.as_str()) && !name.contains('/') && !name.starts_with("hugepages-") {
            let error = Error::invalid(at, "is not a resource");
            return Err(error.help(match name.as_str() {
                "gpu" | "gpus" => format!("did you mean `{GPU}`?"),
                "mem" | "ram" => "did you mean `memory`?".to_owned(),
                name => match did_you_mean(name, KNOWN) {
                    Some(known) => format!("did you mean `{known}`?"),
                    None => "cpu, memory, ephemeral-storage, or a name with a domain, such as nvidia.com/gpu"
                        .to_owned(),
                },
            }));
        }
        let quantity = check(name, &text.0).map_err(|error| error.at(at))?;
        known.insert(name.as_str(), (text.0.as_str(), quantity));
    }
    Ok(known)
}

/// What is allowed and was probably not meant: bytes in thousandths.
pub(crate) fn notes(resources: &ResourceRequirements, path: &str) -> Vec<String> {
    let mut notes = Vec::new();
    for (what, list) in [("limits", &resources.limits), ("requests", &resources.requests)] {
        for (name, text) in
            list.iter().flatten().filter(|(name, _)| ["memory", "ephemeral-storage"].contains(&name.as_str()))
        {
            if text.0.parse::<Quantity>().is_ok_and(|quantity| !quantity.is_whole()) {
                let number = text.0.trim_end_matches('m');
                notes.push(format!(
                    "{path}.{what}.{name}: {} is a part of a byte (m is a thousandth); {number}Mi or {number}M may be meant",
                    text.0
                ));
            }
        }
    }
    notes
}
