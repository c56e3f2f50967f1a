//! How jobs end: the policy for pods that failed, and the conditions that say so.

use serde_json::{Value, json};

use super::object::{Object, part};

/// The end of a job.
#[derive(Clone, Debug)]
pub(super) struct Verdict {
    pub(super) failed: bool,
    pub(super) reason: String,
    pub(super) message: String,
}

impl Verdict {
    pub(super) fn failed(reason: &str, message: &str) -> Self {
        Self { failed: true, reason: reason.to_owned(), message: message.to_owned() }
    }

    pub(super) fn complete() -> Self {
        let message = "Reached expected number of succeeded pods".to_owned();
        Self { failed: false, reason: "CompletionsReached".to_owned(), message }
    }
}

/// What a policy says of a pod that failed, where it does not just count it.
pub(super) enum Action {
    /// The job fails at once; why.
    Fail(String),
    /// It does not count.
    Ignore,
}

/// Whether it has ended.
pub(super) fn finished(job: &Value) -> bool {
    let conditions = job["status"]["conditions"].as_array().into_iter().flatten();
    let ends = |one: &Value| one["type"] == "Complete" || one["type"] == "Failed";
    conditions.into_iter().any(|one| ends(one) && one["status"] == "True")
}

/// The first rule of the job's policy that fits a pod that failed.
pub(super) fn judge(job: &Object, pod: &Object) -> Option<Action> {
    let rules = job.at("/spec/podFailurePolicy/rules")?.as_array()?;
    for (at, rule) in rules.iter().enumerate() {
        let Some(why) = by_code(rule, pod).or_else(|| by_condition(rule, pod)) else { continue };
        let action = rule["action"].as_str().unwrap_or_default();
        return match action {
            "FailJob" => Some(Action::Fail(format!("{why} matching {action} rule at index {at}"))),
            "Ignore" => Some(Action::Ignore),
            _ => None,
        };
    }
    None
}

fn by_code(rule: &Value, pod: &Object) -> Option<String> {
    let wanted = rule.get("onExitCodes").filter(|wanted| !wanted.is_null())?;
    let values = wanted["values"].as_array()?;
    let lists = ["/status/initContainerStatuses", "/status/containerStatuses"];
    let statuses = lists.iter().filter_map(|list| pod.at(list)?.as_array()).flatten();
    for one in statuses {
        let code = &one["state"]["terminated"]["exitCode"];
        // A code of 0 is no failure.
        let named = wanted["containerName"].is_null() || wanted["containerName"] == one["name"];
        if !named || code.as_i64().is_none_or(|code| code == 0) {
            continue;
        }
        if values.contains(code) == (wanted["operator"] != "NotIn") {
            let (name, namespace, pod) =
                (one["name"].as_str().unwrap_or_default(), pod.namespace(), pod.name());
            return Some(format!("Container {name} for pod {namespace}/{pod} failed with exit code {code}"));
        }
    }
    None
}

fn by_condition(rule: &Value, pod: &Object) -> Option<String> {
    let wanted = rule["onPodConditions"].as_array()?;
    let conditions = pod.at("/status/conditions")?.as_array()?;
    let status = |one: &Value| one["status"].as_str().unwrap_or("True").to_owned();
    let fits =
        |one: &&Value| conditions.iter().any(|own| own["type"] == one["type"] && status(own) == status(one));
    let fitting = wanted.iter().find(fits)?;
    let kind = fitting["type"].as_str().unwrap_or_default();
    Some(format!("Pod {}/{} has condition {kind}", pod.namespace(), pod.name()))
}

fn set(job: &mut Value, kind: &str, status: &str, reason: &str, message: &str, now: &str) {
    let new = json!({"type": kind, "status": status, "lastProbeTime": now, "lastTransitionTime": now,
        "reason": reason, "message": message});
    let conditions = part(job, "status").entry("conditions").or_insert_with(|| json!([]));
    let Some(conditions) = conditions.as_array_mut() else { return };
    match conditions.iter_mut().find(|one| one["type"] == kind) {
        Some(old) if old["status"] == status => {}
        Some(old) => *old = new,
        None => conditions.push(new),
    }
}

/// Says that a job has ended.
pub(super) fn conditions(job: &mut Value, verdict: &Verdict, now: &str) {
    let kinds = if verdict.failed { ["FailureTarget", "Failed"] } else { ["SuccessCriteriaMet", "Complete"] };
    for kind in kinds {
        set(job, kind, "True", &verdict.reason, &verdict.message, now);
    }
    if !verdict.failed {
        part(job, "status").insert("completionTime".to_owned(), now.into());
    }
}

/// Says that a job is suspended, or goes on.
pub(super) fn suspended(job: &mut Value, suspended: bool, now: &str) {
    if suspended {
        set(job, "Suspended", "True", "JobSuspended", "Job suspended", now);
    } else {
        set(job, "Suspended", "False", "JobResumed", "Job resumed", now);
    }
}
