//! What all requests share: whose they are, how much they may ask, and their bodies.

use std::{sync::Arc, time::Instant};

use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Request},
    http::{HeaderMap, StatusCode, header, request::Parts},
};
use runtime_core::{cluster::ENDPOINT_TOKEN, run::RunKey, serde_json, store::RunRecord};
use serde::Deserialize;

use super::{
    error::Refusal,
    json,
    limit::Rates,
    token::{Grant, Tokens},
};
use crate::Orchestrator;

/// What the handlers share.
pub(super) struct Shared {
    pub(super) orchestrator: Orchestrator,
    pub(super) tokens: Tokens,
    pub(super) rates: Rates,
    pub(super) url: Option<String>,
    pub(super) largest_file: u64,
}

/// A request with a right token, whose turn it is.
pub(super) struct Caller(Grant);

impl FromRequestParts<Arc<Shared>> for Caller {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, shared: &Arc<Shared>) -> Result<Self, Refusal> {
        let refused = |why: &str| Refusal::new(StatusCode::UNAUTHORIZED, why);
        let token = token(&parts.headers).ok_or_else(|| {
            refused(&format!(
                "no token: send `Authorization: Bearer TOKEN`; clients of MLRun do where {ENDPOINT_TOKEN} is set"
            ))
        })?;
        let grant = shared.tokens.verify(token).ok_or_else(|| {
            refused("this token is not known here: it is not one of a run of this endpoint's record, or not whole")
        })?;
        match shared.rates.take(&grant, Instant::now()) {
            Ok(wait) if wait.is_zero() => {}
            Ok(wait) => tokio::time::sleep(wait).await,
            Err(wait) => {
                let message = format!("run {} makes too many requests", grant.run);
                return Err(Refusal::new(StatusCode::TOO_MANY_REQUESTS, message).later(wait.as_secs() + 1));
            }
        }
        Ok(Self(grant))
    }
}

/// The token of a request: a bearer's, or in the cookie in which some clients of MLRun put it.
fn token(headers: &HeaderMap) -> Option<&str> {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
    });
    bearer.or_else(|| {
        let mut cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        cookies.find_map(|cookies| {
            let (_, session) = cookies.split_once("session=")?;
            let (_, token) = session.split_once("\"sid\": \"")?;
            token.split_once('"').map(|(token, _)| token)
        })
    })
}

/// Which iteration of the run a request is about.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Iteration {
    #[serde(default)]
    iter: Option<u32>,
}

impl Iteration {
    pub(super) fn at(iter: Option<u32>) -> Self {
        Self { iter }
    }
}

impl Caller {
    /// The run of the token, where the request is about it and it is in this project.
    pub(super) async fn run(&self, shared: &Shared, project: &str, uid: &str) -> Result<RunRecord, Refusal> {
        if uid != self.0.run.uid {
            return Err(Refusal::forbidden(format!(
                "this token is for the run {}, and for no other",
                self.0.run.uid
            )));
        }
        self.own_run(shared, project).await
    }

    /// The run of the token.
    pub(super) async fn record(&self, shared: &Shared) -> Result<RunRecord, Refusal> {
        let key = &self.0.run;
        let record = shared.orchestrator.store().get_run(key).await?;
        record.ok_or_else(|| Refusal::missing(format!("there is no run {key} any more")))
    }

    /// The run of the token, where it is in this project.
    pub(super) async fn own_run(&self, shared: &Shared, project: &str) -> Result<RunRecord, Refusal> {
        let record = self.record(shared).await?;
        let own = &record.run.metadata.project;
        if own == project {
            return Ok(record);
        }
        Err(Refusal::forbidden(format!(
            "the run of this token is in the project {own:?}, not in {project:?}"
        )))
    }

    /// The run, or the iteration of it that its code made, that a request is about.
    pub(super) fn of(&self, Iteration { iter }: &Iteration) -> Result<RunKey, Refusal> {
        let RunKey { uid, iteration: own } = &self.0.run;
        match (*own, iter.unwrap_or(*own)) {
            (0, iteration) => Ok(RunKey { uid: uid.clone(), iteration }),
            // A client of MLRun that names none means the whole; that is not this one's to change.
            (own, asked) if own == asked => Ok(self.0.run.clone()),
            (own, _) => Err(Refusal::forbidden(format!(
                "this token is for the iteration {own} of its run: name it with `iter={own}`"
            ))),
        }
    }

    pub(super) fn key(&self) -> &RunKey {
        &self.0.run
    }

    pub(super) fn attempt(&self) -> u32 {
        self.0.attempt
    }
}

/// A body as it came.
pub(super) struct Raw(pub(super) Bytes);

impl<S: Send + Sync> FromRequest<S> for Raw {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        Bytes::from_request(request, state).await.map(Self).map_err(|rejection| {
            let too_large = rejection.status() == StatusCode::PAYLOAD_TOO_LARGE;
            let help = if too_large { "; write what is large into an artifact" } else { "" };
            Refusal::new(rejection.status(), rejection.body_text() + help)
        })
    }
}

/// A body that is JSON, whatever its type says: clients of MLRun do not set it.
pub(super) struct Json(pub(super) serde_json::Value);

impl<S: Send + Sync> FromRequest<S> for Json {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let Raw(body) = Raw::from_request(request, state).await?;
        json::read(&body).map(Self)
    }
}

/// A part of the request that is text: parameters, or the path.
pub(super) struct Given<T>(pub(super) T);

impl<T, S: Send + Sync> FromRequestParts<S> for Given<T>
where
    T: serde::de::DeserializeOwned + Send,
{
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let query = axum::extract::Query::<T>::from_request_parts(parts, state).await;
        query.map(|query| Self(query.0)).map_err(|rejection| Refusal::bad(rejection.body_text()))
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn a_token_is_found_where_clients_put_it() {
        let find = |name, value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_str(value).unwrap());
            token(&headers).map(str::to_owned)
        };
        assert_eq!(find(header::AUTHORIZATION, "Bearer a.b").as_deref(), Some("a.b"));
        assert_eq!(find(header::AUTHORIZATION, "bearer  a").as_deref(), Some("a"));
        assert_eq!(find(header::COOKIE, r#"x=1; session=j:{"sid": "a.b"}"#).as_deref(), Some("a.b"));
        for (name, value) in [
            (header::AUTHORIZATION, "Basic a"),
            (header::AUTHORIZATION, "a"),
            (header::COOKIE, r#"other=j:{"sid": "a"}"#),
            (header::COOKIE, r#"session=j:{"sid": "a"#),
        ] {
            assert_eq!(find(name, value), None, "{value}");
        }
    }
}
