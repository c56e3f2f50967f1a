//! `hub`, and functions by their address.

use runtimes::core::serde_json::json;

use crate::fixture::Folder;

const SQUARE: &str = "def square(context, n: int = 2):\n    return n * n\n";

/// A folder with a hub `team`, and nothing else to ask.
fn team() -> Folder {
    let folder = Folder::with("square.py", SQUARE);
    std::fs::create_dir(folder.path("team")).unwrap();
    folder.run("hub source remove default").ok();
    let added = folder.run("hub source add team team");
    assert_eq!(added.ok().stdout, "added team: 0 functions\n");
    folder
}

#[test]
fn a_function_is_shared_pinned_and_run() {
    let folder = team();
    let pushed = folder.run("hub push square.py team");
    assert_eq!(pushed.ok().stdout, "pushed hub://team/square:1.0.0 (latest)\n");
    assert_eq!(
        folder.run("hub push square.py team").ok().stdout,
        "already there: hub://team/square:1.0.0 (latest)\n"
    );
    let list = folder.run("hub list").ok().stdout.clone();
    assert!(list.starts_with("NAME") && list.contains("square   1.0.0"), "{list}");
    assert_eq!(
        folder.run("hub list -o json").ok().json()[0]["tags"],
        json!({"1.0.0": "1.0.0", "latest": "1.0.0"})
    );
    assert_eq!(folder.run("hub list nothing-like-it -o json").ok().json(), json!([]));
    let shown = folder.run("hub show square").ok().stdout.clone();
    assert!(shown.contains("1.0.0, latest (1.0.0)") && shown.contains("square(context, n=2)"), "{shown}");
    folder.run("hub list team").ok().says(&["hub list --source team"]);

    let run = |n: u32| format!("run hub://square --handler square -p n={n} --returns y -o json");
    assert_eq!(folder.run(&run(3)).ok().json()["status"]["results"]["y"], 9);
    let pulled = folder.run("hub pull square");
    assert!(pulled.ok().stdout.contains("run it: runtimes run default/square"), "{pulled:#?}");
    assert!(
        std::fs::read_to_string(folder.path("runtimes.lock")).unwrap().contains("reference: hub://square\n")
    );
    assert_eq!(
        folder.run("run square --handler square -p n=4 --returns y -o json").ok().json()["status"]["results"]
            ["y"],
        16
    );

    folder.write("square.py", SQUARE.replace("n * n", "n * n * n"));
    folder
        .run("hub push square.py team --version 1.0.0")
        .code(2)
        .says(&["already, with other content", "--force"]);
    folder.run("hub push square.py team --tag prod").ok();
    folder.run("hub pull square").code(2).says(&[
        "is not what was pulled",
        "pinned: version 1.0.0",
        "pull --update",
    ]);
    assert_eq!(folder.run(&run(3)).ok().json()["status"]["results"]["y"], 9);
    folder.run("hub pull --all --update").ok();
    assert_eq!(folder.run(&run(3)).ok().json()["status"]["results"]["y"], 27);
}

#[test]
fn what_was_fetched_is_pruned_but_for_what_is_pinned() {
    let folder = team();
    folder.run("hub push square.py team").ok();
    folder.run("hub pull hub://team/square").ok();
    let packed = std::process::Command::new("tar")
        .args(["-cf", "code.tar", "square.py"])
        .current_dir(folder.path("."))
        .status();
    assert!(packed.unwrap().success());
    let function = "kind: local\nmetadata: {name: far}\nspec:\n  command: square.py\n  default_handler: square\n  \
                    build: {source: code.tar, load_source_on_run: true}\n";
    folder.write("far.yaml", function);
    folder.run("run far.yaml").ok();
    let prune = |args: &str| folder.run(&format!("env prune {args}")).ok().stdout.clone();
    assert_eq!(prune(""), "removed 0 environments, 0 B\n", "all was used just now");
    let removed = prune("--all");
    assert!(removed.contains("removed 1 source, "), "{removed}");
    assert_eq!(prune("--all"), "removed 0 environments, 0 B\n");
    // What is pinned needs no hub.
    std::fs::rename(folder.path("team"), folder.path("away")).unwrap();
    folder.run("run hub://team/square --handler square").ok();
    folder.run("run far.yaml").ok();
}

#[test]
fn what_is_wrong_with_an_address_is_said() {
    let folder = team();
    folder.run("hub push square.py team").ok();
    folder
        .run("run hub://sqare")
        .code(2)
        .says(&["no hub has a function \"sqare\"", "did you mean hub://square?"]);
    folder.run("run hub://square:7").code(2).says(&["has no tag \"7\"", "1.0.0, latest"]);
    folder.run("run hub://elsewhere/square").code(2).says(&["there is no hub \"elsewhere\"", "team"]);
    folder.run("run ftp://host/x").code(2).says(&["is no address of a function", "hub://"]);
    folder.run("run db://nowhere").code(2).says(&["nowhere"]);
    folder.run("hub push square.py nowhere").code(2).says(&["there is no hub \"nowhere\""]);
    folder.run("hub source add Bad_Name team").code(2).says(&["Bad_Name", "bad-name"]);
    folder.run("hub source add gone ./gone").code(2).says(&["is not there"]);
    // Credentials are nobody's business; port 1 takes no calls.
    let done = folder.run("run https://user:SECRET@127.0.0.1:1/function.yaml");
    done.code(1).says(&["https://127.0.0.1:1/function.yaml cannot be reached"]);
    assert!(!done.stderr.contains("SECRET"), "{done:#?}");
    folder.write("hub.yaml", "");
    folder.write(".runtimes/hub.yaml", "sources:\n- name: a\n  pth: x\n");
    folder.run("hub list").code(2).says(&["hub.yaml:3:"]);
}
