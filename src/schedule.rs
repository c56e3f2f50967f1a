//! Schedules: a function that is run at the times of a crontab expression.

use std::{collections::BTreeMap, fmt, path::PathBuf, str::FromStr, time::Duration};

use cronexpr::{Crontab, FallbackTimezoneOption, ParseOptions};
use jiff::{Timestamp, Zoned};
use runtime_core::{Error, Result, error::did_you_mean, run::RunSpec};
use serde::{Deserialize, Serialize};

/// What stands for an expression.
const NICKNAMES: [(&str, &str); 7] = [
    ("@hourly", "0 * * * *"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@weekly", "0 0 * * 0"),
    ("@monthly", "0 0 1 * *"),
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
];

/// More missed times than this are not counted.
pub const COUNTED: usize = 100;

const HELP: &str =
    "five fields: minute, hour, day of the month, month, day of the week: `*/10 * * * *`, or @hourly";

/// What happens when a time comes and the run of an earlier one has not ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Concurrency {
    /// The new run is started beside it.
    Allow,
    /// The time is skipped.
    #[default]
    Forbid,
    /// The earlier run is aborted, then the new one is started.
    Replace,
}

impl Concurrency {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Allow, Self::Forbid, Self::Replace];

    /// Its name, as it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Forbid => "forbid",
            Self::Replace => "replace",
        }
    }
}

impl fmt::Display for Concurrency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Concurrency {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|one| one.as_str() == text).ok_or_else(|| {
            let names = Self::ALL.map(Self::as_str);
            let error = Error::invalid("concurrency", format!("{text:?} is unknown here"));
            match did_you_mean(text, names) {
                Some(meant) => error.help(format!("did you mean `{meant}`?")),
                None => error.help(format!("one of: {}", names.join(", "))),
            }
        })
    }
}

/// When something is run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    /// Its name, unique in its project; empty: the run's name.
    #[serde(default)]
    pub name: String,
    /// Minute, hour, day of the month, month, day of the week; or `@hourly`, `@daily`, `@weekly`, `@monthly`,
    /// `@yearly`.
    pub cron: String,
    /// The time zone in which it is read (`Europe/Berlin`); empty: UTC.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub time_zone: String,
    /// What happens when the run of an earlier time has not ended.
    #[serde(default)]
    pub concurrency: Concurrency,
    /// How late a run may be started, in seconds: later, its time is skipped. `None`: any time later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starting_deadline_seconds: Option<u64>,
}

impl Schedule {
    /// At the times of this expression, read in UTC.
    pub fn new(cron: impl Into<String>) -> Self {
        Self { cron: cron.into(), ..Self::default() }
    }

    /// The times.
    ///
    /// # Errors
    /// `Invalid`, saying what is wrong with the expression or the time zone.
    pub fn times(&self) -> Result<Times> {
        let text = self.cron.trim();
        let fields = match text.strip_prefix('@') {
            None => text,
            Some(_) => {
                NICKNAMES.iter().find(|(name, _)| *name == text).map(|(_, fields)| *fields).ok_or_else(
                    || {
                        let names = NICKNAMES.map(|(name, _)| name);
                        Error::invalid("schedule.cron", format!("{text:?} is unknown here"))
                            .help(format!("one of {}, or {HELP}", names.join(", ")))
                    },
                )?
            }
        };
        let count = fields.split_whitespace().count();
        if count != 5 {
            return Err(Error::invalid("schedule.cron", format!("{text:?} has {count} fields")).help(HELP));
        }
        let mut options = ParseOptions::default();
        options.fallback_timezone_option = FallbackTimezoneOption::UTC;
        let zone = self.time_zone.trim();
        if !zone.is_empty() && jiff::tz::TimeZone::get(zone).is_err() {
            return Err(Error::invalid("schedule.time_zone", format!("there is no time zone {zone:?}"))
                .help("a name of the time zone database: Europe/Berlin, UTC"));
        }
        let parsed = cronexpr::parse_crontab_with(format!("{fields} {zone}").trim(), options);
        let crontab = parsed.map_err(|error| {
            // Its last line points at the place and says why.
            let why = error.to_string();
            let why = why.lines().last().unwrap_or_default().trim().trim_start_matches("^ ").to_owned();
            Error::invalid("schedule.cron", format!("{text:?}: {why}")).help(HELP)
        })?;
        let times = Times(crontab);
        if times.after(Timestamp::now()).is_none() {
            return Err(Error::invalid("schedule.cron", format!("{text:?} never comes")).help(HELP));
        }
        Ok(times)
    }
}

/// The times of a schedule.
#[derive(Clone, Debug)]
pub struct Times(Crontab);

impl Times {
    /// The first one after this; `None` where there is none within four years.
    pub fn after(&self, time: Timestamp) -> Option<Timestamp> {
        self.after_in_zone(time).map(|time| time.timestamp())
    }

    /// As [`Self::after`], in the time zone of the schedule.
    pub fn after_in_zone(&self, time: Timestamp) -> Option<Zoned> {
        self.0.find_next(time).ok()
    }

    /// Of the times from `due` on, the last one that is not after `now`, and how many there are, up to [`COUNTED`].
    pub(crate) fn last_until(&self, due: Timestamp, now: Timestamp) -> (Timestamp, usize) {
        let (mut last, mut count) = (due, 1);
        while let Some(next) = self.after(last).filter(|next| *next <= now) {
            (last, count) = (next, count + 1);
            if count == COUNTED {
                return (self.last_before(last, now), count);
            }
        }
        (last, count)
    }

    /// The last time that is not after `now`, found without going through all since `known`.
    fn last_before(&self, known: Timestamp, now: Timestamp) -> Timestamp {
        let mut window = Duration::from_secs(3600);
        loop {
            let begin = now.checked_sub(window).unwrap_or(known).max(known);
            let mut last = (begin == known).then_some(known);
            let mut at = begin;
            while let Some(next) = self.after(at).filter(|next| *next <= now) {
                (last, at) = (Some(next), next);
            }
            match last {
                Some(last) => return last,
                None => window = window.saturating_mul(8),
            }
        }
    }
}

/// What a schedule runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Scheduled {
    /// The function, with its exact version: `project/name@hash`.
    pub function: String,
    /// The run's name.
    pub name: String,
    /// The run's labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// What the run is given.
    #[serde(default)]
    pub spec: RunSpec,
    /// The folder against which relative paths are read.
    pub base_dir: PathBuf,
    /// The folder in which it runs.
    pub work_dir: PathBuf,
    /// Where it runs, as [`Request::target`](crate::Request::target) says it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub target: String,
}

/// A time for which a run was started.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fired {
    /// The time for which it was.
    pub time: Timestamp,
    /// The run's uid.
    pub uid: String,
}

/// Times for which no run was started.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Skipped {
    /// The last of them.
    pub time: Timestamp,
    /// How many at once, up to [`COUNTED`].
    pub count: usize,
    /// Why.
    pub reason: String,
}

/// A schedule as it is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScheduleRecord {
    /// Its project.
    #[serde(default)]
    pub project: String,
    /// When.
    pub schedule: Schedule,
    /// What.
    pub run: Scheduled,
    /// When it was made.
    pub created: Timestamp,
    /// Whether it waits to be resumed.
    #[serde(default)]
    pub suspended: bool,
    /// The next time; `None` where it is suspended, or never comes again.
    #[serde(default)]
    pub next: Option<Timestamp>,
    /// The last time for which a run was started.
    #[serde(default)]
    pub last: Option<Fired>,
    /// The last time for which none was.
    #[serde(default)]
    pub skipped: Option<Skipped>,
    /// Counts the changes.
    #[serde(skip)]
    pub revision: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn times_are_those_of_a_crontab() {
        for (cron, zone, from, next) in [
            ("*/10 * * * *", "", "2026-03-01T10:05:00Z", "2026-03-01T10:10:00Z"),
            ("@hourly", "", "2026-03-01T10:00:00Z", "2026-03-01T11:00:00Z"),
            ("@weekly", "", "2026-03-02T00:00:00Z", "2026-03-08T00:00:00Z"),
            // Where a day of the month and one of the week are given, either counts.
            ("0 0 13 * 5", "", "2026-03-01T00:00:00Z", "2026-03-06T00:00:00Z"),
            ("30 9 * * MON-FRI", "Europe/Berlin", "2026-07-03T07:30:00Z", "2026-07-06T07:30:00Z"),
            ("30 9 * * *", "Europe/Berlin", "2026-01-05T00:00:00Z", "2026-01-05T08:30:00Z"),
            ("0 0 29 2 *", "UTC", "2026-03-01T00:00:00Z", "2028-02-29T00:00:00Z"),
        ] {
            let schedule = Schedule { time_zone: zone.into(), ..Schedule::new(cron) };
            assert_eq!(schedule.times().unwrap().after(at(from)), Some(at(next)), "{cron} {zone}");
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (cron, zone, message) in [
            ("* * * *", "", "has 4 fields"),
            ("0 30 9 * * MON", "", "has 6 fields"),
            ("61 * * * *", "", "must be in range 0..=59"),
            ("@sometimes", "", "unknown here"),
            ("0 0 30 2 *", "", "never comes"),
            ("* * * * *", "Mars/Olympus", "there is no time zone"),
        ] {
            let schedule = Schedule { time_zone: zone.into(), ..Schedule::new(cron) };
            let error = schedule.times().unwrap_err();
            assert!(error.message().contains(message), "{error}");
        }
    }

    #[test]
    fn of_many_missed_times_the_last_counts() {
        let minutely = Schedule::new("* * * * *").times().unwrap();
        let due = at("2026-01-01T00:00:00Z");
        assert_eq!(minutely.last_until(due, due), (due, 1));
        assert_eq!(minutely.last_until(due, at("2026-01-01T00:02:30Z")), (at("2026-01-01T00:02:00Z"), 3));
        assert_eq!(
            minutely.last_until(due, at("2027-06-01T12:00:59Z")),
            (at("2027-06-01T12:00:00Z"), COUNTED)
        );
        let yearly = Schedule::new("@yearly").times().unwrap();
        assert_eq!(yearly.last_until(due, at("2028-06-01T00:00:00Z")), (at("2028-01-01T00:00:00Z"), 3));
    }
}
