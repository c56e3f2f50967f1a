//! Where a run's own secrets come from, as MLRun's `with_secrets` has it.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use serde_json::{Value, json};

use crate::secret::Secret;

/// One source of secrets for a run: `{kind, source}`. Values given in the spec itself are never written anywhere.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum SecretSources {
    /// Variables of the environment of whoever starts the run.
    Env(Vec<String>),
    /// A file of lines `KEY=VALUE`; relative to the run's working folder.
    File(String),
    /// Values, for this run alone; where it was read from a record, only their names are left.
    Inline(BTreeMap<String, Option<Secret>>),
    /// Keys of the project's secrets: the run gets these, and no others of them.
    Kubernetes(Vec<String>),
    /// A vault, as MLRun's server reads it (`vault`, `azure_vault`): kept as it is written, and refused where it would be
    /// needed.
    Vault {
        /// Which one.
        kind: String,
        /// Where in it, and the names of the secrets.
        source: Value,
    },
}

/// The kinds of vaults.
const VAULTS: [&str; 2] = ["vault", "azure_vault"];

impl SecretSources {
    /// Its name, as it is written.
    pub fn kind(&self) -> &str {
        match self {
            Self::Env(_) => "env",
            Self::File(_) => "file",
            Self::Inline(_) => "inline",
            Self::Kubernetes(_) => "kubernetes",
            Self::Vault { kind, .. } => kind,
        }
    }
}

impl Serialize for SecretSources {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let source = match self {
            Self::Env(names) => json!(names.join(",")),
            Self::File(path) => json!(path),
            Self::Inline(values) => values.keys().map(|key| (key.clone(), Value::Null)).collect(),
            Self::Kubernetes(keys) => json!(keys),
            Self::Vault { source, .. } => source.clone(),
        };
        json!({"kind": self.kind(), "source": source}).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for SecretSources {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Errors of nested types would quote what they did not expect, so they are not used.
        let Written { kind, source } = Written::deserialize(deserializer)
            .map_err(|_| D::Error::custom("it needs `kind` and `source`"))?;
        let wrong = |what: &str| D::Error::custom(format!("a source of the kind `{kind}` is {what}"));
        Ok(match kind.as_str() {
            "env" => Self::Env(names(&source).ok_or_else(|| wrong("names of variables: \"A,B\""))?),
            "file" => Self::File(source.as_str().ok_or_else(|| wrong("a path"))?.to_owned()),
            "kubernetes" => Self::Kubernetes(names(&source).ok_or_else(|| wrong("a list of keys"))?),
            "inline" => {
                let Value::Object(values) = source else { return Err(wrong("a mapping")) };
                let secret = |value: Value| match value {
                    Value::Null => None,
                    Value::String(text) => Some(Secret::new(text)),
                    other => Some(Secret::new(other.to_string())),
                };
                Self::Inline(values.into_iter().map(|(key, value)| (key, secret(value))).collect())
            }
            vault if VAULTS.contains(&vault) => Self::Vault { kind, source },
            other => {
                return Err(D::Error::custom(format!(
                    "there are no secrets of the kind `{other}` here: env, file, inline and kubernetes are known"
                )));
            }
        })
    }
}

#[derive(Deserialize)]
struct Written {
    kind: String,
    #[serde(default)]
    source: Value,
}

/// Names in a list, or in one text with commas between them.
fn names(source: &Value) -> Option<Vec<String>> {
    let split = |text: &str| -> Vec<String> {
        text.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
    };
    match source {
        Value::String(text) => Some(split(text)),
        Value::Array(list) => list.iter().map(|name| name.as_str().map(str::to_owned)).collect(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_and_never_written() {
        let text = r#"[{"kind":"env","source":"A, B"},{"kind":"file","source":"s.env"},
            {"kind":"inline","source":{"K":"s3cret","N":7}},{"kind":"kubernetes","source":["X"]}]"#;
        let sources: Vec<SecretSources> = serde_json::from_str(text).unwrap();
        assert_eq!(sources[0], SecretSources::Env(vec!["A".into(), "B".into()]));
        let SecretSources::Inline(values) = &sources[2] else { panic!("{sources:?}") };
        assert_eq!(values["K"].as_ref().unwrap().expose(), "s3cret");
        let written = serde_json::to_string(&sources).unwrap();
        assert!(!written.contains("s3cret") && !format!("{sources:?}").contains("s3cret"));
        let again: Vec<SecretSources> = serde_json::from_str(&written).unwrap();
        let names = BTreeMap::from([("K".to_owned(), None), ("N".to_owned(), None)]);
        assert_eq!(again[2], SecretSources::Inline(names));
    }

    #[test]
    fn what_is_wrong_is_said_without_quoting_it() {
        for text in [
            r#"{"kind":"inline","source":"s3cret"}"#,
            r#"{"kind":"env","source":{"s3cret":1}}"#,
            r#"{"source":"s3cret"}"#,
            r#"{"kind":"file","source":["s3cret"]}"#,
            r#"{"kind":"inlin","source":"s3cret"}"#,
            r#""s3cret""#,
        ] {
            let error = serde_json::from_str::<SecretSources>(text).unwrap_err().to_string();
            assert!(!error.contains("s3cret"), "{error}");
        }
    }
}
