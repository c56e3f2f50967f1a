//! The files in which the tools of S3 keep credentials: `~/.aws/credentials` and `~/.aws/config`, by profile.

use std::{collections::BTreeMap, path::PathBuf};

use super::credentials::Options;

/// Where the variables say nothing of who one is: what the profile says. Files that cannot be read say nothing.
pub(super) fn fill(options: &mut Options) {
    let says_who = ["AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_SKIP_SIGNATURE"]
        .iter()
        .chain(&["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI"])
        .any(|name| options.contains_key(*name));
    if says_who {
        return;
    }
    let profile = options.get("AWS_PROFILE").map_or("default", String::as_str).to_owned();
    let file = |variable: &str, name: &str, options: &Options| {
        let path = options.get(variable).map(PathBuf::from);
        let path = path.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".aws").join(name)))?;
        std::fs::read_to_string(path).ok()
    };
    let config = file("AWS_CONFIG_FILE", "config", options);
    let credentials = file("AWS_SHARED_CREDENTIALS_FILE", "credentials", options);
    let mut found = BTreeMap::new();
    for (text, name) in [(config, format!("profile {profile}")), (credentials, profile.clone())] {
        let text = text.unwrap_or_default();
        found.extend(section(&text, &name).or_else(|| section(&text, &profile)).unwrap_or_default());
    }
    for (key, name) in [
        ("aws_access_key_id", "AWS_ACCESS_KEY_ID"),
        ("aws_secret_access_key", "AWS_SECRET_ACCESS_KEY"),
        ("aws_session_token", "AWS_SESSION_TOKEN"),
        ("region", "AWS_REGION"),
        ("endpoint_url", "AWS_ENDPOINT_URL"),
    ] {
        if let Some(value) = found.get(key) {
            options.entry(name.to_owned()).or_insert_with(|| value.clone());
        }
    }
}

/// The values below `[name]`.
fn section(text: &str, name: &str) -> Option<BTreeMap<String, String>> {
    let mut found = None;
    let mut inside = false;
    for line in text.lines() {
        let trimmed = line.trim();
        if let Some(title) = trimmed.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            inside = title.split_whitespace().eq(name.split_whitespace());
            if inside {
                found = Some(BTreeMap::new());
            }
        } else if let (true, Some((key, value)), Some(found)) = (inside, trimmed.split_once('='), &mut found)
            && !trimmed.starts_with(['#', ';'])
            // Indented lines belong to a group of their own.
            && !line.starts_with(char::is_whitespace)
        {
            found.insert(key.trim().to_owned(), value.trim().to_owned());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_says_who_one_is_where_the_variables_do_not() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        let credentials = "[default]\naws_access_key_id = d\n\n[team]\n# aws_access_key_id=x\n\
                           aws_access_key_id=t\naws_secret_access_key = a=b\n";
        let config =
            "[default]\nregion=eu-north-1\n[profile team]\nregion = eu-west-1\ns3 =\n  endpoint_url = no\n";
        let mut options = Options::from([
            ("AWS_PROFILE".to_owned(), "team".to_owned()),
            ("AWS_SHARED_CREDENTIALS_FILE".to_owned(), file("credentials", credentials)),
            ("AWS_CONFIG_FILE".to_owned(), file("config", config)),
        ]);
        fill(&mut options);
        let of = |name: &str| options.get(name).map(String::as_str);
        assert_eq!((of("AWS_ACCESS_KEY_ID"), of("AWS_SECRET_ACCESS_KEY")), (Some("t"), Some("a=b")));
        assert_eq!((of("AWS_REGION"), of("AWS_ENDPOINT_URL")), (Some("eu-west-1"), None));
        let mut own = Options::from([("AWS_ACCESS_KEY_ID".to_owned(), "own".to_owned())]);
        fill(&mut own);
        assert_eq!(own.len(), 1);
    }
}
