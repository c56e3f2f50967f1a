//! Whether this server answers, or stands by for another one: for whoever sends it requests, and for its service manager.

use axum::{
    Router,
    extract::{Request, State},
    http::{Method, StatusCode},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use runtime_core::serde_json::json;
use tokio::sync::watch;

use super::error::{Refusal, json_response};

/// Answered by whatever lives.
const LIVE: &str = "/livez";

/// Lets requests in while `open` is true, all of them where there is none; `/livez` is answered in any case.
pub(super) fn guarded(paths: Router, open: Option<watch::Receiver<bool>>) -> Router {
    paths.layer(middleware::from_fn_with_state(open, pass))
}

async fn pass(State(open): State<Option<watch::Receiver<bool>>>, request: Request, next: Next) -> Response {
    if request.uri().path() == LIVE && matches!(*request.method(), Method::GET | Method::HEAD) {
        return json_response(StatusCode::OK, &json!({"status": "ok"}));
    }
    if open.is_none_or(|open| *open.borrow()) {
        return next.run(request).await;
    }
    let message = "this replica stands by, and another one answers";
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, message).later(1).into_response()
}
