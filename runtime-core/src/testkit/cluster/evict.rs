//! Evictions and bindings: what is asked of a pod through resources of its own.

use serde_json::{Value, json};

use super::{
    call::{Answer, Call},
    object::map,
    status::Refusal,
};

impl Call<'_> {
    /// Deletes a pod, unless a disruption budget is in the way.
    pub(super) fn evict(&mut self) -> Result<Answer, Refusal> {
        let pod = self.found()?;
        if let Some(budget) = self.blocking_budget(&pod.value)? {
            let message = "Cannot evict pod as it would violate the pod's disruption budget.";
            let mut refusal = Refusal::too_many(10, message);
            refusal.retry_after = None;
            let why = format!("The disruption budget {budget} needs more healthy pods than there are");
            return Err(refusal.with_causes(vec![json!({"reason": "DisruptionBudget", "message": why})]));
        }
        let body: Value = serde_json::from_slice(&self.request.body)
            .map_err(|error| Refusal::bad_request(format!("error decoding Eviction: {error}")))?;
        let options = body.get("deleteOptions").cloned().unwrap_or_else(|| json!({}));
        let mut request = self.request.clone();
        request.body = options.to_string().into();
        if self.request.query.dry_run() {
            return Ok(Answer::Value(201, success()));
        }
        self.world.change(&pod, |status| {
            let message = "Eviction API: evicting";
            status.condition("DisruptionTarget", "True", "EvictionByEvictionAPI", message);
        });
        let resource = self.resource.clone();
        let mut call =
            Call { world: self.world, request: &request, id: self.id, resource, warnings: Vec::new() };
        call.delete()?;
        Ok(Answer::Value(201, success()))
    }

    /// A budget that allows no further disruption of this pod.
    fn blocking_budget(&self, pod: &Value) -> Result<Option<String>, Refusal> {
        let Some(table) = self.world.table(("policy", "poddisruptionbudgets")) else { return Ok(None) };
        let namespace = self.request.namespace.clone().unwrap_or_default();
        let budgets = table.objects.iter().filter(|(key, _)| key.0 == namespace);
        let covering = budgets.filter(|(_, budget)| {
            let wanted = budget.at("/spec/selector/matchLabels").and_then(Value::as_object);
            wanted.is_some_and(|wanted| {
                wanted.iter().all(|(name, value)| pod["metadata"]["labels"][name] == *value)
            })
        });
        let mut covering: Vec<_> = covering.map(|(_, budget)| budget).collect();
        if covering.len() > 1 {
            let message = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
            return Err(Refusal::new(500, "InternalError", message));
        }
        let Some(budget) = covering.pop() else { return Ok(None) };
        let allowed = budget.at("/status/disruptionsAllowed").and_then(Value::as_i64).unwrap_or_default();
        Ok((allowed < 1).then(|| budget.name().to_owned()))
    }

    /// Gives a pod to a node, as schedulers do.
    pub(super) fn bind(&mut self) -> Result<Answer, Refusal> {
        let pod = self.found()?;
        let body: Value = serde_json::from_slice(&self.request.body)
            .map_err(|error| Refusal::bad_request(format!("error decoding Binding: {error}")))?;
        let node = body["target"]["name"].as_str().unwrap_or_default().to_owned();
        let own = pod.str_at("/spec/nodeName");
        if !own.is_empty() {
            return Err(self.conflict(&format!("pod {} is already assigned to node {own:?}", pod.name())));
        }
        self.world.change(&pod, |status| {
            if let Some(spec) = status.pod.get_mut("spec") {
                map(spec).insert("nodeName".to_owned(), node.into());
            }
            status.condition("PodScheduled", "True", "", "");
        });
        Ok(Answer::Value(201, success()))
    }
}

fn success() -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201})
}
