//! The server as clients see it: a request in, an answer out.

use std::{
    convert::Infallible,
    error::Error as StdError,
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request as HttpRequest, Response, Uri, header};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use serde_json::json;

use super::{
    FakeCluster,
    call::{Answer, Call, present},
    fault::{self, Harm},
    request::{Request, Route, route},
    status::Refusal,
};

/// The body of an answer.
pub type Body = UnsyncBoxBody<Bytes, io::Error>;

/// The answer of a request, when it is there.
pub type Answering = Pin<Box<dyn Future<Output = Result<Response<Body>, io::Error>> + Send>>;

impl<B> tower_service::Service<HttpRequest<B>> for FakeCluster
where
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    type Response = Response<Body>;
    type Error = io::Error;
    type Future = Answering;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: HttpRequest<B>) -> Self::Future {
        let cluster = self.clone();
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
            cluster.serve(&parts.method, &parts.uri, &parts.headers, body).await
        })
    }
}

impl FakeCluster {
    async fn serve(
        &self,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Result<Response<Body>, io::Error> {
        let mut request = match route(method, uri, headers) {
            Ok(Route::Resource(request)) => request,
            Ok(_) if self.world().faults.down => return Err(unreachable_server()),
            Ok(Route::Discovery(path)) => {
                let path: Vec<_> = path.iter().map(String::as_str).collect();
                let wanted =
                    headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
                let found = self.world().discover(&path, wanted);
                return Ok(match found {
                    Ok((kind, value)) => text(200, kind, Bytes::from(value.to_string())),
                    Err(refusal) => refused(&refusal),
                });
            }
            Ok(Route::Health) => return Ok(text(200, "text/plain", Bytes::from_static(b"ok"))),
            Err(refusal) => return Ok(refused(&refusal)),
        };
        request.body = body;
        let (number, harm) = {
            let mut world = self.world();
            (world.records.note(&request), world.faults.next(&request))
        };
        self.tell();
        let lost = match harm {
            Some(Harm::Unreachable) => return Err(unreachable_server()),
            Some(Harm::Refuse(code, seconds)) => {
                self.world().records.answered(number, code);
                return Ok(refused(&fault::refusal(code, seconds, &request)));
            }
            Some(Harm::Delay(delay)) => {
                tokio::time::sleep(delay).await;
                false
            }
            Some(Harm::Hold(word)) => {
                self.until(|cluster| cluster.said(&word)).await;
                false
            }
            Some(Harm::AnswerLost) => true,
            None => false,
        };
        let answer = self.perform(&request);
        self.settle();
        if lost {
            return Err(io::Error::new(io::ErrorKind::ConnectionReset, "connection reset by peer"));
        }
        self.world().records.answered(number, answer.status().as_u16());
        Ok(answer)
    }

    /// Does what is asked for.
    fn perform(&self, request: &Request) -> Response<Body> {
        let mut world = self.world();
        if let Err(refusal) = world.access.check(request) {
            return refused(&refusal);
        }
        if request.group == "authorization.k8s.io" && request.plural == "selfsubjectaccessreviews" {
            return match world.access.review(&request.body) {
                Ok(review) => text(201, "application/json", Bytes::from(review.to_string())),
                Err(refusal) => refused(&refusal),
            };
        }
        let id = match world.served(&request.group, &request.version, &request.plural) {
            Ok(id) => id,
            Err(refusal) => return refused(&refusal),
        };
        let resource = world.tables[id].resource.clone();
        let mut call = Call { world: &mut world, request, id, resource, warnings: Vec::new() };
        let answer = call.answer();
        let (warnings, resource) = (call.warnings, call.resource);
        let mut response = match answer {
            Ok(Answer::Object(code, object)) => {
                text(code, "application/json", present(&object, &resource, request))
            }
            Ok(Answer::Value(code, value)) => text(code, "application/json", Bytes::from(value.to_string())),
            Ok(Answer::Empty) => text(204, "text/plain", Bytes::new()),
            Ok(Answer::Text(bytes)) => text(200, "text/plain", bytes),
            Ok(Answer::Json(bytes)) => text(200, "application/json", bytes),
            Ok(Answer::Stream(kind, body)) => response(200, kind, body),
            Err(refusal) => refused(&refusal),
        };
        for warning in warnings {
            if let Ok(value) = HeaderValue::from_str(&format!("299 - {warning:?}")) {
                response.headers_mut().append(header::WARNING, value);
            }
        }
        response
    }
}

fn unreachable_server() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionRefused, "connection refused")
}

fn text(code: u16, kind: &'static str, text: Bytes) -> Response<Body> {
    let body = Full::new(text).map_err(|never: Infallible| match never {}).boxed_unsync();
    response(code, kind, body)
}

fn response(code: u16, kind: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() =
        http::StatusCode::from_u16(code).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

fn refused(refusal: &Refusal) -> Response<Body> {
    let mut response = text(refusal.code, "application/json", Bytes::from(refusal.json().to_string()));
    if let Some(seconds) = refusal.retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

/// What `/version` says.
pub(super) fn version() -> serde_json::Value {
    json!({
        "major": "1", "minor": "33", "gitVersion": "v1.33.0", "gitCommit": "", "gitTreeState": "clean",
        "buildDate": "2025-04-23T00:00:00Z", "goVersion": "go1.24.2", "compiler": "gc", "platform": "linux/amd64",
    })
}
