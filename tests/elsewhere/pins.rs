//! `runtimes.lock`: what was pulled stays what it was.

use runtimes::{
    ErrorKind, Request,
    hub::{HubSource, Push},
};

use crate::{
    hub::{square, team},
    scene::quiet,
};

#[tokio::test(flavor = "multi_thread")]
async fn what_was_pulled_stays_what_it_was() {
    let scene = team().await;
    let hub = scene.hub();
    let push =
        |comment: &str| hub.push(&square(comment), &scene.path("."), "team", &Push::default()).unwrap();
    push("one");
    let reference = "hub://team/square-it";
    let pulled = hub.pull(reference, false, &quiet).await.unwrap();
    assert_eq!((pulled.pin.version.as_str(), pulled.pin.tag.as_str()), ("1.0.0", "latest"));
    push("two");
    // A run gets what was pulled; another address gets what there is.
    let text = |imported: runtimes::hub::Imported| imported.function.code().unwrap().unwrap().text;
    assert!(text(hub.import(reference, &quiet).await.unwrap()).contains("# one"));
    assert!(text(hub.import("hub://square-it", &quiet).await.unwrap()).contains("# two"));
    let error = hub.pull(reference, false, &quiet).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    let said = error.to_string();
    for part in ["is not what was pulled", "version 1.0.0", "version 1.0.1", "pull --update"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    hub.pull(reference, true, &quiet).await.unwrap();
    assert!(text(hub.import(reference, &quiet).await.unwrap()).contains("# two"));
    // Also where the hub is gone.
    std::fs::rename(scene.path("team"), scene.path("elsewhere")).unwrap();
    assert!(text(hub.import(reference, &quiet).await.unwrap()).contains("# two"));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_the_lock_alone_gets_the_same_or_an_error() {
    let scene = team().await;
    let hub = scene.hub();
    let push = |comment: &str, force| {
        let push = Push { version: "1.0.0".to_owned(), force, ..Push::default() };
        hub.push(&square(comment), &scene.path("."), "team", &push).unwrap()
    };
    push("one", false);
    hub.pull("hub://square-it", false, &quiet).await.unwrap();
    // As on another machine: the lock came with the project, the home did not.
    std::fs::remove_dir_all(scene.path("home/hub")).unwrap();
    assert!(hub.import("hub://square-it", &quiet).await.is_ok());
    push("two", true);
    let error = hub.import("hub://square-it", &quiet).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_in_a_repository_is_pinned_to_its_commit() {
    let scene = team().await;
    scene.write("repo/f/helper.py", "N = 1\n");
    scene.write(
        "repo/f/function.yaml",
        "kind: local\nmetadata: {name: f}\nspec: {command: main.py, default_handler: n}\n",
    );
    scene.write("repo/f/main.py", "import helper\n\ndef n(context):\n    return helper.N\n");
    let first = scene.commit("repo");
    let reference = format!("git+file://{}#main:f", scene.path("repo").display());
    let hub = scene.hub();
    assert_eq!(hub.pull(&reference, false, &quiet).await.unwrap().pin.commit, first);
    scene.write("repo/f/helper.py", "N = 2\n");
    scene.commit("repo");
    let error = hub.pull(&reference, false, &quiet).await.unwrap_err().to_string();
    assert!(error.contains(&first[..12]), "{error}");
    let orchestrator = scene.open().await;
    for (update, n) in [(false, 1), (true, 2)] {
        if update {
            hub.pull(&reference, true, &quiet).await.unwrap();
        }
        let imported = hub.import(&reference, &quiet).await.unwrap();
        let mut request = Request::new(imported.function).returns("n");
        request.base_dir = imported.base_dir.unwrap();
        let run = orchestrator.run(request).await.unwrap();
        assert_eq!(run.status.results.get("n"), Some(&n.into()), "{run:#?}");
    }
    orchestrator.close().await.unwrap();
    // A repository is a hub, too.
    let source = HubSource::new("git", format!("git+file://{}", scene.path("repo").display()));
    let listing = scene.hub().add_source(source, false, &quiet).await.unwrap();
    assert_eq!(listing.items[0].name, "f");
}
