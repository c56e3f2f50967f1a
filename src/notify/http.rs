//! Notifications that are requests to a web server.

use std::{error::Error as _, time::Duration};

use reqwest::{
    Client, Method, StatusCode, Url,
    header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER},
    redirect,
};
use runtime_core::serde_json::{Value, json};

use super::{Failure, Letter};

/// How long a server may take to be reached.
const CONNECT: Duration = Duration::from_secs(10);

/// How long it may take altogether.
const ANSWER: Duration = Duration::from_secs(30);

/// The same for the same notification, so that who gets it twice can tell.
const ID: &str = "idempotency-key";

impl Letter<'_> {
    pub(super) async fn webhook(&self) -> Result<(), Failure> {
        let url = address(&self.params.required("url")?)?;
        let method = self.params.text("method").unwrap_or_else(|| "POST".to_owned()).to_ascii_uppercase();
        let method = method.parse::<Method>().map_err(|_| Failure::last("`method` is no method of HTTP"))?;
        let mut headers = HeaderMap::new();
        for (name, value) in self.params.map("headers")?.unwrap_or_default() {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            headers.insert(
                name.parse::<HeaderName>()
                    .map_err(|_| Failure::last("a name in `headers` is none of HTTP"))?,
                secret_header(&value)?,
            );
        }
        let body = match self.params.map("override_body")? {
            Some(body) => fill(Value::Object(body), &json!([self.run])),
            None => self.payload(),
        };
        self.request(method, url, headers, body).await
    }

    pub(super) async fn slack(&self) -> Result<(), Failure> {
        let url = address(&self.params.required("webhook")?)?;
        self.request(Method::POST, url, HeaderMap::new(), self.blocks()).await
    }

    /// A comment at GitHub, or with `gitlab: true` (or a server of that name) at GitLab.
    pub(super) async fn git(&self) -> Result<(), Failure> {
        let params = &self.params;
        let (repo, token) = (params.required("repo")?, params.required("token")?);
        let server = params.text("server").unwrap_or_default();
        let (issue, merge) = (params.text("issue"), params.text("merge_request"));
        let mut headers = HeaderMap::new();
        let path = if params.is_set("gitlab") || server.contains("gitlab") {
            headers.insert("private-token", secret_header(&token)?);
            let repo = repo.replace('/', "%2F");
            match (merge, issue) {
                (Some(number), _) => format!("api/v4/projects/{repo}/merge_requests/{number}/notes"),
                (None, number) => {
                    format!("api/v4/projects/{repo}/issues/{}/notes", number.unwrap_or_default())
                }
            }
        } else {
            headers.insert("authorization", secret_header(&format!("token {token}"))?);
            let number = issue.or(merge).unwrap_or_default();
            format!("repos/{repo}/issues/{number}/comments")
        };
        let server = match server.as_str() {
            "" | "github.com" | "api.github.com" if !params.is_set("gitlab") => {
                "https://api.github.com".to_owned()
            }
            "" => "https://gitlab.com".to_owned(),
            // A server of GitHub's own in a company has its interface below a folder.
            host if !host.contains("://") && path.starts_with("repos/") => format!("https://{host}/api/v3"),
            host if !host.contains("://") => format!("https://{host}"),
            url => url.trim_end_matches('/').to_owned(),
        };
        let url = address(&format!("{server}/{path}"))?;
        self.request(Method::POST, url, headers, json!({"body": self.markdown()})).await
    }

    async fn request(
        &self,
        method: Method,
        url: Url,
        headers: HeaderMap,
        body: Value,
    ) -> Result<(), Failure> {
        let host = url.host_str().unwrap_or_default().to_owned();
        let id = HeaderValue::from_str(self.id).map_err(|_| Failure::last("its id is no header"))?;
        let request = client()?
            .request(method, url)
            .header(CONTENT_TYPE, "application/json")
            .header(ID, id)
            .headers(headers)
            .body(body.to_string());
        let response = request.send().await.map_err(|error| unsent(&host, error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(());
        }
        let message = format!("{host} answered {status}");
        if status.is_redirection() {
            return Err(Failure::last(format!("{message}: give the address to which it leads")));
        }
        let passing = status.is_server_error()
            || [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_EARLY, StatusCode::TOO_MANY_REQUESTS]
                .contains(&status);
        if !passing {
            return Err(Failure::last(message));
        }
        let after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        Err(Failure { after: after.map(Duration::from_secs), ..Failure::passing(message) })
    }
}

fn client() -> Result<Client, Failure> {
    crate::data::net::choose_crypto();
    Client::builder()
        .user_agent(concat!("runtimes/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT)
        .timeout(ANSWER)
        // What is meant for one server is not carried to another.
        .redirect(redirect::Policy::none())
        .build()
        .map_err(|_| Failure::passing("requests cannot be made here"))
}

/// An address; what is wrong with it is said without it.
fn address(text: &str) -> Result<Url, Failure> {
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(url),
        _ => Err(Failure::last("its address is no http:// or https:// URL")),
    }
}

fn secret_header(text: &str) -> Result<HeaderValue, Failure> {
    let mut value = HeaderValue::from_str(text).map_err(|_| Failure::last("a header cannot be written"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Why nothing came back: the causes, without the address.
fn unsent(host: &str, error: reqwest::Error) -> Failure {
    let error = error.without_url();
    if error.is_timeout() {
        return Failure::passing(format!("{host} did not answer in time"));
    }
    let mut cause = error.source();
    while let Some(below) = cause.and_then(std::error::Error::source) {
        cause = Some(below);
    }
    let why = cause.map_or_else(|| error.to_string(), ToString::to_string);
    Failure::passing(format!("{host} cannot be reached: {why}"))
}

/// Puts the run into a body of the user's own, in the place of `{{ runs }}`.
fn fill(body: Value, runs: &Value) -> Value {
    match body {
        Value::String(text) if text.replace(' ', "") == "{{runs}}" => runs.clone(),
        Value::Array(list) => list.into_iter().map(|value| fill(value, runs)).collect(),
        Value::Object(map) => map.into_iter().map(|(name, value)| (name, fill(value, runs))).collect(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_of_ones_own() {
        let body = json!({"text": "hi", "list": [{"all": "{{ runs }}"}]});
        assert_eq!(fill(body, &json!([1])), json!({"text": "hi", "list": [{"all": [1]}]}));
    }

    #[test]
    fn a_wrong_address_is_not_quoted() {
        for wrong in ["ftp://h/s3cret", "s3cret", "http://", "https://[s3cret"] {
            let failure = address(wrong).unwrap_err();
            assert!(!failure.message.contains("s3cret") && !failure.again, "{failure:?}");
        }
    }
}
