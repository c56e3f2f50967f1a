//! Plans of several processes: order, readiness, restarts, and whose end is the run's.

use runtime_core::{
    Target,
    plan::{EnvVar, Process, Readiness, Role, Work},
    run::Reason,
    target::{Exit, Phase},
};

use crate::harness::{Live, Machine, Outcome, shell};

const FOR_EVER: &str = "while :; do sleep 0.05; done";

fn until(path: &std::path::Path) -> String {
    format!("until [ -e '{}' ]; do sleep 0.02; done", path.display())
}

fn after(process: Process, names: &[&str]) -> Process {
    Process { after: names.iter().map(|&name| name.to_owned()).collect(), ..process }
}

fn exit_of(outcome: &Outcome, name: &str) -> Exit {
    let parts = &outcome.seen.last().unwrap().parts;
    match parts.iter().find(|part| part.name == name).map(|part| &part.phase) {
        Some(Phase::Ended(exit)) => exit.clone(),
        other => panic!("{name} must have ended: {other:?}"),
    }
}

async fn waits(live: &mut Live, name: &str) {
    live.phase(name, |phase| matches!(phase, Phase::Waiting(_))).await;
}

#[tokio::test]
async fn a_service_is_ready_when_its_port_answers() {
    let machine = Machine::new();
    let go = machine.path("go");
    let server = "import os, socket, sys\n\
        print('up', flush=True)\n\
        while not os.path.exists(sys.argv[2]): pass\n\
        server = socket.create_server(('127.0.0.1', int(sys.argv[1])))\n\
        while True:\n    peer = server.accept()[0]; peer.sendall(b'hello'); peer.close()\n";
    let args = ["-c", server, "${port.web}", go.to_str().unwrap()];
    let service = Process {
        work: Work::Program { command: "python3".into(), args: args.map(str::to_owned).into(), code: None },
        ready: Readiness::Port("web".into()),
        ..shell("server", Role::Service, "")
    };
    let client = "import os, socket\n\
        print(socket.create_connection(('127.0.0.1', int(os.environ['PORT']))).recv(9).decode())\n";
    let main = Process {
        work: Work::Program { command: "python3".into(), args: vec!["-c".into(), client.into()], code: None },
        env: vec![EnvVar::new("PORT", "${port.web}")],
        ..after(shell("main", Role::Main, ""), &["server"])
    };
    let mut live = machine.processes(vec![service, main], &["web"]).await;
    live.line("up").await;
    waits(&mut live, "main").await;
    machine.write("go", "");
    let outcome = live.end().await.completed();
    assert_eq!(outcome.printed("main"), ["hello"]);
    assert_eq!(exit_of(&outcome, "server"), Exit::Stopped, "a service ends with the run");
}

#[tokio::test]
async fn a_service_is_ready_when_it_says_so() {
    let machine = Machine::new();
    let (go, marker) = (machine.path("go"), machine.path("marker"));
    let script = format!(
        "trap 'echo bye; exit' TERM; echo up; {}; touch '{}'; echo 'now serving: all' >&2; {FOR_EVER}",
        until(&go),
        marker.display()
    );
    let service =
        Process { ready: Readiness::Log("now serving".into()), ..shell("server", Role::Service, &script) };
    let main = shell("main", Role::Main, &format!("[ -e '{}' ] && echo served", marker.display()));
    let mut live = machine.processes(vec![service, after(main, &["server"])], &[]).await;
    live.line("up").await;
    waits(&mut live, "main").await;
    machine.write("go", "");
    let outcome = live.end().await.completed();
    assert_eq!(outcome.printed("main"), ["served"]);
    assert_eq!(outcome.printed("server"), ["up", "bye"], "it is asked to stop, not killed");
}

#[tokio::test]
async fn what_prepares_is_waited_for_to_its_end() {
    let machine = Machine::new();
    let file = machine.path("data");
    let prepare =
        |script: &str| Process { ready: Readiness::Completed, ..shell("prepare", Role::Service, script) };
    let main = || after(shell("main", Role::Main, &format!("cat '{}'", file.display())), &["prepare"]);
    let script = format!("echo prepared >'{}'", file.display());
    let outcome = machine.processes(vec![prepare(&script), main()], &[]).await.end().await.completed();
    assert_eq!(outcome.printed("main"), ["prepared"]);

    let outcome = machine.processes(vec![prepare("exit 3"), main()], &[]).await.end().await;
    let cause = outcome.cause();
    assert_eq!(cause.reason, Reason::ServiceEnded);
    assert!(cause.message.contains("prepare") && cause.message.contains('3'), "{}", cause.message);
    assert_eq!(outcome.printed("main"), Vec::<String>::new(), "what waits for it never starts");
}

#[tokio::test]
async fn processes_start_in_the_order_of_what_they_wait_for() {
    let machine = Machine::new();
    let log = machine.path("order");
    let step = |name: &str, role| {
        shell(name, role, &format!("echo {name} >>'{0}'; echo ready; {FOR_EVER}", log.display()))
    };
    let ready = |process| Process { ready: Readiness::Log("ready".into()), ..process };
    let main = shell("main", Role::Main, &format!("cat '{}'", log.display()));
    let plan = vec![
        after(main, &["third"]),
        ready(after(step("third", Role::Worker), &["first", "second"])),
        ready(after(step("second", Role::Service), &["first"])),
        ready(step("first", Role::Service)),
    ];
    let outcome = machine.processes(plan, &[]).await.end().await.completed();
    assert_eq!(outcome.printed("main"), ["first", "second", "third"]);
}

#[tokio::test]
async fn a_worker_that_dies_is_started_again() {
    let machine = Machine::new();
    let starts = machine.path("starts");
    let path = starts.display();
    let worker = format!(
        "echo start >>'{path}'; [ $(wc -l <'{path}') -lt 3 ] && kill -9 $$; touch '{path}.third'; {FOR_EVER}"
    );
    let main = shell("main", Role::Main, &until(&machine.path("starts.third")));
    let plan = vec![shell("worker-0", Role::Worker, &worker), main];
    let outcome = machine.processes(plan, &[]).await.end().await.completed();
    assert_eq!(std::fs::read_to_string(&starts).unwrap().lines().count(), 3);
    let told = outcome.lines.iter().filter(|line| line.text().contains("worker-0 ended")).count();
    assert_eq!(told, 2, "each restart is told: {:?}", outcome.lines);
}

#[tokio::test]
async fn a_worker_that_always_dies_ends_the_run_with_that_cause() {
    let machine = Machine::new();
    let plan = vec![shell("worker-0", Role::Worker, "exit 6"), shell("main", Role::Main, FOR_EVER)];
    let outcome = machine.processes(plan, &[]).await.end().await;
    let cause = outcome.cause();
    assert_eq!(cause.reason, Reason::ServiceEnded);
    assert!(cause.message.contains("worker-0") && cause.message.contains('6'), "{}", cause.message);
}

#[tokio::test]
async fn the_end_of_a_service_ends_the_run() {
    for (script, words) in [("exit 2", "exit code 2"), ("kill -11 $$", "SIGSEGV"), ("exit 0", "exit code 0")]
    {
        let machine = Machine::new();
        let script = format!("{}; {script}", until(&machine.path("go")));
        let plan = vec![
            shell("scheduler", Role::Service, &script),
            after(
                shell("main", Role::Main, &format!("trap 'echo told; exit 1' TERM; echo up; {FOR_EVER}")),
                &["scheduler"],
            ),
        ];
        let mut live = machine.processes(plan, &[]).await;
        live.line("up").await;
        machine.write("go", "");
        let outcome = live.end().await;
        assert_eq!(outcome.cause().reason, Reason::ServiceEnded, "{words}: {:?}", outcome.verdict);
        let message = &outcome.cause().message;
        assert!(message.contains("scheduler") && message.contains(words), "{message}");
        assert_eq!(outcome.printed("main"), ["up", "told"], "the others are asked to stop");
    }
}

#[tokio::test]
async fn all_end_in_the_order_in_which_they_are_missed_least() {
    for aborted in [false, true] {
        let machine = Machine::new();
        let (log, ready) = (machine.path("order"), machine.path("ready"));
        let step = |name: &str, role| {
            let told = format!("sleep 0.2; echo {name} >>'{}'; exit 0", log.display());
            shell(name, role, &format!("trap '{told}' TERM; echo {name} >>'{}'; {FOR_EVER}", ready.display()))
        };
        let main = match aborted {
            true => step("main", Role::Main),
            false => shell(
                "main",
                Role::Main,
                &format!("until [ $(wc -l <'{}') -eq 2 ]; do sleep 0.02; done", ready.display()),
            ),
        };
        let plan = vec![step("service", Role::Service), step("worker", Role::Worker), main];
        let live = machine.processes(plan, &[]).await;
        if aborted {
            while std::fs::read_to_string(&ready).map_or(0, |text| text.lines().count()) < 3 {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
            machine.target.abort(&live.job.key, std::time::Duration::from_secs(30)).await.unwrap();
        }
        live.end().await;
        let order = std::fs::read_to_string(&log).unwrap();
        let wanted = if aborted { "main\nworker\nservice\n" } else { "worker\nservice\n" };
        assert_eq!(order, wanted);
    }
}
