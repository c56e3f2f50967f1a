//! What a request is refused with, in the form that clients of MLRun show: `{"detail": "..."}`.

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use runtime_core::{Error, ErrorKind, serde_json::json};

/// A refusal.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    detail: String,
    /// After so many seconds it may go well.
    retry_after: Option<u64>,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into(), retry_after: None }
    }

    pub(super) fn later(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    pub(super) fn bad(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    pub(super) fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, detail)
    }

    pub(super) fn missing(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }
}

/// What is the matter with a request is said whole; what is the matter here is said in the log of this program, as it
/// may name its files.
impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let status = match error.kind() {
            ErrorKind::Invalid => StatusCode::BAD_REQUEST,
            ErrorKind::NotFound => StatusCode::NOT_FOUND,
            ErrorKind::Conflict => StatusCode::CONFLICT,
            _ => {
                tracing::error!(%error, "a request to the endpoint for reports failed");
                let message = "the record cannot be read or written at the moment";
                return Self::new(StatusCode::SERVICE_UNAVAILABLE, message).later(2);
            }
        };
        let place = error.location().map(|place| format!("{place}: ")).unwrap_or_default();
        let help = error.help_text().map(|help| format!("; {help}")).unwrap_or_default();
        Self::new(status, format!("{place}{}{help}", error.message()))
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = json_response(self.status, &json!({"detail": self.detail}));
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// An answer that is JSON.
pub(super) fn json_response(status: StatusCode, value: &runtime_core::serde_json::Value) -> Response {
    let mut response = Response::new(Body::from(value.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
