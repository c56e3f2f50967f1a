//! Resources of functions that do not name them all.

use std::collections::BTreeMap;

use k8s_openapi::{api::core::v1::ResourceRequirements, apimachinery::pkg::api::resource::Quantity};

use super::settings::{Amounts, Settings};

/// Adds what the settings say where nothing is said.
pub(super) fn add_defaults(resources: &mut ResourceRequirements, settings: &Settings) {
    let defaults = &settings.default_function_pod_resources;
    add(&mut resources.requests, &defaults.requests);
    add(&mut resources.limits, &defaults.limits);
}

impl Settings {
    /// What containers get that name no resources.
    pub fn default_resources(&self) -> ResourceRequirements {
        let mut resources = ResourceRequirements::default();
        add_defaults(&mut resources, self);
        resources
    }
}

fn add(list: &mut Option<BTreeMap<String, Quantity>>, defaults: &Amounts) {
    for (name, amount) in [("cpu", &defaults.cpu), ("memory", &defaults.memory)] {
        if let Some(amount) = amount.as_ref().filter(|amount| !amount.is_empty()) {
            let list = list.get_or_insert_default();
            list.entry(name.to_owned()).or_insert_with(|| Quantity(amount.clone()));
        }
    }
}
