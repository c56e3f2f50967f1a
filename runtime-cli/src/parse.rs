//! Reading what stands on the command line: pairs, values, durations, limits.

use std::{collections::BTreeMap, path::Path, time::Duration};

use runtimes::{
    Error, ErrorKind, Result,
    core::{jiff::Timestamp, run::parse_duration, serde_json::Value},
};

/// `key=value`.
pub(crate) type Pair = (String, String);

/// Splits `key=value` at the first `=`.
pub(crate) fn pair(text: &str) -> Result<Pair> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.to_owned())),
        _ => Err(Error::new(ErrorKind::Invalid, "it is not of the form KEY=VALUE")),
    }
}

/// A parameter's value: JSON where it is JSON, otherwise text.
pub(crate) fn value(text: &str) -> Value {
    match runtimes::core::serde_json::from_str(text) {
        // A whole number too large for 64 bits would lose digits; the code can still convert the text.
        Ok(Value::Number(number)) if number.is_f64() && !text.contains(['.', 'e', 'E']) => Value::from(text),
        Ok(value) => value,
        Err(_) => Value::from(text),
    }
}

/// Puts pairs into a map; `option` is where they were given.
pub(crate) fn unique(option: &str, pairs: Vec<Pair>) -> Result<BTreeMap<String, String>> {
    let mut map = BTreeMap::new();
    for (key, value) in pairs {
        if let Some(first) = map.get(&key) {
            return Err(Error::invalid(option, format!("`{key}` is given twice: {first:?} and {value:?}"))
                .help("give each name once"));
        }
        map.insert(key, value);
    }
    Ok(map)
}

/// A duration that ends; `90s`, `5m`, `1h30m`, `2d`.
pub(crate) fn duration(text: &str) -> Result<Duration> {
    parse_duration(text)?.ok_or_else(|| {
        Error::new(ErrorKind::Invalid, "there must be an end").help("write 90s, 5m, 1h30m or 2d")
    })
}

/// The moment that is this long ago.
pub(crate) fn ago(age: Duration) -> Result<Timestamp> {
    Timestamp::now().checked_sub(age).map_err(|_| {
        Error::new(ErrorKind::Invalid, format!("{age:?} ago is before all time")).help("write 30m, 12h or 7d")
    })
}

/// Where an input is, seen from anywhere: URLs as they are, paths made absolute.
pub(crate) fn location(text: &str) -> Result<String> {
    if text.contains("://") {
        return Ok(text.to_owned());
    }
    absolute(Path::new(text))
}

/// A path made absolute, as text.
pub(crate) fn absolute(path: &Path) -> Result<String> {
    let path = std::path::absolute(path).map_err(|error| Error::io("find", path, error))?;
    path.into_os_string().into_string().map_err(|path| {
        Error::new(ErrorKind::Invalid, format!("{} is not UTF-8", path.display())).help("rename it")
    })
}

/// What a run may use at most: `mem=1Gi,cpu=2,gpus=1`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) memory: Option<String>,
    pub(crate) cpu: Option<String>,
    pub(crate) gpus: Option<u32>,
}

/// Reads `mem=1Gi,cpu=2,gpus=1`; the quantities are checked with the function.
pub(crate) fn limits(text: &str) -> Result<Limits> {
    let mut limits = Limits::default();
    let wrong = |message: String| {
        Error::new(ErrorKind::Invalid, message).help("write mem=1Gi,cpu=2 (mem, cpu and gpus are known)")
    };
    for part in text.split(',') {
        let (key, value) =
            pair(part).map_err(|_| wrong(format!("{part:?} is not of the form NAME=AMOUNT")))?;
        let twice = match key.as_str() {
            "mem" | "memory" => limits.memory.replace(value).is_some(),
            "cpu" => limits.cpu.replace(value).is_some(),
            "gpu" | "gpus" => {
                let count = value.parse().map_err(|_| wrong(format!("{value:?} is not a number of GPUs")))?;
                limits.gpus.replace(count).is_some()
            }
            _ => return Err(wrong(format!("there is no limit `{key}`"))),
        };
        if twice {
            return Err(wrong(format!("`{key}` is given twice")));
        }
    }
    Ok(limits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use runtimes::core::serde_json::json;

    #[test]
    fn values_are_json_where_they_are_json() {
        for (text, expected) in [
            ("3", json!(3)),
            ("0.5", json!(0.5)),
            ("1e3", json!(1000.0)),
            ("true", json!(true)),
            ("null", json!(null)),
            ("[1, 2]", json!([1, 2])),
            ("{\"a\": 1}", json!({"a": 1})),
            ("\"3\"", json!("3")),
            ("", json!("")),
            ("adam", json!("adam")),
            ("True", json!("True")),
            ("1,2", json!("1,2")),
            ("[1", json!("[1")),
            ("123456789012345678901234567890", json!("123456789012345678901234567890")),
        ] {
            assert_eq!(value(text), expected, "{text}");
        }
    }

    #[test]
    fn pairs() {
        assert_eq!(pair("a=b=c").unwrap(), ("a".to_owned(), "b=c".to_owned()));
        assert_eq!(pair("a=").unwrap(), ("a".to_owned(), String::new()));
        assert!(pair("a").is_err());
        assert!(pair("=b").is_err());
        let twice = vec![pair("a=1").unwrap(), pair("a=2").unwrap()];
        let error = unique("--param", twice).unwrap_err();
        assert_eq!(error.location(), Some("--param"));
        assert_eq!(error.message(), "`a` is given twice: \"1\" and \"2\"");
    }

    #[test]
    fn limits_name_what_is_wrong() {
        let read = limits("mem=1Gi,cpu=500m,gpus=2").unwrap();
        assert_eq!(read, Limits { memory: Some("1Gi".into()), cpu: Some("500m".into()), gpus: Some(2) });
        for (text, message) in [
            ("disk=1", "there is no limit `disk`"),
            ("mem", "\"mem\" is not of the form NAME=AMOUNT"),
            ("cpu=1,cpu=2", "`cpu` is given twice"),
            ("gpus=many", "\"many\" is not a number of GPUs"),
        ] {
            assert_eq!(limits(text).unwrap_err().message(), message);
        }
    }

    #[test]
    fn inputs_become_absolute_unless_they_are_urls() {
        assert_eq!(location("s3://bucket/key").unwrap(), "s3://bucket/key");
        assert_eq!(location("/data/x.csv").unwrap(), "/data/x.csv");
        let here = std::env::current_dir().unwrap().join("x.csv");
        assert_eq!(location("x.csv").unwrap(), here.to_str().unwrap());
    }
}
