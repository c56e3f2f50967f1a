//! How long a run may stay in a state.

use std::{collections::BTreeMap, time::Duration};

use super::parse_duration;
use crate::Result;

const HOUR: Duration = Duration::from_secs(3600);

/// How long a run may stay in each state, `None` for ever. MLRun's `state_thresholds`, with its defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// Waiting where it will run, for packages or an image: 1 h.
    pub pending_scheduled: Option<Duration>,
    /// Waiting for a place to run: for ever.
    pub pending_not_scheduled: Option<Duration>,
    /// Waiting for an image that cannot be pulled: 1 h.
    pub image_pull_backoff: Option<Duration>,
    /// Executing: 24 h on a cluster. This machine is its user's own, and there it is for ever.
    pub executing: Option<Duration>,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            pending_scheduled: Some(HOUR),
            pending_not_scheduled: None,
            image_pull_backoff: Some(HOUR),
            executing: Some(HOUR * 24),
        }
    }
}

impl Thresholds {
    /// Those that are given, over the defaults; a later map goes over an earlier one.
    ///
    /// # Errors
    /// `Invalid`, for a state or a duration that is not known.
    pub fn of(given: &[&BTreeMap<String, String>]) -> Result<Self> {
        let mut thresholds = Self::default();
        for (state, text) in given.iter().copied().flatten() {
            crate::pod::check_threshold(state, text)?;
            let limit = parse_duration(text)?;
            match state.as_str() {
                "pending_scheduled" => thresholds.pending_scheduled = limit,
                "pending_not_scheduled" => thresholds.pending_not_scheduled = limit,
                "image_pull_backoff" => thresholds.image_pull_backoff = limit,
                _ => thresholds.executing = limit,
            }
        }
        Ok(thresholds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_goes_over_its_function_and_both_over_the_defaults() {
        let map = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(state, text)| ((*state).to_owned(), (*text).to_owned())).collect()
        };
        let function = map(&[("executing", "1d 2 hours"), ("pending_scheduled", "2h 30m")]);
        let run = map(&[("executing", "-1")]);
        let thresholds = Thresholds::of(&[&function, &run]).unwrap();
        assert_eq!(thresholds.executing, None);
        assert_eq!(thresholds.pending_scheduled, Some(Duration::from_secs(9000)));
        assert_eq!(thresholds.image_pull_backoff, Some(HOUR));
        assert_eq!(Thresholds::of(&[]).unwrap(), Thresholds::default());

        let error = Thresholds::of(&[&map(&[("exeuting", "1h")])]).unwrap_err();
        assert_eq!(error.help_text(), Some("did you mean `executing`?"));
        assert!(Thresholds::of(&[&map(&[("executing", "abc")])]).is_err());
    }
}
