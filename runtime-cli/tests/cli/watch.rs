//! `secret`, `schedule`, `daemon`, and who is told of a run.

use std::{
    io::Write,
    os::unix::fs::PermissionsExt,
    process::{Output, Stdio},
};

use runtimes::core::serde_json::{Value, json};
use rustix::process::Signal;

use crate::{
    fixture::{Done, Folder},
    receiver::{Answer, Receiver},
};

/// Runs the command with this on its stdin.
fn piped(folder: &Folder, args: &str, input: &str) -> Done {
    let mut command = folder.command(args.split_whitespace());
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // A command that refuses its arguments does not read.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output: Output = child.wait_with_output().unwrap();
    Done::of(output)
}

#[test]
fn secrets_are_kept_listed_read_and_forgotten() {
    let folder = Folder::with("token", "from-file\n");
    piped(&folder, "secret set API_TOKEN", "s3cret\n").ok().says(&["API_TOKEN is kept"]);
    let mut set = folder.command(["secret", "set", "B", "--from-env", "B_VALUE"]);
    Done::of(set.env("B_VALUE", "from-env").output().unwrap()).ok();
    folder.run("secret set C --from-file token").ok().says(&["warning: ", "can be read by others"]);
    folder.run("secret set db --key password --from-file token").ok();
    assert_eq!(folder.run("secret list").ok().stdout, "API_TOKEN\nB\nC\n");
    assert_eq!(folder.run("secret list db").ok().stdout, "password\n");
    assert_eq!(folder.run("secret list -o json").ok().json(), json!(["API_TOKEN", "B", "C"]));
    folder.run("secret list --project other").ok().says(&["no secrets"]);

    let code = "def f(context):\n    return [len(context.get_secret(k) or '') for k in ('API_TOKEN', 'B', 'C', 'D')]\n";
    folder.write("f.py", code);
    for kind in ["local", "handler"] {
        let done = folder.run(&format!("run f.py --handler f --kind {kind} --returns n -o json"));
        assert_eq!(done.ok().json()["status"]["results"]["n"], json!([6, 8, 9, 0]), "{kind}");
    }
    let done = folder.run("run f.py --handler f --returns n --secrets kubernetes=B -o json");
    assert_eq!(done.ok().json()["status"]["results"]["n"], json!([0, 8, 0, 0]));

    folder.run("secret delete B").ok().says(&["B is forgotten"]);
    folder.run("secret delete B").code(2).says(&["there is no secret \"B\"", "help: ", "secret list"]);
    assert_eq!(folder.run("secret list").ok().stdout, "API_TOKEN\nC\n");
}

#[test]
fn values_are_not_taken_from_the_command_line() {
    let folder = Folder::with("f.sh", "true\n");
    for args in [
        "secret set TOKEN s3cret",
        "secret set TOKEN=s3cret",
        "run f.sh --secrets inline=TOKEN:s3cret",
        "run f.sh --secrets s3cret",
        "run f.sh --notify slack=https://hooks.example/s3cret",
        "run f.sh --notify webhook=https://me:s3cret@example",
    ] {
        let done = piped(&folder, args, "");
        done.code(2).says(&["error: ", "help: "]);
        assert!(!format!("{done:?}").contains("s3cret"), "{args}: {done:#?}");
    }
    piped(&folder, "secret set TOKEN", "").code(2).says(&["there is no value on stdin", "help: "]);
    folder.run("secret set mlrun.x --from-file f.sh").code(2).says(&["mlrun.", "help: "]);
    folder
        .run("secret set TOKEN --from-env NO_SUCH_VARIABLE")
        .code(2)
        .says(&["--from-env", "NO_SUCH_VARIABLE"]);
    folder.run("secret set a/b --from-file f.sh").code(2).says(&["no name", "help: "]);
    assert!(!folder.path(".runtimes").exists());
}

#[test]
fn files_that_others_can_read_are_refused() {
    let folder = Folder::with("f.sh", "true\n");
    piped(&folder, "secret set TOKEN", "s3cret").ok();
    let file = folder.path(".runtimes/secrets/mlrun-project-secrets-default/TOKEN");
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
    folder.run("run f.sh").code(2).says(&["TOKEN can be read by others", "help: chmod 600 "]);
    assert!(folder.runs().is_empty());
}

#[test]
fn whoever_is_to_be_told_is_told() {
    let folder = Folder::with("f.py", "def f(context):\n    context.log_result('accuracy', 0.8)\n");
    // The first answer is a failure: what is left is sent after the run.
    let mut receiver = Receiver::start(&[Answer::Status(503), Answer::Status(200)]);
    let mut command = folder.command(["run", "f.py", "--handler", "f", "--notify-severity", "warning"]);
    command.args(["--notify-if", "accuracy < 0.9", "--notify-message", "too low", "--notify", "console"]);
    command.args(["--notify", &format!("webhook={}", receiver.url)]);
    let done = Done::of(command.output().unwrap());
    done.ok().says(&["[warning] too low (default/f-f ", " completed): accuracy=0.8"]);
    receiver.wait();
    let received = receiver.wait();
    assert_eq!(
        (&received.body["severity"], &received.body["state"]),
        (&json!("warning"), &json!("completed"))
    );
    let run = folder.run("get f-f -o json").ok().json();
    let told = |name: &str| run["status"]["notifications"][name]["status"].clone();
    assert_eq!((told("console"), told("webhook")), (json!("sent"), json!("sent")), "{run}");
    let shown = folder.run("get f-f").ok().stdout.clone();
    assert!(shown.contains("NOTIFICATION") && shown.contains("webhook"), "{shown}");
    // Where it does not hold, nobody is told.
    let url = format!("run f.py --handler f --notify-if accuracy>0.9 --notify webhook={}", receiver.url);
    folder.run(&url).ok();
    assert!(receiver.others().is_empty());
}

#[test]
fn a_channel_by_the_name_of_its_secret() {
    let folder = Folder::with("f.sh", "exit 3\n");
    let mut receiver = Receiver::start(&[Answer::Status(200)]);
    piped(&folder, "secret set SLACK", &format!("{}/services/s3cret", receiver.url)).ok();
    let done = folder.run("run f.sh --notify slack=secret:SLACK --notify-when error");
    done.code(3);
    let received = receiver.wait();
    assert_eq!(received.path, "/services/s3cret");
    assert!(received.body["text"].as_str().unwrap().contains("failed"), "{}", received.body);
    assert!(!format!("{done:?}").contains("s3cret") && !folder.runs()[0].to_string().contains("s3cret"));
}

#[test]
fn bad_input_is_refused_before_anything_is_started() {
    let folder = Folder::with("f.sh", "touch started\n");
    for (args, parts) in [
        (vec!["--schedule", "61 * * * *"], ["61", "help: "]),
        (vec!["--schedule", "* * *"], ["3 fields", "help: five fields"]),
        (vec!["--schedule", "@hourly", "--time-zone", "Mars/Base"], ["Mars/Base", "help: "]),
        (vec!["--schedule", "@hourly", "--concurrency", "maybe"], ["maybe", "allow"]),
        (vec!["--notify", "mail=me"], ["\"mail\" is unknown", "help: "]),
        (vec!["--notify", "webhook"], ["where does the webhook", "help: write webhook=URL"]),
        (vec!["--notify", "console", "--notify-if", "accuracy >"], ["condition", "help: "]),
        (vec!["--notify", "slack=secret:NONE"], ["no secret \"NONE\"", "help: runtimes secret set NONE"]),
        (vec!["--secrets", "env=NO_SUCH_VARIABLE"], ["NO_SUCH_VARIABLE", "help: "]),
        (vec!["--secrets", "vault=x"], ["\"vault\"", "help: env, file or kubernetes"]),
        (vec!["--secrets", "kubernetes=NONE"], ["no secret \"NONE\"", "help: "]),
    ] {
        let line = ["run", "f.sh"].into_iter().chain(args.iter().copied());
        let done = Done::of(folder.command(line).output().unwrap());
        done.code(2).says(&["error: "]).says(&parts);
        assert_eq!(done.stdout, "", "{args:?}");
    }
    assert!(folder.runs().is_empty() && !folder.path("started").exists());
    folder.run("schedule list").ok().says(&["no schedules"]);
}

#[test]
fn whoever_cannot_be_told_is_named() {
    let folder = Folder::with("f.sh", "true\n");
    let mut receiver = Receiver::start(&[Answer::Status(404)]);
    let done = folder.run(&format!("run f.sh --notify webhook={}/s3cret", receiver.url));
    done.ok().says(&["warning: the notification webhook was not sent: 127.0.0.1 answered 404"]);
    receiver.wait();
    assert!(!done.stderr.contains("s3cret"), "{done:#?}");
    // Nobody is there at all: it is tried again, also when the command is gone.
    let nobody = Receiver::nobody();
    let done = folder.run(&format!("run f.sh --notify webhook={nobody}/"));
    done.ok().says(&["was not sent: 127.0.0.1 cannot be reached", "it is tried again"]);
    assert_eq!(folder.runs().len(), 2);
}

fn schedules(folder: &Folder) -> Vec<Value> {
    folder.run("schedule list -o json").ok().json().as_array().unwrap().clone()
}

#[test]
fn schedules_are_made_listed_changed_and_forgotten() {
    let folder = Folder::with("f.sh", "echo hi\n");
    let line = [
        "run",
        "f.sh",
        "--schedule",
        "30 2 * * MON-FRI",
        "--time-zone",
        "Europe/Berlin",
        "--name",
        "nightly",
    ];
    let done = Done::of(folder.command(line).output().unwrap());
    assert_eq!(done.ok().stdout, "default/nightly\n");
    done.says(&["next at ", "02:30 CE", "runtimes daemon"]);
    assert!(folder.runs().is_empty());
    let list = folder.run("schedule list").ok().stdout.clone();
    for part in ["default/nightly", "30 2 * * MON-FRI", "02:30", "forbid"] {
        assert!(list.contains(part), "{list}");
    }
    folder.run("schedule suspend nightly").ok().says(&["suspended", "runtimes schedule resume nightly"]);
    assert_eq!(schedules(&folder)[0]["suspended"], true);
    assert!(folder.run("schedule list").stdout.contains("suspended"));
    folder.run("schedule resume default/nightly").ok().says(&["next at "]);

    let uid = folder.run("schedule trigger nightly").ok().stdout.trim().to_owned();
    assert_eq!(folder.run(&format!("logs -f {uid}")).ok().stdout, "hi\n");
    assert_eq!(folder.runs()[0]["metadata"]["labels"]["mlrun/schedule-name"], "nightly");

    folder.run("schedule delete nightly").ok().says(&["forgotten"]);
    assert!(schedules(&folder).is_empty());
    folder.run("schedule trigger nightly").code(2).says(&["no schedule \"nightly\"", "help: "]);
}

#[test]
fn the_daemon_ends_when_it_is_told_to() {
    for signal in [Signal::TERM, Signal::INT] {
        let folder = Folder::with("f.sh", "echo hi\n");
        folder.run("run f.sh --schedule @hourly").ok();
        let mut daemon = folder.start("daemon");
        let line = daemon.line();
        assert!(line.contains("serving ") && line.ends_with("schedules: 1"), "{line}");
        daemon.signal(signal);
        let done = daemon.end();
        done.ok();
        assert!(done.stdout.contains("ending"), "{done:#?}");
        assert_eq!(done.stderr, "");
    }
}

/// Lets the next time of a schedule be a moment ago.
pub(crate) fn make_due(folder: &Folder, name: &str) {
    use runtimes::core::{Store, jiff::Timestamp, store::Document};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = runtimes::store::SqliteStore::open(folder.path(".runtimes/runtimes.db")).await.unwrap();
        let document = store.get_document("schedule", "default", name).await.unwrap().unwrap();
        let (mut body, due) = (document.body.clone(), Timestamp::now());
        body["next"] = json!(due);
        store.put_document(&Document { due: Some(due), body, ..document }).await.unwrap();
        store.close().await.unwrap();
    });
}

#[test]
fn several_daemons_fire_each_time_once_and_what_they_started_goes_on() {
    let folder = Folder::with("f.sh", "echo begin\ncat go\necho end\n");
    let go = folder.fifo("go");
    folder.run("run f.sh --schedule @yearly --schedule-name often").ok();
    let mut daemons: Vec<_> = (0..3).map(|_| folder.start("daemon")).collect();
    for daemon in &mut daemons {
        daemon.line();
    }
    make_due(&folder, "often");
    // The program waits for this end of the FIFO: it was started.
    let go = std::fs::File::options().write(true).open(go).unwrap();
    let mut told = 0;
    for daemon in daemons {
        daemon.signal(Signal::TERM);
        told += daemon.end().ok().stdout.matches("often: started").count();
    }
    assert!(told <= 1, "{told}");
    let runs = folder.runs();
    assert_eq!(runs.len(), 1, "{runs:?}");
    let uid = runs[0]["metadata"]["uid"].as_str().unwrap();
    // Whoever looks next follows it.
    let logs = folder.start(&format!("logs -f {uid}"));
    drop(go);
    assert_eq!(logs.end().ok().stdout, "begin\nend\n");
    assert_eq!(folder.run(&format!("get {uid} -o json")).ok().json()["status"]["state"], "completed");
}
