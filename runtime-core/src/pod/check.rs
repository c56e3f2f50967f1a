//! What is wrong with the attributes of a pod.

use std::collections::BTreeSet;

use super::{PodSpec, resources};
use crate::{Error, Result, error::did_you_mean, run::parse_duration};

const THRESHOLDS: [&str; 5] =
    ["pending_scheduled", "pending_not_scheduled", "image_pull_backoff", "executing", "running"];

impl PodSpec {
    /// Says what is wrong, with the path of the field.
    ///
    /// # Errors
    /// `Invalid`, for the first field that is wrong.
    pub fn validate(&self) -> Result<()> {
        self.validate_env()?;
        resources::validate(&self.resources, "spec.resources")?;
        if let Some(replicas) = self.replicas.filter(|replicas| *replicas < 0) {
            return Err(Error::invalid("spec.replicas", format!("{replicas} is negative")).help("0 or more"));
        }
        one_of("spec.image_pull_policy", &self.image_pull_policy, &["Always", "IfNotPresent", "Never"])?;
        check_preemption_mode(&self.preemption_mode)?;
        self.validate_volumes()?;
        self.validate_tolerations()?;
        self.validate_thresholds()
    }

    /// What is allowed and was probably not meant.
    pub(crate) fn notes(&self) -> Vec<String> {
        resources::notes(&self.resources, "spec.resources")
    }

    fn validate_env(&self) -> Result<()> {
        for (index, var) in self.env.iter().enumerate() {
            let path = format!("spec.env[{index}]");
            check_env_name(&var.name).map_err(|error| error.at(format!("{path}.name")))?;
            if var.value.as_ref().is_some_and(|value| !value.is_empty()) && var.value_from.is_some() {
                return Err(Error::invalid(path, format!("{} has a value and a valueFrom", var.name))
                    .help("keep one of the two"));
            }
            if var.value.as_ref().is_some_and(|value| value.contains('\0')) {
                return Err(Error::invalid(format!("{path}.value"), "a variable cannot hold NUL"));
            }
        }
        Ok(())
    }

    fn validate_volumes(&self) -> Result<()> {
        let mut names = BTreeSet::new();
        for (index, volume) in self.volumes.iter().enumerate() {
            let path = format!("spec.volumes[{index}].name");
            crate::naming::check(&path, &volume.name)?;
            if !names.insert(volume.name.as_str()) {
                return Err(Error::invalid(path, format!("there are two volumes {:?}", volume.name))
                    .help("give one of them another name"));
            }
        }
        for (index, mount) in self.volume_mounts.iter().enumerate() {
            let path = format!("spec.volume_mounts[{index}]");
            if mount.mount_path.is_empty() {
                return Err(Error::invalid(format!("{path}.mountPath"), "is missing")
                    .help("write `mountPath: /data`"));
            }
            if !names.contains(mount.name.as_str()) {
                let error =
                    Error::invalid(format!("{path}.name"), format!("there is no volume {:?}", mount.name));
                return Err(error.help(match did_you_mean(&mount.name, names.iter().copied()) {
                    Some(known) => format!("did you mean `{known}`?"),
                    None if names.is_empty() => "add it to spec.volumes".to_owned(),
                    None => format!("spec.volumes has {}", names.into_iter().collect::<Vec<_>>().join(", ")),
                }));
            }
        }
        Ok(())
    }

    fn validate_tolerations(&self) -> Result<()> {
        for (index, toleration) in self.tolerations.iter().enumerate() {
            let path = format!("spec.tolerations[{index}]");
            let (operator, effect) = (toleration.operator.as_deref(), toleration.effect.as_deref());
            one_of(&format!("{path}.operator"), operator.unwrap_or_default(), &["Exists", "Equal"])?;
            let effects = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
            one_of(&format!("{path}.effect"), effect.unwrap_or_default(), &effects)?;
        }
        Ok(())
    }

    fn validate_thresholds(&self) -> Result<()> {
        for (state, threshold) in &self.state_thresholds {
            check_threshold(state, threshold)?;
        }
        Ok(())
    }
}

/// Checks the name of an environment variable: anything that a process can be given.
pub(crate) fn check_env_name(name: &str) -> Result<()> {
    if name.is_empty() || name.contains(['=', '\0']) {
        return Err(Error::invalid("name", format!("{name:?} is not a name of a variable"))
            .help("letters, digits and `_`; no `=` in it"));
    }
    Ok(())
}

/// Checks a preemption mode.
pub(crate) fn check_preemption_mode(mode: &str) -> Result<()> {
    one_of("spec.preemption_mode", mode, &["allow", "constrain", "prevent", "none"])
}

/// Checks how long a run may stay in a state.
pub(crate) fn check_threshold(state: &str, threshold: &str) -> Result<()> {
    let path = format!("spec.state_thresholds.{state}");
    one_of(&path, state, &THRESHOLDS)?;
    parse_duration(threshold).map(|_| ()).map_err(|error| error.at(path))
}

/// Checks a word that is one of a few, or empty.
fn one_of(path: &str, word: &str, words: &[&str]) -> Result<()> {
    if word.is_empty() || words.contains(&word) {
        return Ok(());
    }
    let error = Error::invalid(path, format!("{word:?} is not known"));
    Err(error.help(match did_you_mean(word, words.iter().copied()) {
        Some(known) => format!("did you mean `{known}`?"),
        None => format!("one of: {}", words.join(", ")),
    }))
}
