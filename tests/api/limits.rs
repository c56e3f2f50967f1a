//! How much may be asked, how long it may take, and how the endpoint ends.

use std::time::Duration;

use runtimes::{api::Limits, core::serde_json::json};
use tokio::{io::AsyncWriteExt, net::TcpStream};

use crate::scene::{Scene, ask, read, request, within};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_is_refused() {
    let scene = Scene::with(Limits { body: 1000, ..Limits::default() }).await;
    let handle = scene.run(request()).await;
    let large = json!({"status.results": {"text": "x".repeat(1000)}}).to_string();
    scene.update(&handle.key(), &large).await.refused(413, "write what is large into an artifact");
    scene.update(&handle.key(), "{}").await.ok();
    scene.end(handle, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_much_is_refused_for_this_run_alone() {
    let scene = Scene::with(Limits { rate: 0.01, burst: 3.0, ..Limits::default() }).await;
    let (one, two) = (scene.run(request()).await, scene.run(request()).await);
    for _ in 0..3 {
        scene.update(&one.key(), "{}").await.ok();
    }
    let answer = scene.update(&one.key(), "{}").await;
    assert!(answer.head.contains("retry-after: "), "{answer:?}");
    answer.refused(429, "too many requests");
    scene.update(&two.key(), "{}").await.ok();
    scene.end(one, 0).await;
    scene.end(two, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_holds_it_up() {
    let limits = Limits {
        timeout: Duration::from_millis(200),
        idle: Duration::from_millis(200),
        connections: 2,
        ..Limits::default()
    };
    let scene = Scene::with(limits).await;
    let handle = scene.run(request()).await;
    let head = format!(
        "PATCH /api/v1/projects/default/runs/{} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\nContent-Length: 9\r\n",
        handle.key().uid,
        scene.token(&handle.key(), 0)
    );
    // One that never ends its head, and one that never sends its body: both have a place, there is none left.
    let mut silent = TcpStream::connect(scene.address).await.unwrap();
    silent.write_all(head.as_bytes()).await.unwrap();
    let mut slow = TcpStream::connect(scene.address).await.unwrap();
    slow.write_all(format!("{head}Connection: close\r\n\r\n{{").as_bytes()).await.unwrap();
    let third = ask(scene.address, "", "GET /healthz", "").await;
    third.ok();
    read(&mut slow).await.refused(504, "not done within 0.2 s");
    let answer = read(&mut silent).await;
    assert!(answer.status == 0 || answer.status == 408, "{answer:?}");
    scene.end(handle, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_has_begun_is_answered_at_the_end() {
    let scene = Scene::new().await;
    let handle = scene.run(request()).await;
    let (key, address) = (handle.key(), scene.address);
    let mut idle = TcpStream::connect(address).await.unwrap();
    idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    idle.readable().await.unwrap();
    let mut begun = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "PATCH /api/v1/projects/default/runs/{} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\n\
         Expect: 100-continue\r\nContent-Length: 30\r\n\r\n",
        key.uid,
        scene.token(&key, 0)
    );
    begun.write_all(head.as_bytes()).await.unwrap();
    // It asks for the body: the request has begun.
    let mut asked = [0; 25];
    within(tokio::io::AsyncReadExt::read_exact(&mut begun, &mut asked)).await.unwrap();
    assert!(asked.starts_with(b"HTTP/1.1 100"), "{}", String::from_utf8_lossy(&asked));
    scene.end.send(()).unwrap();
    read(&mut idle).await.ok();
    assert!(TcpStream::connect(address).await.is_err(), "nobody is taken any more");
    begun.write_all(br#"{"status.results": {"last": 1}}"#.get(..30).unwrap()).await.unwrap();
    let answer = read(&mut begun).await;
    assert_eq!(answer.status, 400, "30 bytes of 31 are no JSON: {answer:?}");
    within(scene.ended).await.unwrap();
    scene
        .target
        .see(&key, 0, runtimes::core::target::Phase::Ended(runtimes::core::target::Exit::Code(0)))
        .await;
    within(handle.wait()).await.unwrap();
}
