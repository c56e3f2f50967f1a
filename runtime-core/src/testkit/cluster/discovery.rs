//! What the server has, as clients ask for it, and resources that are defined while it runs.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Value, json};

use super::{
    object::Object,
    resource::Resource,
    service,
    status::Refusal,
    world::{CRDS, World},
};

impl World {
    /// Answers below `/api`, `/apis` and `/version`: the type of the answer, and the answer.
    pub(super) fn discover(&self, path: &[&str], wanted: &str) -> Result<(&'static str, Value), Refusal> {
        const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
        const JSON: &str = "application/json";
        let aggregated = wanted.contains("as=APIGroupDiscoveryList");
        match path {
            ["version"] => Ok((JSON, service::version())),
            ["api"] if aggregated => Ok((AGGREGATED, self.aggregated(true))),
            ["apis"] if aggregated => Ok((AGGREGATED, self.aggregated(false))),
            ["api"] => {
                let address = json!([{"clientCIDR": "0.0.0.0/0", "serverAddress": "127.0.0.1:6443"}]);
                Ok((
                    JSON,
                    json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": address}),
                ))
            }
            ["apis"] => {
                let groups: Vec<_> = self.groups().into_iter().filter(|(name, _)| !name.is_empty()).collect();
                let groups: Vec<_> = groups.iter().map(|(name, versions)| group(name, versions)).collect();
                Ok((JSON, json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})))
            }
            ["apis", name] => {
                let groups = self.groups();
                let versions = groups.get(*name).filter(|_| !name.is_empty()).ok_or_else(Refusal::unknown)?;
                let mut found = group(name, versions);
                found["kind"] = "APIGroup".into();
                found["apiVersion"] = "v1".into();
                Ok((JSON, found))
            }
            ["api", version] => Ok((JSON, self.resources("", version)?)),
            ["apis", name, version] => Ok((JSON, self.resources(name, version)?)),
            _ => Err(Refusal::unknown()),
        }
    }

    fn served_resources(&self) -> impl Iterator<Item = &Arc<Resource>> {
        self.tables.iter().filter(|table| !table.gone).map(|table| &table.resource)
    }

    /// The groups, and the versions of each.
    fn groups(&self) -> BTreeMap<String, Vec<String>> {
        let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for resource in self.served_resources() {
            let versions = groups.entry(resource.group.clone()).or_default();
            for version in &resource.versions {
                if !versions.contains(version) {
                    versions.push(version.clone());
                }
            }
        }
        groups.insert("authorization.k8s.io".to_owned(), vec!["v1".to_owned()]);
        groups
    }

    fn resources(&self, group: &str, version: &str) -> Result<Value, Refusal> {
        let here = |resource: &Resource| {
            resource.group == group && resource.versions.iter().any(|one| one == version)
        };
        let mut all: Vec<Value> =
            self.served_resources().filter(|one| here(one)).flat_map(|one| one.described()).collect();
        if group == "authorization.k8s.io" {
            all.push(json!({"name": "selfsubjectaccessreviews", "singularName": "", "namespaced": false,
                "kind": "SelfSubjectAccessReview", "verbs": ["create"]}));
        }
        if all.is_empty() {
            return Err(Refusal::unknown());
        }
        all.sort_by(|a, b| a["name"].as_str().cmp(&b["name"].as_str()));
        let name = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
        Ok(json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": name, "resources": all}))
    }

    /// All in one answer.
    fn aggregated(&self, core: bool) -> Value {
        let groups = self.groups();
        let groups = groups.iter().filter(|(name, _)| name.is_empty() == core);
        let items: Vec<_> = groups
            .map(|(name, versions)| {
                let versions: Vec<_> =
                    versions.iter().map(|version| self.aggregated_version(name, version)).collect();
                let mut item = json!({"metadata": {"creationTimestamp": null}, "versions": versions});
                if !name.is_empty() {
                    item["metadata"]["name"] = name.as_str().into();
                }
                item
            })
            .collect();
        json!({"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items})
    }

    fn aggregated_version(&self, group: &str, version: &str) -> Value {
        let here =
            |one: &&Arc<Resource>| one.group == group && one.versions.iter().any(|served| served == version);
        let kind_of = |kind: &Value| json!({"group": group, "version": version, "kind": kind});
        let resources: Vec<_> = self
            .served_resources()
            .filter(here)
            .map(|one| {
                let described = one.described();
                let subs: Vec<_> = described[1..]
                    .iter()
                    .map(|sub| {
                        let name = sub["name"].as_str().and_then(|name| name.split('/').nth(1)).unwrap_or_default();
                        json!({"subresource": name, "responseKind": kind_of(&sub["kind"]), "verbs": sub["verbs"]})
                    })
                    .collect();
                json!({
                    "resource": one.plural, "responseKind": kind_of(&described[0]["kind"]),
                    "scope": if one.namespaced { "Namespaced" } else { "Cluster" },
                    "singularResource": one.kind.to_ascii_lowercase(), "verbs": described[0]["verbs"],
                    "shortNames": one.short_names, "subresources": subs,
                })
            })
            .collect();
        json!({"version": version, "freshness": "Current", "resources": resources})
    }

    /// Serves what a `CustomResourceDefinition` defines, and says so in its status.
    pub(super) fn define(&mut self, crd: &Arc<Object>) -> Arc<Object> {
        let text = |pointer: &str| crd.str_at(pointer).to_owned();
        let versions = crd.at("/spec/versions").and_then(Value::as_array).cloned().unwrap_or_default();
        let served: Vec<_> = versions.iter().filter(|version| version["served"] == true).collect();
        let name = |version: &&Value| version["name"].as_str().unwrap_or_default().to_owned();
        if served.is_empty() {
            return crd.clone();
        }
        let short = crd.at("/spec/names/shortNames").and_then(Value::as_array);
        self.register(Resource {
            group: text("/spec/group"),
            versions: served.iter().map(name).collect(),
            kind: text("/spec/names/kind"),
            plural: text("/spec/names/plural"),
            namespaced: crd.str_at("/spec/scope") == "Namespaced",
            status: served.iter().any(|version| version["subresources"].get("status").is_some()),
            short_names: short.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect(),
            builtin: false,
        });
        let Some(id) = self.find(CRDS.0, CRDS.1) else { return crd.clone() };
        let now = self.clock.stamp();
        let condition = |kind: &str, reason: &str, message: &str| json!({"type": kind, "status": "True", "lastTransitionTime": now, "reason": reason, "message": message});
        let mut value = crd.value.clone();
        if value["status"]["conditions"].is_array() {
            return crd.clone();
        }
        value["status"] = json!({
            "conditions": [
                condition("NamesAccepted", "NoConflicts", "no conflicts found"),
                condition("Established", "InitialNamesAccepted", "the initial names have been accepted"),
            ],
            "acceptedNames": crd.at("/spec/names"),
            "storedVersions": [versions.iter().find(|version| version["storage"] == true).map(|version| version["name"].clone())],
        });
        self.put(id, value)
    }

    /// A definition is gone, and all objects of its resource with it.
    pub(super) fn undefine(&mut self, crd: &Object) {
        let Some(id) = self.find(crd.str_at("/spec/group"), crd.str_at("/spec/names/plural")) else { return };
        let keys: Vec<_> = self.tables[id].objects.keys().cloned().collect();
        for key in keys {
            self.remove(id, &key);
        }
        self.tables[id].gone = true;
    }
}

fn group(name: &str, versions: &[String]) -> Value {
    let all: Vec<_> =
        versions.iter().map(|one| json!({"groupVersion": format!("{name}/{one}"), "version": one})).collect();
    json!({"name": name, "versions": all, "preferredVersion": all.first()})
}
