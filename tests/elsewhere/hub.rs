//! Hubs: what they have, and how functions get in and out.

use std::{fs, path::PathBuf, sync::atomic::Ordering};

use runtimes::{
    ErrorKind, Function, Request, RunState,
    core::{serde_json, yaml},
    hub::{HubSource, Push, Reference},
};

use crate::scene::{Scene, Server, quiet};

/// A function of this code.
pub(crate) fn square(comment: &str) -> Function {
    Function::new("local", "square-it")
        .with_code(&format!("def square(context, n: int = 2):\n    return n * n  # {comment}\n"))
}

/// A scene with an empty hub `team`.
pub(crate) async fn team() -> Scene {
    let scene = Scene::new();
    fs::create_dir(scene.path("team")).unwrap();
    let source = HubSource::new("team", scene.path("team").display().to_string());
    scene.hub().add_source(source, true, &quiet).await.unwrap();
    scene.hub().remove_source("default").unwrap();
    scene
}

fn shared() -> Option<PathBuf> {
    let folder = std::env::var_os("RUNTIMES_SHARED")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared"), PathBuf::from);
    Some(folder.join("hub")).filter(|folder| folder.is_dir())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_function_of_the_shared_hub_imports_and_can_be_called() {
    let Some(folder) = shared() else {
        println!("skipped: there is no ../shared/hub (set RUNTIMES_SHARED)");
        return;
    };
    let scene = team().await;
    scene
        .hub()
        .add_source(HubSource::new("shared", folder.display().to_string()), false, &quiet)
        .await
        .unwrap();
    let hub = scene.hub();
    let listing = hub.list(Some("shared"), &quiet).await.unwrap();
    assert!(listing.notes.is_empty(), "{:?}", listing.notes);
    assert_eq!(listing.items.len(), fs::read_dir(&folder).unwrap().count());
    let orchestrator = scene.open().await;
    let mut called = 0;
    for item in &listing.items {
        let reference = format!("hub://shared/{}", item.name);
        let imported = hub.import(&reference, &quiet).await.unwrap();
        let function = imported.function;
        assert_eq!((&function.metadata.name, &function.kind), (&item.name, &item.kind));
        let file = folder.join(item.name.replace('-', "_")).join("function.yaml");
        let there = Function::from_file(&file).unwrap();
        assert_eq!(function, there, "{reference}");
        assert!(function.code().unwrap().is_some(), "{reference}");
        // What needs no package runs here as it is: its stand-in for code is reached.
        if function.kind == "job"
            && function.spec.build.requirements.is_empty()
            && !function.spec.default_handler.is_empty()
        {
            let run =
                orchestrator.run(Request::new(Function { kind: "local".into(), ..function })).await.unwrap();
            assert_eq!(run.state(), RunState::Error);
            let error = run.status.error.unwrap();
            assert!(error.contains("NotImplementedError: stand-in"), "{reference}: {error}");
            called += 1;
        }
    }
    assert!(called >= 5, "{called}");
    orchestrator.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn push_makes_versions_and_moves_tags() {
    let scene = team().await;
    let (hub, base) = (scene.hub(), scene.path("."));
    let push = |function: &Function, version: &str, tags: &[&str], force: bool| {
        let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
        hub.push(function, &base, "team", &Push { version: version.to_owned(), tags, force })
    };
    // What a first push may leave that was killed; and a hub has other folders, too.
    fs::create_dir_all(scene.path("team/functions/master")).unwrap();
    fs::create_dir(scene.path("team/docs")).unwrap();
    let first = push(&square("one"), "", &[], false).unwrap();
    assert_eq!(
        (first.version.as_str(), &first.tags[..], first.changed),
        ("1.0.0", &["latest".to_owned()][..], true)
    );
    assert!(!push(&square("one"), "", &[], false).unwrap().changed);
    let refused = push(&square("two"), "1.0.0", &[], false).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::AlreadyExists, "{refused}");
    assert_eq!(push(&square("two"), "", &["prod"], false).unwrap().version, "1.0.1");
    let refused = push(&square("three"), "", &["prod"], false).unwrap_err();
    assert!(refused.to_string().contains("the tag prod"), "{refused}");
    assert_eq!(push(&square("three"), "2.0.0", &["prod"], true).unwrap().version, "2.0.0");
    // An older line goes on without becoming `latest`.
    assert!(push(&square("four"), "1.0.2", &[], false).unwrap().tags.is_empty());
    assert_eq!(push(&square("five"), "bad/version", &[], false).unwrap_err().location(), Some("version"));

    let item = hub.item("hub://square_it", &quiet).await.unwrap();
    let tags: Vec<_> = item.tags.iter().map(|(tag, version)| format!("{tag}={version}")).collect();
    assert_eq!(
        tags,
        ["1.0.0=1.0.0", "1.0.1=1.0.1", "1.0.2=1.0.2", "2.0.0=2.0.0", "latest=2.0.0", "prod=2.0.0"]
    );
    for (tag, comment) in
        [("1.0.0", "# one"), ("prod", "# three"), ("latest", "# three"), ("1.0.2", "# four")]
    {
        let imported = hub.import(&format!("hub://team/square-it:{tag}"), &quiet).await.unwrap();
        let code = imported.function.code().unwrap().unwrap();
        assert!(code.text.contains(comment), "{tag}: {}", code.text);
        // As others read it, by its folder.
        let folder = scene.path("team/functions/master/square_it").join(tag).join("src");
        assert_eq!(fs::read_to_string(folder.join("square-it.py")).unwrap(), code.text);
        let item: serde_json::Value =
            yaml::from_str(&fs::read_to_string(folder.join("item.yaml")).unwrap(), "").unwrap();
        assert_eq!(item["name"], "square-it");
    }
    let error = hub.import("hub://square-it:9", &quiet).await.unwrap_err().to_string();
    assert!(error.contains("1.0.0, 1.0.1"), "{error}");
    let error = hub.import("hub://squareit", &quiet).await.unwrap_err().to_string();
    assert!(error.contains("did you mean hub://square-it?"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_of_functions_is_a_hub_of_one_version_each() {
    let scene = team().await;
    let function = square("one").to_yaml().unwrap();
    scene.write("team/square_it/function.yaml", &function);
    scene.write("team/square_it/README.md", "stays");
    scene.write("team/other/function.yaml", "kind: [");
    let hub = scene.hub();
    let listing = hub.list(None, &quiet).await.unwrap();
    assert_eq!(listing.items.len(), 1);
    assert!(listing.notes[0].contains("\"other\" is left out"), "{:?}", listing.notes);
    let pushed = hub.push(&square("two"), &scene.path("."), "team", &Push::default()).unwrap();
    assert_eq!(pushed.version, "1.0.0");
    assert_eq!(fs::read_to_string(scene.path("team/square_it/README.md")).unwrap(), "stays");
    let imported = hub.import("hub://square-it:1.0.0", &quiet).await.unwrap();
    assert!(imported.function.code().unwrap().unwrap().text.contains("# two"));
    let names: Vec<_> =
        fs::read_dir(scene.path("team")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "{names:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_by_http_is_used_without_the_server() {
    let scene = team().await;
    let hub = scene.hub();
    hub.push(&square("one"), &scene.path("."), "team", &Push::default()).unwrap();
    let server = Server::start(scene.path("team"));
    scene.hub().add_source(HubSource::new("web", &server.url), true, &quiet).await.unwrap();
    let hub = scene.hub();
    let first = hub.import("hub://web/square-it", &quiet).await.unwrap();
    assert!(first.notes.is_empty(), "{:?}", first.notes);
    let sent = server.sent.load(Ordering::SeqCst);
    hub.import("hub://web/square-it", &quiet).await.unwrap();
    assert_eq!(server.sent.load(Ordering::SeqCst), sent, "what did not change is not sent again");
    let file = format!("{}/functions/master/square_it/latest/src/square-it.py", server.url);
    assert!(hub.import(&file, &quiet).await.unwrap().function.code().unwrap().is_some());
    server.leave();
    let offline = hub.import("hub://web/square-it", &quiet).await.unwrap();
    assert_eq!(offline.function, first.function);
    assert!(offline.notes.iter().any(|note| note.contains("cannot be reached")), "{:?}", offline.notes);
    let error = hub.import(&format!("{}/never-seen.yaml", server.url), &quiet).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
}

#[test]
fn addresses() {
    for (text, shown) in [
        ("hub://describe", "hub://describe"),
        ("hub://team/Some_Name:1.0", "hub://team/some-name:1.0"),
        ("https://u:p@host/f.yaml?token=x", "https://host/f.yaml?***"),
        ("git://host/o/r.git#main:a/b", "git+https://host/o/r.git#main:a/b"),
        ("git+https://TOKEN@host/o/r.git", "git+https://host/o/r.git"),
        ("git+ssh://git@host/o/r.git#v1", "ssh://git@host/o/r.git#v1"),
        ("git@host:o/r.git", "git@host:o/r.git"),
        ("db://p/f:v1", "db://p/f:v1"),
        ("f/function.yaml", "f/function.yaml"),
    ] {
        let reference = Reference::parse(text).unwrap();
        assert_eq!(reference.to_string(), shown);
        assert_eq!(Reference::is_address(text), text != "f/function.yaml");
    }
    for wrong in [
        "hub://",
        "hub://a/b/c",
        "hub://a:../x",
        "hub://a:",
        "ftp://x/y",
        "git://host",
        "git+https://-x/y.git",
        "db://",
    ] {
        assert!(Reference::parse(wrong).is_err(), "{wrong}");
    }
}

#[tokio::test]
async fn a_broken_item_says_what_is_broken() {
    let scene = team().await;
    scene.write("team/one/function.yaml", "kind: local\nmetadata: {name: one}\n");
    scene.write("team/one/item.yaml", "version: 1\nspec: [\n");
    scene.write("team/two_three/function.yaml", "kind: 3\n");
    let hub = scene.hub();
    let listing = hub.list(None, &quiet).await.unwrap();
    assert!(listing.items.is_empty());
    assert!(listing.notes[0].contains("team/one/item.yaml:2:"), "{:?}", listing.notes);
    assert!(listing.notes[1].contains("two_three/function.yaml:1:1: kind: expected"), "{:?}", listing.notes);
    // Who asks for it is not told that there is none.
    let error = hub.import("hub://two-three", &quiet).await.unwrap_err();
    assert!(error.message().contains("function.yaml:1:1: kind: expected a text"), "{error}");
    assert!(hub.import("hub://four", &quiet).await.unwrap_err().message().contains("no hub has"));

    for (file, text, part) in [
        ("runtimes.lock", &b"version: 1\n\xff"[..], "runtimes.lock: not text: byte 11 is not UTF-8"),
        ("runtimes.lock", b"versoin: 1\n", "did you mean `version`?"),
    ] {
        fs::write(scene.path(file), text).unwrap();
        let error = hub.import("hub://one", &quiet).await.unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}
