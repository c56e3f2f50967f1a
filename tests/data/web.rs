//! Web servers: without lengths, with queries, and breaking off.

use runtimes::{
    Error, ErrorKind,
    data::{Meter, Place, Storage},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinHandle,
};

/// Answers one connection after the other with these; gives back what was asked.
async fn serve(answers: Vec<&'static str>) -> (String, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let task = tokio::spawn(async move {
        let mut asked = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(stream.read_u8().await.unwrap());
            }
            asked.push(String::from_utf8(request).unwrap());
            stream.write_all(answer.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
        }
        asked
    });
    (url, task)
}

async fn read(url: &str) -> Result<String, Error> {
    let mut content = Vec::new();
    let place = Place::parse(url)?;
    Storage::new(None).read(&place, "p", &mut content, &Meter::default()).await?;
    Ok(String::from_utf8(content).unwrap())
}

#[tokio::test]
async fn an_answer_need_not_say_how_long_it_is() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let (url, server) = serve(vec![chunked]).await;
    assert_eq!(read(&format!("{url}/a/b.csv?key=1&sig=a%2Fb")).await.unwrap(), "hello");
    let asked = server.await.unwrap();
    assert!(asked[0].starts_with("GET /a/b.csv?key=1&sig=a%2Fb HTTP/1.1\r\n"), "{asked:?}");
}

#[tokio::test]
async fn a_transfer_that_breaks_goes_on_where_it_was() {
    let begin = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\nETag: \"v1\"\r\n\r\n01234";
    let rest = "HTTP/1.1 206 Partial Content\r\nContent-Length: 5\r\nETag: \"v1\"\r\n\r\n56789";
    let busy = "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n";
    let (url, server) = serve(vec![busy, begin, rest]).await;
    assert_eq!(read(&format!("{url}/x")).await.unwrap(), "0123456789");
    let last = server.await.unwrap().pop().unwrap().to_lowercase();
    assert!(last.contains("range: bytes=5-") && last.contains("if-range: \"v1\""), "{last}");
}

#[tokio::test]
async fn what_has_changed_meanwhile_is_not_mixed() {
    let begin = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\nETag: \"v1\"\r\n\r\n01234";
    let other = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\nETag: \"v2\"\r\n\r\nabcdefghij";
    let (url, _) = serve(vec![begin, other]).await;
    let error = read(&format!("{url}/x")).await.unwrap_err();
    assert!(error.message().ends_with("it changed while it was read"), "{error}");
}

#[tokio::test]
async fn refusals_are_said_at_once_and_without_the_query() {
    for (status, kind) in [
        ("404 Not Found", ErrorKind::NotFound),
        ("403 Forbidden", ErrorKind::PermissionDenied),
        ("400 Bad Request", ErrorKind::Invalid),
    ] {
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").leak();
        let (url, _) = serve(vec![answer]).await;
        let error = read(&format!("{url}/x?sig=s3cret")).await.unwrap_err();
        assert_eq!((error.kind(), error.to_string().contains("s3cret")), (kind, false), "{error}");
    }
}
