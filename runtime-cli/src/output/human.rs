//! Durations, sizes, times and values in few characters.

use std::path::Path;

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use runtimes::{Run, core::serde_json::Value};

/// How much of a uid is shown in lists; enough to name the run in most stores.
const SHORT_UID: usize = 8;

/// `0.12s`, `12.3s`, `2m05s`, `1h02m`, `3d04h`.
pub(crate) fn duration(duration: SignedDuration) -> String {
    let seconds = duration.as_secs_f64().max(0.0);
    let whole = duration.as_secs().max(0);
    match whole {
        0..10 => format!("{seconds:.2}s"),
        10..60 => format!("{seconds:.1}s"),
        60..3600 => format!("{}m{:02}s", whole / 60, whole % 60),
        3600..86_400 => format!("{}h{:02}m", whole / 3600, whole % 3600 / 60),
        _ => format!("{}d{:02}h", whole / 86_400, whole % 86_400 / 3600),
    }
}

/// How long ago it was, in one unit: `5s`, `12m`, `3h`, `9d`.
pub(crate) fn age(then: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(then).as_secs().max(0);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / 60),
        7200..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// A moment, as a clock on the wall shows it.
pub(crate) fn time(time: Timestamp, zone: &TimeZone) -> String {
    time.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// `512 B`, `1.5 KiB`, `12 MiB`.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut amount = bytes as f64 / 1024.0;
    let mut unit = 0;
    while amount >= 1023.95 && unit + 1 < UNITS.len() {
        amount /= 1024.0;
        unit += 1;
    }
    if amount < 10.0 {
        format!("{amount:.1} {}", UNITS[unit])
    } else {
        format!("{amount:.0} {}", UNITS[unit])
    }
}

/// A value on one line, of at most `limit` characters.
pub(crate) fn value(value: &Value, limit: usize) -> String {
    match value {
        Value::String(text) => shorten(text, limit),
        Value::Array(items) if items.len() > limit => format!("[… {} items]", items.len()),
        other => shorten(&other.to_string(), limit),
    }
}

/// As [`value`]; of a number with a fraction as much as tells it from others.
pub(crate) fn brief(it: &Value, limit: usize) -> String {
    match it.as_f64() {
        Some(number) if it.is_f64() && number.abs() < 1e5 => {
            // Six digits, written as short as they can be.
            format!("{number:.5e}")
                .parse::<f64>()
                .map_or_else(|_| value(it, limit), |number| format!("{number:?}"))
        }
        _ => value(it, limit),
    }
}

/// Text on one line, of at most `limit` characters. What would move the cursor is shown escaped.
pub(crate) fn shorten(text: &str, limit: usize) -> String {
    let mut out = String::new();
    let mut left = limit;
    for c in text.trim_end().chars() {
        if left == 0 {
            out.pop();
            out.push('…');
            break;
        }
        match c {
            '\n' | '\r' | '\t' => out.push(' '),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
        left -= 1;
    }
    out
}

/// The beginning of a uid.
pub(crate) fn uid(uid: &str) -> &str {
    uid.get(..SHORT_UID).unwrap_or(uid)
}

/// The name by which a run is found: the beginning of its uid, and its iteration.
pub(crate) fn run(run: &Run) -> String {
    match run.metadata.iteration {
        0 => uid(&run.metadata.uid).to_owned(),
        iteration => format!("{}-{iteration}", uid(&run.metadata.uid)),
    }
}

/// `project/name@hash` as lists show it: without the default project, the hash short.
pub(crate) fn function(uri: &str) -> String {
    let uri = uri.strip_prefix("default/").unwrap_or(uri);
    match uri.split_once('@') {
        Some((name, hash)) => format!("{name}@{}", hash.get(..7).unwrap_or(hash)),
        None => uri.to_owned(),
    }
}

/// A path as one would type it in the folder `here`.
pub(crate) fn path(path: &str, here: &Path) -> String {
    match Path::new(path.strip_prefix("file://").unwrap_or(path)).strip_prefix(here) {
        Ok(inside) if !inside.as_os_str().is_empty() => inside.display().to_string(),
        _ => path.to_owned(),
    }
}

/// `1 run`, `2 runs`.
pub(crate) fn count(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use runtimes::core::serde_json::json;

    #[test]
    fn numbers_of_many_digits_are_shown_by_the_first_ones() {
        for (number, text) in [
            (json!(0.31000000000000005), "0.31"),
            (json!(0.9814814814814816), "0.981481"),
            (json!(1e-9), "1e-9"),
            (json!(2.0), "2.0"),
            (json!(1234567.5), "1234567.5"),
            (json!(-2.5), "-2.5"),
            (json!(123456789), "123456789"),
            (json!("0.31000000000000005"), "0.31000000000000005"),
        ] {
            assert_eq!(brief(&number, 40), text);
        }
    }

    #[test]
    fn durations_and_ages() {
        for (millis, text) in [
            (0, "0.00s"),
            (123, "0.12s"),
            (12_340, "12.3s"),
            (125_000, "2m05s"),
            (3_725_000, "1h02m"),
            (273_600_000, "3d04h"),
        ] {
            assert_eq!(duration(SignedDuration::from_millis(millis)), text);
        }
        let now: Timestamp = "2026-05-10T00:00:00Z".parse().unwrap();
        for (then, text) in [
            ("2026-05-09T23:59:55Z", "5s"),
            ("2026-05-09T23:50:00Z", "10m"),
            ("2026-05-09T12:00:00Z", "12h"),
            ("2026-05-01T00:00:00Z", "9d"),
            ("2026-05-11T00:00:00Z", "0s"),
        ] {
            assert_eq!(age(then.parse().unwrap(), now), text);
        }
    }

    #[test]
    fn sizes() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1536, "1.5 KiB"),
            (12 << 20, "12 MiB"),
            ((1 << 30) - 1, "1.0 GiB"),
            (u64::MAX, "16384 PiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn values_stay_on_one_line() {
        assert_eq!(value(&json!("a\nb\x1b[1m"), 20), "a b\u{fffd}[1m");
        assert_eq!(value(&json!({"a": [1, 2]}), 20), "{\"a\":[1,2]}");
        assert_eq!(shorten("abcdef", 4), "abc…");
        assert_eq!(shorten("abcd\n", 4), "abcd");
    }

    #[test]
    fn names_and_paths() {
        assert_eq!(function("default/train@0123456789abcdef"), "train@0123456");
        assert_eq!(function("p/train"), "p/train");
        assert_eq!(path("/home/me/p/x.csv", Path::new("/home/me")), "p/x.csv");
        assert_eq!(path("/data/x.csv", Path::new("/home/me")), "/data/x.csv");
        assert_eq!(path("s3://b/x", Path::new("/home/me")), "s3://b/x");
    }
}
