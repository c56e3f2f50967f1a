//! A web server that is told of runs: it keeps what it gets, and answers as it is told.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    time::Duration,
};

use runtimes::core::serde_json::{self, Value};
use tokio::sync::mpsc;

/// Nothing here takes so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a request gets.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Answer {
    /// An answer with this status.
    Status(u16),
    /// The end of the connection.
    Close,
    /// Nothing, as long as the server lives.
    Silence,
}

/// A request as it came.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) method: String,
    pub(crate) path: String,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Value,
}

impl Received {
    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(known, _)| known == name);
        &found.unwrap_or_else(|| panic!("no {name} in {:?}", self.headers)).1
    }
}

pub(crate) struct Receiver {
    pub(crate) url: String,
    received: mpsc::UnboundedReceiver<Received>,
}

impl Receiver {
    /// The requests get these answers, one after the other; the last one is for all that follow.
    pub(crate) fn start(answers: &[Answer]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (sender, received) = mpsc::unbounded_channel();
        let answers = answers.to_vec();
        std::thread::spawn(move || {
            let mut silent = Vec::new();
            for (n, stream) in listener.incoming().flatten().enumerate() {
                let Ok(request) = read(&stream) else { continue };
                if sender.send(request).is_err() {
                    return;
                }
                match answers[n.min(answers.len() - 1)] {
                    Answer::Status(status) => drop(answer(stream, status)),
                    Answer::Close => {}
                    Answer::Silence => silent.push(stream),
                }
            }
        });
        Self { url, received }
    }

    /// An address at which nobody listens.
    pub(crate) fn nobody() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    }

    /// The next request.
    pub(crate) async fn next(&mut self) -> Received {
        let next = tokio::time::timeout(PATIENCE, self.received.recv()).await;
        next.unwrap_or_else(|_| panic!("nobody tells it anything")).unwrap()
    }

    /// The same, outside of a runtime.
    pub(crate) fn wait(&mut self) -> Received {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(self.next())
    }

    /// The requests that came already and nobody asked for.
    pub(crate) fn others(&mut self) -> Vec<Received> {
        std::iter::from_fn(|| self.received.try_recv().ok()).collect()
    }
}

fn read(stream: &TcpStream) -> std::io::Result<Received> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split(' ').map(str::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut headers = Vec::new();
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.push((name.to_ascii_lowercase(), value.to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let mut body = vec![0; length.map_or(0, |(_, length)| length.parse().unwrap_or(0))];
    reader.read_exact(&mut body)?;
    Ok(Received { method, path, headers, body: serde_json::from_slice(&body).unwrap_or_default() })
}

fn answer(mut stream: TcpStream, status: u16) -> std::io::Result<()> {
    // The answer itself is never shown to anybody.
    let body = "the answer holds s3cret";
    let length = body.len();
    let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
    stream.write_all(head.as_bytes())
}
