//! Inputs and artifacts that lie elsewhere than in files: with a real server that speaks S3.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use runtimes::core::serde_json::{Value, json};
use rustix::process::{Pid, Signal};

use crate::{
    fixture::{Done, Folder, exists},
    s3::{Gate, Server, Way, server},
};

/// A handler that reads its inputs, and writes artifacts of each kind.
const COPY: &str = r#"
import os

def copy(context, table, folder: str):
    context.log_result("url", table.url)
    context.log_result("text", table.get(encoding="utf-8"))
    found = [os.path.relpath(os.path.join(top, n), folder) for top, _, names in os.walk(folder) for n in names]
    context.log_result("files", sorted(found))
    context.log_artifact("notes", body="all well", format="txt", tag="v1")
    context.log_model("forest", body={"trees": 3}, framework="none")
    context.log_artifact("apart", body="x", format="txt", artifact_path="s3://data/apart/{{run.uid}}")
    with open(context.artifact_subpath("loose.txt"), "w") as file:
        file.write("not logged")
"#;

fn command(folder: &Folder, server: &Server, args: &str) -> Command {
    let mut command = folder.command(args.split_whitespace());
    command.envs(server.env(&server.url)).env("HOME", folder.path("nobody"));
    command
}

fn run(folder: &Folder, server: &Server, args: &str) -> Done {
    Done::of(command(folder, server, args).output().unwrap())
}

/// The newest run of this name.
fn get(folder: &Folder, server: &Server, name: &str) -> Value {
    run(folder, server, &format!("get {name} -o json")).ok().json()
}

/// Nothing is left of staging and sending. Who follows the run in the background says that it has ended, then tidies up.
fn nothing_staged(folder: &Folder) {
    let left = || std::fs::read_dir(folder.path(".runtimes/staged")).map_or(0, Iterator::count);
    let begin = std::time::Instant::now();
    while left() > 0 && begin.elapsed().as_secs() < 60 {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert_eq!(left(), 0);
}

#[test]
fn inputs_come_from_a_bucket_and_artifacts_go_to_one() {
    let Some(server) = server() else { return };
    server.put("in/a b%20.csv", "a,b\n");
    for (key, text) in [("tree/x.txt", "x"), ("tree/sub/", ""), ("tree/sub/y.txt", "y")] {
        server.put(key, text);
    }
    let folder = Folder::with("copy.py", COPY);
    let mut first =
        command(&folder, server, "run copy.py --handler copy --name copy --input folder=s3://data/tree/");
    first.args(["--input", "table=s3://data/in/a b%20.csv", "--artifact-path", "s3://data/out/{{run.uid}}"]);
    Done::of(first.output().unwrap()).ok();
    let copy = get(&folder, server, "copy");
    let results = &copy["status"]["results"];
    assert_eq!(results["url"], "s3://data/in/a b%20.csv");
    assert_eq!((&results["text"], &results["files"]), (&json!("a,b\n"), &json!(["sub/y.txt", "x.txt"])));

    let uid = copy["metadata"]["uid"].as_str().unwrap();
    let out = format!("out/{uid}");
    let keys = ["forest/forest.pkl", "forest/model_spec.yaml", "loose.txt", "notes.txt"];
    assert_eq!(server.keys(&out), keys.map(|key| format!("{out}/{key}")));
    assert_eq!(server.body(&format!("apart/{uid}/apart.txt")).as_deref(), Some("x"));
    assert_eq!(
        server.ask("head_object", json!({"Key": format!("{out}/notes.txt")}))["ContentType"],
        "text/plain"
    );
    let artifact = |key: &str| {
        let artifacts = copy["status"]["artifacts"].as_array().unwrap();
        artifacts.iter().find(|artifact| artifact["metadata"]["key"] == key).unwrap().clone()
    };
    let (notes, forest) = (artifact("notes"), artifact("forest"));
    assert_eq!(notes["spec"]["target_path"], format!("s3://data/{out}/notes.txt"));
    assert_eq!((&notes["spec"]["size"], &notes["spec"]["content_type"]), (&json!(8), &json!("text/plain")));
    assert_eq!(notes["spec"]["hash"], "e586bf52d96e82074bbbd78d52ac8b7a75b33694");
    assert_eq!(forest["spec"]["target_path"], format!("s3://data/{out}/forest/"));
    nothing_staged(&folder);
    assert!(!exists(&folder, &format!(".runtimes/artifacts/default/{uid}")));
}

#[test]
fn artifacts_are_found_again_and_fetched() {
    let Some(server) = server() else { return };
    server.put("again/t.csv", "1");
    let folder = Folder::with("copy.py", COPY);
    let line = "run copy.py --handler copy --name copy --input table=s3://data/again/t.csv --input folder=s3://data/again/";
    run(&folder, server, &format!("{line} --artifact-path s3://data/again-out/{{{{run.uid}}}}")).ok();
    // The same again, with artifacts in files.
    run(&folder, server, line).ok();

    let list = |args: &str| run(&folder, server, &format!("artifacts list {args} -o json")).ok().json();
    assert_eq!(list("").as_array().unwrap().len(), 6);
    assert_eq!(list("--kind model --tag latest").as_array().unwrap().len(), 1);
    assert_eq!(list("--key notes --tag v1").as_array().unwrap().len(), 2);
    assert_eq!(list("--project other"), json!([]));
    let old = list("--key forest")[1].clone();
    assert!(old["spec"]["target_path"].as_str().unwrap().starts_with("s3://data/again-out/"), "{old}");
    let table = run(&folder, server, "artifacts").ok().stdout.clone();
    assert!(table.starts_with("KEY") && table.lines().count() == 7, "{table}");

    let uri = old["uri"].as_str().unwrap();
    assert_eq!(run(&folder, server, "artifacts get notes -o -").ok().stdout, "all well");
    run(&folder, server, &format!("artifacts get {uri} -o old")).ok();
    assert!(exists(&folder, "old/forest.pkl") && exists(&folder, "old/model_spec.yaml"));
    run(&folder, server, "artifacts get forest").ok();
    assert!(exists(&folder, "forest/forest.pkl"));
    run(&folder, server, "artifacts get forest").code(2).says(&["forest is there already", "--force"]);
    run(&folder, server, "artifacts get forest --force").ok();
    run(&folder, server, "artifacts get forest -o -").code(2).says(&["is a folder"]);
    run(&folder, server, "artifacts get nothing").code(2).says(&["no artifact store://default/nothing"]);

    // As an input of another run: the newest now is the one that is recorded.
    folder.write("use.py", "import os\ndef use(model: str, notes: str):\n    return sorted(os.listdir(model)), open(notes).read()\n");
    let inputs = format!("--input model={uri} --input notes=store://default/copy_notes:v1");
    run(
        &folder,
        server,
        &format!("run use.py --handler use --name use {inputs} --returns files --returns notes"),
    )
    .ok();
    let used = get(&folder, server, "use");
    assert_eq!(
        used["status"]["results"],
        json!({"files": ["forest.pkl", "model_spec.yaml"], "notes": "all well"})
    );
    assert_eq!(used["spec"]["inputs"]["notes"], list("--key notes")[0]["uri"]);

    let uid = old["run"].as_str().unwrap();
    run(&folder, server, &format!("delete {uid} --artifacts")).ok();
    assert_eq!((server.keys("again-out/"), list("").as_array().unwrap().len()), (Vec::new(), 3));
}

#[test]
fn what_goes_wrong_is_said_without_secrets() {
    let Some(server) = server() else { return };
    server.put("wrong/t.csv", "1");
    let folder = Folder::with("copy.py", COPY);
    folder.write("late.py", "def late(context):\n    context.log_artifact('a', body='a', artifact_path='s3://nowhere/x')\n    context.log_artifact('b', body='b')\n");
    let line = "run copy.py --handler copy --input folder=s3://data/wrong/ --input";
    for (input, says) in [
        ("table=s3://data/none.csv", "inputs.table: there is no object s3://data/none.csv"),
        ("table=s3://data/none/", "inputs.table: there is nothing below s3://data/none/"),
        ("table=s3://none/t.csv", "there is no bucket \"none\""),
        (
            "table=s3://data/wrong/t.csv --artifact-path s3://none/x",
            "spec.output_path: cannot write s3://none/x: there is no bucket",
        ),
    ] {
        let done = run(&folder, server, &format!("{line} {input}"));
        done.code(1).says(&[says, "help: "]);
        assert!(
            run(&folder, server, "logs copy-copy --stream system").ok().stdout.contains(says),
            "{done:#?}"
        );
    }
    for (input, says) in [
        ("table=s5://data/none.csv", "inputs.table: there is no storage `s5://`"),
        ("table=s3:///none.csv", "names no bucket or container"),
        ("table=nowhere.csv", "there is no file"),
        ("table=x --artifact-path http://h/x", "nothing can be written to http://h/x"),
    ] {
        folder.write("x", "");
        run(&folder, server, &format!("{line} {input}")).code(2).says(&[says]);
    }

    let mut wrong = command(&folder, server, &format!("{line} table=s3://data/wrong/t.csv"));
    wrong.envs([("AWS_ACCESS_KEY_ID", "AKIAWRONG"), ("AWS_SECRET_ACCESS_KEY", "wr0ng")]);
    let done = Done::of(wrong.output().unwrap());
    done.code(1).says(&[
        "access denied (InvalidAccessKeyId",
        "AWS_ACCESS_KEY_ID",
        "mlrun-project-secrets-default",
    ]);
    let mut wrong = command(&folder, server, &format!("{line} table=s3://data/wrong/t.csv"));
    let signed = Done::of(wrong.env("AWS_SECRET_ACCESS_KEY", "wr0ng").output().unwrap());
    signed.code(1).says(&["access denied (SignatureDoesNotMatch"]);
    let logs = run(&folder, server, "logs copy-copy").ok().stdout.clone();
    let record = run(&folder, server, "get copy-copy -o json").ok().stdout.clone();
    for secret in ["AKIAWRONG", "wr0ng", server.secret.as_str(), server.key.as_str()] {
        for said in [&done.stderr, &signed.stderr, &logs, &record] {
            assert!(!said.contains(secret), "{said}");
        }
    }

    // What the code wrote is not lost where it cannot be sent.
    run(&folder, server, "run late.py --handler late")
        .code(1)
        .says(&["there is no bucket \"nowhere\"", "kept in"]);
    let late = get(&folder, server, "late-late");
    assert_eq!(late["status"]["cause"]["reason"], "ArtifactFailed");
    for artifact in late["status"]["artifacts"].as_array().unwrap() {
        assert!(
            std::path::Path::new(artifact["spec"]["target_path"].as_str().unwrap()).is_file(),
            "{artifact}"
        );
    }
}

#[test]
fn secrets_of_the_project_go_over_the_environment() {
    use std::os::unix::fs::PermissionsExt;
    let Some(server) = server() else { return };
    server.put("project/t.csv", "1");
    let folder = Folder::with("copy.py", COPY);
    let secrets = folder.path(".runtimes/secrets/mlrun-project-secrets-shop");
    std::fs::create_dir_all(&secrets).unwrap();
    for (name, value) in [("AWS_ACCESS_KEY_ID", &server.key), ("AWS_SECRET_ACCESS_KEY", &server.secret)] {
        std::fs::write(secrets.join(name), value).unwrap();
        std::fs::set_permissions(secrets.join(name), std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    let line =
        "run copy.py --handler copy --input table=s3://data/project/t.csv --input folder=s3://data/project/";
    for (project, code) in [("shop", 0), ("other", 1)] {
        let mut command = command(&folder, server, &format!("{line} --project {project}"));
        command.env("AWS_ACCESS_KEY_ID", "AKIAOTHER");
        let done = Done::of(command.output().unwrap());
        done.code(code);
    }
}

/// Writes a large file without holding it.
const LARGE: &str = "
def large(context, size: int):
    block = bytes(range(256)) * 4096
    with open(context.artifact_subpath('large.bin'), 'wb') as file:
        for _ in range(size):
            file.write(block)
    context.log_artifact('large', local_path=context.artifact_subpath('large.bin'))

def read(large: str):
    import os
    return os.path.getsize(large)
";

/// Runs a command; returns it, and the most memory in MiB that it, or what it started, had.
fn measured(command: &Command) -> (Done, u64) {
    let script = "import resource, subprocess, sys; code = subprocess.call(sys.argv[1:]); \
                  print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr); sys.exit(code)";
    let mut python = Command::new("python3");
    python.args(["-c", script]).arg(command.get_program()).args(command.get_args()).stdin(Stdio::null());
    python.current_dir(command.get_current_dir().unwrap());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => python.env(name, value),
            None => python.env_remove(name),
        };
    }
    let done = Done::of(python.output().unwrap());
    let memory: u64 = done.stderr.lines().last().unwrap().parse().unwrap();
    (done, memory / 1024)
}

#[test]
fn large_files_go_in_parts_and_in_little_memory() {
    let Some(server) = server() else { return };
    let folder = Folder::with("large.py", LARGE);
    let line = "run large.py --handler large --name large -p size=192 --artifact-path s3://data/large";
    let (done, memory) = measured(&command(&folder, server, line));
    done.ok();
    let head = server.ask("head_object", json!({"Key": "large/large.bin"}));
    assert_eq!(head["ContentLength"], 192 << 20);
    assert!(head["ETag"].as_str().unwrap().contains("-24"), "in 24 parts: {head}");
    assert!(memory < 120, "{memory} MiB to write 192 MiB");
    let line = "run large.py --handler read --name read --input large=store://default/large --returns size";
    let (done, memory) = measured(&command(&folder, server, line));
    done.ok();
    assert_eq!(get(&folder, server, "read")["status"]["results"]["size"], 192 << 20);
    assert!(memory < 120, "{memory} MiB to read 192 MiB");
    server.ask("delete_object", json!({"Key": "large/large.bin"}));
}

/// The names of all files below a folder.
fn files(folder: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.file_type().unwrap().is_dir() {
            true => names.extend(files(&entry.path())),
            false => names.push(entry.file_name().into_string().unwrap()),
        }
    }
    names
}

/// Starts a run whose server is behind a gate; waits until the gate holds a transfer back.
fn held(folder: &Folder, server: &Server, gate: &Gate, line: &str) -> std::process::Child {
    let mut command = command(folder, server, line);
    command.envs(server.env(&gate.url)).stdout(Stdio::null()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    gate.wait();
    child
}

fn kill(mut child: std::process::Child, gate: &Gate) {
    rustix::process::kill_process(Pid::from_child(&child), Signal::KILL).unwrap();
    child.wait().unwrap();
    gate.open();
}

#[test]
fn killed_while_it_fetches() {
    let Some(server) = server() else { return };
    server.put("slow/a.txt", "first");
    server.put("slow/b.txt", &"b".repeat(600_000));
    let folder = Folder::with("copy.py", COPY);
    let gate = Gate::new(server, Way::Down, "/slow/b.txt", Some(300_000));
    let line = "run copy.py --handler copy --name slow --input table=s3://data/slow/a.txt --input folder=s3://data/slow/";
    let child = held(&folder, server, &gate, line);
    kill(child, &gate);
    let whole = files(&folder.path(".runtimes/staged"));
    assert!(!whole.iter().any(|name| name == "b.txt"), "a part of it is seen: {whole:?}");
    let again = Gate::new(server, Way::Down, "", None);
    let mut next = command(&folder, server, "logs -f slow");
    Done::of(next.envs(server.env(&again.url)).output().unwrap()).ok();
    let slow = get(&folder, server, "slow");
    assert_eq!(slow["status"]["state"], "completed", "{slow}");
    assert_eq!(slow["status"]["results"]["files"], json!(["a.txt", "b.txt"]));
    let fetched = |name: &str| again.requests().iter().filter(|line| line.contains(name)).count();
    // It was wanted twice, as a file and in a folder.
    let missing = 2 - whole.iter().filter(|name| *name == "a.txt").count();
    assert_eq!((fetched("/slow/a.txt"), fetched("/slow/b.txt")), (missing, 1), "{:?}", again.requests());
    nothing_staged(&folder);
}

#[test]
fn killed_while_it_sends() {
    let Some(server) = server() else { return };
    let folder = Folder::with(
        "two.py",
        "def two(context):\n    context.log_artifact('a', body='a', format='txt')\n    context.log_artifact('b', body='b' * 600_000, format='txt')\n    print('once')\n",
    );
    let gate = Gate::new(server, Way::Up, "/killed/b.txt", Some(300_000));
    let line = "run two.py --handler two --name two --artifact-path s3://data/killed";
    kill(held(&folder, server, &gate, line), &gate);
    // There are notes as soon as something was sent.
    let notes = std::fs::read_dir(folder.path(".runtimes/staged")).into_iter().flatten().flatten().next();
    let noted = notes.and_then(|notes| std::fs::read_to_string(notes.path().join("sent-0")).ok());
    let noted = noted.unwrap_or_default();
    assert!(!noted.contains("b.txt"), "{noted}");
    let again = Gate::new(server, Way::Up, "", None);
    let mut next = command(&folder, server, "logs -f two");
    let log = Done::of(next.envs(server.env(&again.url)).output().unwrap());
    assert_eq!(log.ok().stdout.matches("once").count(), 1);
    let two = get(&folder, server, "two");
    assert_eq!(two["status"]["state"], "completed", "{two}");
    let sent: Vec<_> = again.requests().into_iter().filter(|line| line.starts_with("PUT")).collect();
    assert_eq!(sent.len(), 2 - noted.lines().count(), "{sent:?} after {noted:?}");
    assert_eq!(server.body("killed/b.txt").map(|text| text.len()), Some(600_000));
    assert_eq!(two["status"]["artifacts"][1]["spec"]["target_path"], "s3://data/killed/b.txt");
    nothing_staged(&folder);
}

#[test]
fn aborted_while_it_fetches() {
    let Some(server) = server() else { return };
    server.put("abort/a.txt", &"a".repeat(600_000));
    let folder = Folder::with("copy.py", COPY);
    let gate = Gate::new(server, Way::Down, "/abort/", Some(300_000));
    let line = "run copy.py --handler copy --name abort --input table=s3://data/abort/a.txt --input folder=s3://data/abort/";
    let child = held(&folder, server, &gate, line);
    assert_eq!(get(&folder, server, "abort")["status"]["state"], "pending");
    run(&folder, server, "abort abort").ok();
    let done = Done::of(child.wait_with_output().unwrap());
    assert_ne!(done.code, Some(0), "{done:#?}");
    assert_eq!(get(&folder, server, "abort")["status"]["state"], "aborted");
    gate.open();
    nothing_staged(&folder);
}
