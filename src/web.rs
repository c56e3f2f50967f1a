//! Files by https, kept for the next time and for when there is no network.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use futures_util::StreamExt;
use reqwest::{Client, Response, StatusCode, header, redirect};
use runtime_core::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;
use url::Url;

use crate::source::{Progress, Shelf, hex, key, shown};

/// How long a server may take to answer, and between two pieces of what it sends.
const CONNECT: Duration = Duration::from_secs(10);
const SILENCE: Duration = Duration::from_secs(30);

/// The pauses before a server that failed for a moment is asked again.
const AGAIN: [Duration; 2] = [Duration::from_millis(300), Duration::from_millis(1500)];

/// Fetching less than this is not worth a word.
const LARGE: u64 = 1 << 20;

/// The name of the file in its kept folder.
const BODY: &str = "body";

/// Fetches files, and keeps them below one home folder. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Web {
    shelf: Shelf,
}

/// A file that is here now.
pub(crate) struct Fetched {
    pub(crate) path: PathBuf,
    /// That it is an older one, where the server could not be reached.
    pub(crate) note: Option<String>,
}

/// What an address held when it was looked at last.
#[derive(Clone, Serialize, Deserialize)]
struct Seen {
    key: String,
    digest: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    etag: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_modified: Option<String>,
}

impl Web {
    pub(crate) fn new(home: &Path) -> Self {
        Self { shelf: Shelf::new(home.join("cache").join("web")) }
    }

    /// The file at a URL; asks the server whether the one that is kept is still right.
    ///
    /// # Errors
    /// Where it is not there, may not be read, is too large, or was never fetched and cannot be now.
    pub(crate) async fn fetch(&self, url: &Url, limit: u64, progress: Progress<'_>) -> Result<Fetched> {
        let seen = self.seen(url);
        let mut pauses = AGAIN.iter();
        loop {
            match self.ask(url, seen.as_ref(), limit, progress).await {
                Ok(fetched) => return Ok(fetched),
                Err(error) if error.kind() == ErrorKind::Unavailable => {
                    if let Some(kept) = seen.as_ref().and_then(|seen| self.kept(seen)) {
                        let note = format!("{}: what was fetched before is used", error.message());
                        return Ok(Fetched { note: Some(note), ..kept });
                    }
                    match pauses.next() {
                        Some(pause) => tokio::time::sleep(*pause).await,
                        None => return Err(error),
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Removes what was not used for this long; how many files, and bytes.
    pub(crate) fn prune(&self, older_than: Duration) -> Result<(usize, u64)> {
        self.shelf.prune(older_than, &|_| false)
    }

    /// What was fetched last, if it is still here.
    fn seen(&self, url: &Url) -> Option<Seen> {
        self.shelf.noted::<Seen>(&key(url.as_str())).filter(|seen| self.kept(seen).is_some())
    }

    fn kept(&self, seen: &Seen) -> Option<Fetched> {
        let path = self.shelf.path(&seen.key).join(BODY);
        path.is_file().then(|| {
            self.shelf.touch(&seen.key);
            Fetched { path, note: None }
        })
    }

    async fn ask(
        &self,
        url: &Url,
        seen: Option<&Seen>,
        limit: u64,
        progress: Progress<'_>,
    ) -> Result<Fetched> {
        let failed = |error: reqwest::Error| explain(url, error);
        let mut request = client()?.get(url.clone());
        if let Some(Seen { etag, last_modified, .. }) = seen {
            if let Some(etag) = etag {
                request = request.header(header::IF_NONE_MATCH, etag);
            } else if let Some(time) = last_modified {
                request = request.header(header::IF_MODIFIED_SINCE, time);
            }
        }
        let response = request.send().await.map_err(failed)?;
        if response.status() == StatusCode::NOT_MODIFIED
            && let Some(kept) = seen.and_then(|seen| self.kept(seen))
        {
            return Ok(kept);
        }
        let response = checked(url, response)?;
        if response.content_length().is_none_or(|length| length > LARGE) {
            progress(&format!("fetching {}", shown(url)));
        }
        self.keep(url, response, seen, limit).await
    }

    /// Takes the answer in, and remembers it.
    async fn keep(&self, url: &Url, response: Response, seen: Option<&Seen>, limit: u64) -> Result<Fetched> {
        let text =
            |name| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let (etag, last_modified) = (text(header::ETAG), text(header::LAST_MODIFIED));
        let too_large = || {
            Error::invalid(shown(url), format!("it has more than {limit} bytes"))
                .help("that much is not taken; is it the right address?")
        };
        if response.content_length().is_some_and(|length| length > limit) {
            return Err(too_large());
        }
        let version = etag.clone().unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
        let name = key(&format!("{url}\n{version}"));
        let place = match self.shelf.take(&name).await? {
            Ok(kept) => {
                // Another process was faster; what it kept is of the same version.
                return Ok(Fetched { path: kept.path.join(BODY), note: None });
            }
            Err(place) => place,
        };
        let folder = place.path().to_owned();
        let written = |error| Error::io("write", &folder, error);
        tokio::fs::create_dir_all(&folder).await.map_err(written)?;
        let mut file = tokio::fs::File::create(folder.join(BODY)).await.map_err(written)?;
        let (mut digest, mut size) = (Sha256::new(), 0);
        let mut body = response.bytes_stream();
        while let Some(piece) = body.next().await {
            let piece = piece.map_err(|error| explain(url, error))?;
            size += piece.len() as u64;
            if size > limit {
                return Err(too_large());
            }
            digest.update(&piece);
            file.write_all(&piece).await.map_err(written)?;
        }
        file.flush().await.map_err(written)?;
        let digest = hex(&digest.finalize());
        let same = seen.filter(|seen| seen.digest == digest);
        let (name, path) = match same.and_then(|seen| Some((seen.key.clone(), self.kept(seen)?.path))) {
            Some(same) => same,
            None => (name, place.done().await?.path.join(BODY)),
        };
        self.shelf.note(&key(url.as_str()), &Seen { key: name, digest, etag, last_modified })?;
        Ok(Fetched { path, note: None })
    }
}

fn client() -> Result<Client> {
    let no_downgrade = redirect::Policy::custom(|attempt| {
        let secure = attempt.previous().first().is_some_and(|first| first.scheme() == "https");
        match (secure, attempt.url().scheme()) {
            _ if attempt.previous().len() > 10 => attempt.error("too many redirects"),
            (true, "http") => attempt.error("it leads from https to http"),
            _ => attempt.follow(),
        }
    });
    crate::data::net::choose_crypto();
    Client::builder()
        .user_agent(concat!("runtimes/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT)
        .read_timeout(SILENCE)
        .redirect(no_downgrade)
        .build()
        .map_err(|error| Error::internal("https cannot be set up").source(error))
}

fn checked(url: &Url, response: Response) -> Result<Response> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let url = shown(url);
    Err(match status {
        StatusCode::NOT_FOUND | StatusCode::GONE => Error::not_found(format!("there is no {url}")),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Error::new(
            ErrorKind::PermissionDenied,
            format!("{url} may not be read: the server says {status}"),
        )
        .help("check the address, and the credentials that it needs"),
        _ if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
            Error::new(ErrorKind::Unavailable, format!("{url} cannot be read now: the server says {status}"))
        }
        _ => Error::new(ErrorKind::Io, format!("{url} cannot be read: the server says {status}")),
    })
}

/// What went wrong, without the URL's credentials; the innermost cause says most.
fn explain(url: &Url, error: reqwest::Error) -> Error {
    let error = error.without_url();
    let refused = error.is_redirect() || error.is_builder();
    let mut cause: &dyn std::error::Error = &error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    let why = if error.is_timeout() { "it does not answer".to_owned() } else { cause.to_string() };
    let kind = if refused { ErrorKind::Io } else { ErrorKind::Unavailable };
    Error::new(kind, format!("{} cannot be reached: {why}", shown(url)))
        .help("check the network and the address")
}
