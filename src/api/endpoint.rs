//! Where runs find the endpoint: told by whoever serves it to whoever starts runs, through the store.

use runtime_core::{
    Error, ErrorKind, Result, Store,
    serde_json::{Value, json},
    store::Document,
};

use crate::Orchestrator;

/// The kind of the document that says it.
const KIND: &str = "endpoint";

const NAME: &str = "current";

/// Checks the URL of an endpoint: `http://` or `https://`, a host, maybe a port and a path.
///
/// # Errors
/// `Invalid`, saying what would be right. A URL with a password is not quoted.
pub fn check_url(url: &str) -> Result<()> {
    let wrong = |why: &str| {
        Error::new(ErrorKind::Invalid, why).help("write http://HOST:PORT, as runs reach this machine")
    };
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    let rest = rest.ok_or_else(|| wrong("the URL of an endpoint begins with http:// or https://"))?;
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    if authority.contains('@') {
        return Err(wrong("the URL of an endpoint holds no user: each run gets a token of its own"));
    }
    let port = authority.rsplit_once(':').filter(|(_, port)| !port.ends_with(']'));
    let port_is_wrong = port.is_some_and(|(_, port)| port.parse::<u16>().is_err());
    let odd = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '?' | '#');
    let host = port.map_or(authority, |(host, _)| host);
    if host.is_empty() || port_is_wrong || authority.contains(odd) || path.contains(odd) {
        return Err(wrong(&format!("{url:?} is no URL of an endpoint")));
    }
    Ok(())
}

impl Orchestrator {
    /// Tells those who start runs, in whichever process, where these report.
    ///
    /// # Errors
    /// As [`check_url`]; when the store cannot be written.
    pub async fn set_endpoint(&self, url: &str) -> Result<()> {
        check_url(url)?;
        let body = json!({"url": url.trim_end_matches('/')});
        loop {
            let known = self.store().get_document(KIND, "", NAME).await?;
            if known.as_ref().is_some_and(|known| known.body == body) {
                return Ok(());
            }
            let revision = known.map_or(0, |known| known.revision);
            let document = Document { revision, ..Document::new(KIND, "", NAME, body.clone()) };
            match self.store().put_document(&document).await {
                // Somebody else has told it meanwhile.
                Err(error) if matches!(error.kind(), ErrorKind::Conflict | ErrorKind::AlreadyExists) => {}
                other => return other.map(drop),
            }
        }
    }

    /// Where runs report, as [`Self::set_endpoint`] said last: for what is started elsewhere.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn endpoint(&self) -> Result<Option<String>> {
        known(&**self.store()).await
    }
}

/// What was said last.
pub(crate) async fn known(store: &dyn Store) -> Result<Option<String>> {
    let known = store.get_document(KIND, "", NAME).await?;
    Ok(known.and_then(|known| known.body.get("url").and_then(Value::as_str).map(str::to_owned)))
}

#[cfg(test)]
mod tests {
    use super::check_url;

    #[test]
    fn an_endpoint_has_a_url_that_others_can_use() {
        for right in
            ["http://a", "https://a.b:8080", "http://10.0.0.1:1/x", "http://[::1]:8080", "http://[::1]/"]
        {
            check_url(right).unwrap();
        }
        for wrong in
            ["", "a:80", "ftp://a", "http://", "http://:80", "http://a:x", "http://a:99999", "http://a b"]
        {
            assert!(check_url(wrong).unwrap_err().help_text().is_some(), "{wrong}");
        }
        let error = check_url("http://me:secret@a").unwrap_err();
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}
