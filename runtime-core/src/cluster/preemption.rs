//! Whether a function runs on preemptible nodes: what that changes in tolerations, affinity and node labels.

use k8s_openapi::api::core::v1::{NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, Toleration};

use super::settings::Settings;
use crate::pod::PodSpec;

/// Applies the function's mode, where the settings say which nodes are preemptible.
pub(super) fn apply(pod: &mut PodSpec, settings: &Settings) {
    if !settings.knows_preemptible_nodes() {
        return;
    }
    let mode = match pod.preemption_mode.as_str() {
        "" => settings.function_defaults.preemption_mode.as_str(),
        mode => mode,
    };
    let tolerations = &settings.preemptible_nodes.tolerations.0;
    match mode {
        "prevent" => {
            pod.tolerations.retain(|toleration| !tolerations.contains(toleration));
            prune_affinity(pod, &requirements(settings, "In"));
            prune_selector(pod, settings);
            // Nodes with taints are avoided by bearing none of them; others by name.
            if tolerations.is_empty() {
                let all = NodeSelectorTerm {
                    match_expressions: Some(requirements(settings, "NotIn")),
                    match_fields: None,
                };
                require(pod, vec![all]);
            }
        }
        "constrain" => {
            bear(pod, tolerations);
            let any = requirements(settings, "In")
                .into_iter()
                .map(|one| NodeSelectorTerm { match_expressions: Some(vec![one]), match_fields: None });
            let any = any.collect();
            require(pod, any);
        }
        "allow" => {
            prune_affinity(pod, &requirements(settings, "NotIn"));
            prune_affinity(pod, &requirements(settings, "In"));
            prune_selector(pod, settings);
            bear(pod, tolerations);
        }
        _ => {}
    }
    pod.affinity.take_if(|affinity| *affinity == Default::default());
}

fn requirements(settings: &Settings, operator: &str) -> Vec<NodeSelectorRequirement> {
    let selector = &settings.preemptible_nodes.node_selector.0;
    let one = |(key, value): (&String, &String)| NodeSelectorRequirement {
        key: key.clone(),
        operator: operator.to_owned(),
        values: Some(vec![value.clone()]),
    };
    selector.iter().map(one).collect()
}

fn bear(pod: &mut PodSpec, tolerations: &[Toleration]) {
    for toleration in tolerations {
        if !pod.tolerations.contains(toleration) {
            pod.tolerations.push(toleration.clone());
        }
    }
}

/// Sets which nodes are required, in place of what was.
fn require(pod: &mut PodSpec, node_selector_terms: Vec<NodeSelectorTerm>) {
    if node_selector_terms.is_empty() {
        return;
    }
    let node = pod.affinity.get_or_insert_default().node_affinity.get_or_insert_default();
    node.required_during_scheduling_ignored_during_execution = Some(NodeSelector { node_selector_terms });
}

/// Takes requirements away. What only preferred stays: it cannot keep a pod from running.
fn prune_affinity(pod: &mut PodSpec, prune: &[NodeSelectorRequirement]) {
    let Some(affinity) = &mut pod.affinity else { return };
    let Some(node) = &mut affinity.node_affinity else { return };
    if prune.is_empty() {
        return;
    }
    if let Some(required) = &mut node.required_during_scheduling_ignored_during_execution {
        required.node_selector_terms.retain_mut(|term| {
            let expressions = term.match_expressions.get_or_insert_default();
            expressions.retain(|expression| !prune.contains(expression));
            !expressions.is_empty() || term.match_fields.as_ref().is_some_and(|fields| !fields.is_empty())
        });
        if required.node_selector_terms.is_empty() {
            node.required_during_scheduling_ignored_during_execution = None;
        }
    }
    let preferred = node.preferred_during_scheduling_ignored_during_execution.as_deref().unwrap_or_default();
    if preferred.is_empty() && node.required_during_scheduling_ignored_during_execution.is_none() {
        affinity.node_affinity = None;
    }
}

fn prune_selector(pod: &mut PodSpec, settings: &Settings) {
    for (key, value) in &settings.preemptible_nodes.node_selector.0 {
        if !value.is_empty() && pod.node_selector.get(key) == Some(value) {
            pod.node_selector.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{Encoded, Settings};

    fn settings(tolerations: bool) -> Settings {
        let mut settings = Settings::default();
        settings.preemptible_nodes.node_selector = Encoded([("spot".to_owned(), "yes".to_owned())].into());
        if tolerations {
            let toleration = Toleration { key: Some("spot".to_owned()), ..Toleration::default() };
            settings.preemptible_nodes.tolerations = Encoded(vec![toleration]);
        }
        settings
    }

    fn applied(mode: &str, tolerations: bool) -> PodSpec {
        let settings = settings(tolerations);
        let mut pod = PodSpec { preemption_mode: mode.to_owned(), ..PodSpec::default() };
        pod.node_selector = [("spot".to_owned(), "yes".to_owned()), ("a".to_owned(), "b".to_owned())].into();
        pod.tolerations = settings.preemptible_nodes.tolerations.0.clone();
        require(
            &mut pod,
            vec![NodeSelectorTerm {
                match_expressions: Some(requirements(&settings, "In")),
                match_fields: None,
            }],
        );
        apply(&mut pod, &settings);
        pod
    }

    fn operators(pod: &PodSpec) -> Vec<String> {
        let node = pod.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
        let required = node.and_then(|n| n.required_during_scheduling_ignored_during_execution.as_ref());
        let terms = required.map(|required| required.node_selector_terms.as_slice()).unwrap_or_default();
        let expressions = terms.iter().flat_map(|term| term.match_expressions.iter().flatten());
        expressions.map(|expression| expression.operator.clone()).collect()
    }

    #[test]
    fn each_mode_changes_what_it_must() {
        let prevented = applied("prevent", true);
        assert!(prevented.tolerations.is_empty() && prevented.affinity.is_none());
        assert_eq!(prevented.node_selector.keys().collect::<Vec<_>>(), ["a"]);
        assert_eq!(operators(&applied("", false)), ["NotIn"], "the default is to prevent");

        let constrained = applied("constrain", true);
        assert_eq!((constrained.tolerations.len(), constrained.node_selector.len()), (1, 2));
        assert_eq!(operators(&constrained), ["In"]);

        let allowed = applied("allow", true);
        assert_eq!((allowed.tolerations.len(), allowed.node_selector.len()), (1, 1));
        assert!(allowed.affinity.is_none());

        assert_eq!(operators(&applied("none", true)), ["In"]);
    }
}
