//! Labels that nodes must have.

use std::collections::BTreeMap;

use super::{
    Cluster,
    names::{is_label_key, label_value},
};
use crate::{Error, Result, Run};

/// The labels of nodes: the service's, over them the project's, the function's, and the run's. An empty value takes one
/// away that stands before it, and stays for whoever reads the run.
pub(super) fn merged(
    function: &BTreeMap<String, String>,
    run: Option<&Run>,
    cluster: &Cluster,
) -> Result<BTreeMap<String, String>> {
    let mut selector = cluster.settings.default_function_node_selector.0.clone();
    let of_run = run.map(|run| &run.spec.node_selector);
    for part in [Some(&cluster.project_node_selector), Some(function), of_run].into_iter().flatten() {
        selector.extend(part.iter().map(|(key, value)| (key.clone(), value.clone())));
    }
    check(&selector, "node_selector")?;
    Ok(selector)
}

/// Those that a pod gets.
pub(super) fn of_pod(selector: &BTreeMap<String, String>) -> Option<BTreeMap<String, String>> {
    let given = selector.iter().filter(|(_, value)| !value.is_empty());
    let given: BTreeMap<_, _> = given.map(|(key, value)| (key.clone(), value.clone())).collect();
    (!given.is_empty()).then_some(given)
}

/// Says what is wrong with labels of nodes.
pub(super) fn check(selector: &BTreeMap<String, String>, at: &str) -> Result<()> {
    for (key, value) in selector {
        if !is_label_key(key) {
            return Err(Error::invalid(format!("{at}.{key}"), format!("{key:?} is no key of a label"))
                .help("letters, digits, `-`, `_` and `.`; a domain and `/` may stand in front"));
        }
        if label_value(value) != *value {
            return Err(Error::invalid(format!("{at}.{key}"), format!("{value:?} is no value of a label"))
                .help("at most 63 letters, digits, `-`, `_` and `.`"));
        }
    }
    Ok(())
}
