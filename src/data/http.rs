//! Reading from web servers. They may not say how long their answer is, and a URL's query is part of its name: both
//! are more than an object store knows of.

use std::{sync::OnceLock, time::Duration};

use reqwest::{Client, Response, StatusCode, header};
use runtime_core::{Error, ErrorKind, Result, error::ErrorStatus};
use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::{
    Meter, Place,
    net::{AGENT, CONNECT, SILENCE, choose_crypto},
    read::{cut_short, written},
};

/// So often a transfer is begun, or gone on with.
const ATTEMPTS: u32 = 5;

/// What was read so far.
#[derive(Default)]
struct Progress {
    done: u64,
    /// What names the content: the rest is of the same as long as this is.
    validator: Option<header::HeaderValue>,
}

/// Reads a file to its end; goes on where a transfer broke, if the server can.
pub(super) async fn read(
    place: &Place,
    to: &mut (dyn AsyncWrite + Send + Unpin),
    meter: &Meter,
) -> Result<()> {
    let mut progress = Progress::default();
    for attempt in 0.. {
        let error = match once(place, to, meter, &mut progress).await {
            Ok(()) => return to.flush().await.map_err(|error| written(place, error)),
            Err(error) => error,
        };
        // What was written cannot be taken back: without a validator there is no going on.
        let may_go_on = progress.done == 0 || progress.validator.is_some();
        if error.status() == ErrorStatus::Permanent || attempt + 1 >= ATTEMPTS || !may_go_on {
            return Err(error);
        }
        tokio::time::sleep(Duration::from_millis(200) * 2u32.pow(attempt)).await;
    }
    Ok(())
}

async fn once(
    place: &Place,
    to: &mut (dyn AsyncWrite + Send + Unpin),
    meter: &Meter,
    progress: &mut Progress,
) -> Result<()> {
    let mut response = ask(place, progress).await?;
    let length = response.content_length();
    if progress.done == 0 {
        let headers = response.headers();
        let strong = |value: &&header::HeaderValue| !value.as_bytes().starts_with(b"W/");
        progress.validator =
            headers.get(header::ETAG).filter(strong).or_else(|| headers.get(header::LAST_MODIFIED)).cloned();
        meter.expect(length.unwrap_or_default());
    }
    let mut left = length;
    while let Some(chunk) = response.chunk().await.map_err(|error| broken(place, error))? {
        to.write_all(&chunk).await.map_err(|error| written(place, error))?;
        let count = chunk.len() as u64;
        progress.done += count;
        left = left.map(|left| left.saturating_sub(count));
        meter.add(count);
    }
    match left {
        Some(left) if left > 0 => Err(cut_short(place, left)),
        _ => Ok(()),
    }
}

async fn ask(place: &Place, progress: &Progress) -> Result<Response> {
    let mut request = client()?.get(place.as_str());
    if let (true, Some(validator)) = (progress.done > 0, &progress.validator) {
        request = request
            .header(header::RANGE, format!("bytes={}-", progress.done))
            .header(header::IF_RANGE, validator);
    }
    let response = request.send().await.map_err(|error| broken(place, error))?;
    let status = response.status();
    let what = |kind, text: String| Error::new(kind, format!("cannot read {place}: {text}"));
    match status {
        StatusCode::PARTIAL_CONTENT if progress.done > 0 => Ok(response),
        status if status.is_success() && progress.done == 0 => Ok(response),
        status if status.is_success() => {
            Err(what(ErrorKind::Invalid, "it changed while it was read".to_owned()))
        }
        StatusCode::NOT_FOUND | StatusCode::GONE => {
            Err(Error::not_found(format!("there is no file {place}: the server answered {status}")))
        }
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            Err(what(ErrorKind::PermissionDenied, format!("the server answered {status}"))
                .help("check the URL, and who may read it"))
        }
        status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
            Err(what(ErrorKind::Unavailable, format!("the server answered {status}")))
        }
        status => Err(what(ErrorKind::Invalid, format!("the server answered {status}"))),
    }
}

/// What went wrong on the way. The error itself would name the URL, and what is secret in it.
fn broken(place: &Place, error: reqwest::Error) -> Error {
    if error.is_builder() {
        return Error::new(ErrorKind::Invalid, format!("{place} is no URL"));
    }
    let mut last: &dyn std::error::Error = &error;
    while let Some(source) = std::error::Error::source(last) {
        last = source;
    }
    let error = Error::new(ErrorKind::Unavailable, format!("cannot read {place}: {last}"));
    error.help("check the URL and the network, then run it again")
}

fn client() -> Result<Client> {
    static CLIENT: OnceLock<Client> = OnceLock::new();
    if let Some(client) = CLIENT.get() {
        return Ok(client.clone());
    }
    choose_crypto();
    let client = Client::builder()
        .user_agent(AGENT)
        .connect_timeout(CONNECT)
        .read_timeout(SILENCE)
        .build()
        .map_err(|_| Error::new(ErrorKind::Io, "a client for web servers could not be made"))?;
    Ok(CLIENT.get_or_init(|| client).clone())
}
