//! What a storage is opened with: the environment of this program, and over it the secrets of the project.

use std::collections::BTreeMap;

use runtime_core::{
    Error, ErrorKind, Result,
    secret::{SecretSource, project_secret},
};

use super::{Scheme, profile};

/// Names and values; never printed.
pub(super) type Options = BTreeMap<String, String>;

/// Variables begin so.
fn prefix(scheme: Scheme) -> Option<&'static str> {
    match scheme {
        Scheme::S3 => Some("AWS_"),
        Scheme::Gcs => Some("GOOGLE_"),
        Scheme::Azure => Some("AZURE_"),
        _ => None,
    }
}

/// The keys that are looked for in the secrets of a project. A source of secrets cannot list what it has.
fn keys(scheme: Scheme) -> &'static [&'static str] {
    match scheme {
        Scheme::S3 => &[
            "AWS_ACCESS_KEY_ID",
            "AWS_SECRET_ACCESS_KEY",
            "AWS_SESSION_TOKEN",
            "AWS_REGION",
            "AWS_DEFAULT_REGION",
            "AWS_ENDPOINT_URL",
            "AWS_ENDPOINT_URL_S3",
            "AWS_VIRTUAL_HOSTED_STYLE_REQUEST",
            "AWS_SKIP_SIGNATURE",
        ],
        Scheme::Gcs => &[
            "GOOGLE_SERVICE_ACCOUNT",
            "GOOGLE_SERVICE_ACCOUNT_KEY",
            "GOOGLE_APPLICATION_CREDENTIALS",
            "GOOGLE_BASE_URL",
            "GOOGLE_SKIP_SIGNATURE",
        ],
        Scheme::Azure => &[
            "AZURE_STORAGE_CONNECTION_STRING",
            "AZURE_STORAGE_ACCOUNT_NAME",
            "AZURE_STORAGE_ACCOUNT_KEY",
            "AZURE_STORAGE_SAS_TOKEN",
            "AZURE_STORAGE_TENANT_ID",
            "AZURE_STORAGE_CLIENT_ID",
            "AZURE_STORAGE_CLIENT_SECRET",
            "AZURE_STORAGE_ENDPOINT",
        ],
        _ => &[],
    }
}

/// What says who one is. Where the project brings any of these, those of the environment are somebody else's.
fn identity(scheme: Scheme) -> &'static [&'static str] {
    match scheme {
        Scheme::S3 => &["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"],
        Scheme::Gcs => {
            &["GOOGLE_SERVICE_ACCOUNT", "GOOGLE_SERVICE_ACCOUNT_KEY", "GOOGLE_APPLICATION_CREDENTIALS"]
        }
        Scheme::Azure => &[
            "AZURE_STORAGE_CONNECTION_STRING",
            "AZURE_STORAGE_ACCOUNT_KEY",
            "AZURE_STORAGE_SAS_TOKEN",
            "AZURE_STORAGE_CLIENT_SECRET",
        ],
        _ => &[],
    }
}

/// What is known for this scheme and project.
pub(super) fn options(
    scheme: Scheme,
    project: &str,
    secrets: Option<&dyn SecretSource>,
    environment: impl Iterator<Item = (String, String)>,
) -> Result<Options> {
    let mut options: Options = match prefix(scheme) {
        Some(prefix) => {
            environment.filter(|(name, value)| name.starts_with(prefix) && !value.is_empty()).collect()
        }
        None => return Ok(Options::new()),
    };
    if let Some(secrets) = secrets {
        let name = project_secret(project);
        let mut own = Options::new();
        for key in keys(scheme) {
            if let Some(secret) = secrets.get(&name, key)? {
                own.insert((*key).to_owned(), secret.expose().to_owned());
            }
        }
        if identity(scheme).iter().any(|key| own.contains_key(*key)) {
            options.retain(|name, _| !identity(scheme).contains(&name.as_str()));
        }
        options.extend(own);
    }
    if scheme == Scheme::S3 {
        profile::fill(&mut options);
    }
    if let Some(text) = options.remove("AZURE_STORAGE_CONNECTION_STRING") {
        connection_string(&text, &mut options)?;
    }
    if let Some(token) = options.remove("AZURE_STORAGE_SAS_TOKEN") {
        options.insert("AZURE_STORAGE_SAS_KEY".to_owned(), token);
    }
    Ok(options)
}

/// Azure's own form: `AccountName=…;AccountKey=…;BlobEndpoint=…`.
fn connection_string(text: &str, options: &mut Options) -> Result<()> {
    for part in text.split(';').filter(|part| !part.trim().is_empty()) {
        let Some((name, value)) = part.split_once('=') else {
            return Err(Error::new(
                ErrorKind::Invalid,
                "AZURE_STORAGE_CONNECTION_STRING is no connection string",
            )
            .help("it is of the form AccountName=NAME;AccountKey=KEY;EndpointSuffix=core.windows.net"));
        };
        let key = match name.trim() {
            "AccountName" => "AZURE_STORAGE_ACCOUNT_NAME",
            "AccountKey" => "AZURE_STORAGE_ACCOUNT_KEY",
            "SharedAccessSignature" => "AZURE_STORAGE_SAS_KEY",
            "BlobEndpoint" => "AZURE_STORAGE_ENDPOINT",
            _ => continue,
        };
        options.insert(key.to_owned(), value.trim().to_owned());
    }
    Ok(())
}

/// What to do where somebody may not, or says not who they are.
pub(super) fn how_to_set(scheme: Scheme, project: &str) -> String {
    let names = match scheme {
        Scheme::S3 => {
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (AWS_REGION and AWS_ENDPOINT_URL where they differ)"
        }
        Scheme::Gcs => "GOOGLE_APPLICATION_CREDENTIALS",
        Scheme::Azure => "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
        _ => return "check the URL, and who may read it".to_owned(),
    };
    format!("set {names} in the environment, or as keys of the secret {:?}", project_secret(project))
}

#[cfg(test)]
mod tests {
    use super::*;
    use runtime_core::secret::Secret;

    struct Fixed(&'static [(&'static str, &'static str)]);

    impl SecretSource for Fixed {
        fn get(&self, name: &str, key: &str) -> Result<Option<Secret>> {
            assert_eq!(name, "mlrun-project-secrets-p");
            Ok(self.0.iter().find(|(known, _)| *known == key).map(|(_, value)| Secret::new(*value)))
        }

        fn how_to_set(&self, _: &str, _: &str) -> String {
            String::new()
        }
    }

    fn env(pairs: &[(&str, &str)]) -> impl Iterator<Item = (String, String)> {
        pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect::<Vec<_>>().into_iter()
    }

    #[test]
    fn the_project_goes_over_the_environment() {
        let machine =
            [("AWS_ACCESS_KEY_ID", "m"), ("AWS_SESSION_TOKEN", "t"), ("AWS_REGION", "r"), ("HOME", "/")];
        let secrets = Fixed(&[("AWS_ACCESS_KEY_ID", "p"), ("AWS_SECRET_ACCESS_KEY", "s")]);
        let found = options(Scheme::S3, "p", Some(&secrets), env(&machine)).unwrap();
        let expected = [("AWS_ACCESS_KEY_ID", "p"), ("AWS_REGION", "r"), ("AWS_SECRET_ACCESS_KEY", "s")];
        assert_eq!(found, env(&expected).collect(), "no token of somebody else");
        assert_eq!(options(Scheme::S3, "p", None, env(&machine)).unwrap().len(), 3);
    }

    #[test]
    fn azure_is_told_in_one_string() {
        let one = [(
            "AZURE_STORAGE_CONNECTION_STRING",
            "AccountName=a;AccountKey=Zm9v==;BlobEndpoint=http://h/a;X=1",
        )];
        let found = options(Scheme::Azure, "p", None, env(&one)).unwrap();
        let expected = [
            ("AZURE_STORAGE_ACCOUNT_KEY", "Zm9v=="),
            ("AZURE_STORAGE_ACCOUNT_NAME", "a"),
            ("AZURE_STORAGE_ENDPOINT", "http://h/a"),
        ];
        assert_eq!(found, env(&expected).collect());
        let error = options(Scheme::Azure, "p", None, env(&[("AZURE_STORAGE_CONNECTION_STRING", "s3cret")]))
            .unwrap_err();
        assert!(!error.to_string().contains("s3cret"));
    }
}
