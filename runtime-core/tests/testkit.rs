//! The conformance suite takes a kind that is right, and finds what is wrong with others.
#![cfg(feature = "testkit")]
#![allow(clippy::expect_used, reason = "a test that cannot go on fails")]

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use runtime_core::{
    Capability, Function, Plan, Result, Run, RunState, Runtime,
    plan::{EnvValue, HostPlan, Process, Readiness, Role, Work},
    registry::Registration,
    run::{Verdict, observe_main, parse_duration, runtime_env},
    target::{Exit, Observation, Phase},
    testkit::{Sample, kind_conformance},
};

type ChangePlan = fn(&mut HostPlan, &Run);
type ChangeVerdict = fn(&Observation, &mut Verdict);

/// A kind that is right, but for what is changed.
struct Shell {
    plan: ChangePlan,
    verdict: ChangeVerdict,
}

const RIGHT: Shell = Shell { plan: |_, _| {}, verdict: |_, _| {} };

runtime_core::inventory::submit! { Registration(|| Arc::new(RIGHT)) }

impl Runtime for Shell {
    fn kind(&self) -> &'static str {
        "shell"
    }

    fn summary(&self) -> &'static str {
        "a shell"
    }

    fn capability(&self) -> Capability {
        Capability { batch: true, abortable: true, logs: true, host: true, ..Capability::default() }
    }

    fn validate(&self, function: &Function, run: &Run) -> Result<()> {
        self.plan(function, run).map(drop)
    }

    fn plan(&self, function: &Function, run: &Run) -> Result<Plan> {
        const FIELD: &str = "executing";
        let thresholds = [&run.spec.state_thresholds, &function.spec.pod.state_thresholds];
        let threshold = thresholds.iter().find_map(|thresholds| thresholds.get(FIELD));
        let deadline = threshold.map_or(Ok(None), |text| parse_duration(text));
        let work = Work::Program { command: "sh".to_owned(), args: function.spec.args.clone(), code: None };
        let main = Process { env: runtime_env(function, run), ..Process::new("main", Role::Main, work) };
        let mut plan = HostPlan {
            processes: vec![main],
            deadline: deadline.map_err(|error| error.at("spec.state_thresholds.executing"))?,
            grace: Duration::from_secs(1),
            ..HostPlan::default()
        };
        (self.plan)(&mut plan, run);
        Ok(Plan::Host(plan))
    }

    fn observe(&self, seen: &Observation) -> Verdict {
        let mut verdict = observe_main(seen);
        (self.verdict)(seen, &mut verdict);
        verdict
    }
}

fn check(kind: &Shell) {
    let mut run = Run::default();
    run.metadata.uid = "0123456789abcdef0123456789abcdef".to_owned();
    run.metadata.project = "demo".to_owned();
    let function = Function::new("shell", "sample").with_args(["-c", "exit 0"]);
    kind_conformance(kind, &[Sample { function, run }]);
}

#[test]
fn a_kind_that_is_right_is_taken() {
    check(&RIGHT);
}

#[track_caller]
fn found(kind: Shell, words: &str) {
    let panic = catch_unwind(AssertUnwindSafe(|| check(&kind))).expect_err("the fault must be found");
    let text = panic.downcast_ref::<String>().expect("a message with what is wrong");
    assert!(text.contains(words), "found, but as something else: {text}");
}

fn beside(plan: &mut HostPlan, change: fn(&mut Process)) {
    let mut process = plan.processes[0].clone();
    (process.name, process.role) = ("worker".to_owned(), Role::Worker);
    change(&mut process);
    plan.processes.push(process);
}

#[test]
fn plans_that_are_wrong_are_found() {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    let faults: [(ChangePlan, &str); 14] = [
        (|plan, _| plan.processes[0].role = Role::Worker, "exactly one process is the run"),
        (|plan, _| beside(plan, |process| process.name = "main".to_owned()), "two processes are called"),
        (|plan, _| beside(plan, |process| process.name = "a b".to_owned()), "is no process name"),
        (|plan, _| beside(plan, |process| process.after = vec!["nobody".to_owned()]), "which is not there"),
        (|plan, _| beside(plan, |process| process.after = vec!["worker".to_owned()]), "never starts"),
        (
            |plan, _| beside(plan, |process| process.ready = Readiness::Port("web".to_owned())),
            "which is not there",
        ),
        (
            |plan, _| {
                let Work::Program { args, .. } = &mut plan.processes[0].work else { unreachable!() };
                args.push("--port=${port.web}".to_owned());
            },
            "uses the port",
        ),
        (|plan, _| plan.ports = vec!["web".to_owned(), "web".to_owned()], "two ports have one name"),
        (|plan, _| plan.deadline = None, "the deadline"),
        (|plan, run| plan.notes.push(run.state().to_string()), "what became of a run"),
        (|plan, _| plan.notes.push(CALLS.fetch_add(1, Ordering::Relaxed).to_string()), "the same input"),
        (|plan, _| plan.processes[0].env.clear(), "the environment must reach"),
        (
            |plan, _| plan.processes[0].env.retain(|env| matches!(env.value, EnvValue::Value(_))),
            "a secret goes where",
        ),
        (
            |plan, _| {
                let secret =
                    |env: &&mut runtime_core::plan::EnvVar| matches!(env.value, EnvValue::Secret { .. });
                for env in plan.processes[0].env.iter_mut().filter(secret) {
                    env.value = EnvValue::Value("s3cret".to_owned());
                }
            },
            "does not hold them",
        ),
    ];
    for (plan, words) in faults {
        found(Shell { plan, ..RIGHT }, words);
    }
}

#[test]
fn readings_that_are_wrong_are_found() {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    fn exit(seen: &Observation) -> Option<&Exit> {
        let main = seen.parts.iter().find(|part| part.role == Role::Main)?;
        if let Phase::Ended(exit) = &main.phase { Some(exit) } else { None }
    }
    let faults: [(ChangeVerdict, &str); 8] = [
        (
            |seen, verdict| {
                if exit(seen) == Some(&Exit::Code(0)) {
                    verdict.state = RunState::Completed;
                }
            },
            "the end was seen: false",
        ),
        (
            |seen, verdict| {
                if exit(seen).is_none() && seen.start_error.is_none() {
                    verdict.state = RunState::Running;
                }
            },
            "the end was seen: true",
        ),
        (|_, verdict| verdict.report = None, "must not be lost"),
        (
            |seen, verdict| {
                if seen.parts.first().is_some_and(|part| part.role == Role::Main)
                    && verdict.exit_code == Some(3)
                {
                    verdict.exit_code = None;
                }
            },
            "the order of the parts",
        ),
        (
            |_, verdict| {
                if verdict.exit_code == Some(168) {
                    verdict.exit_code = Some(40);
                }
            },
            "the exit code of",
        ),
        (
            |_, verdict| {
                if let Some(cause) = &mut verdict.cause {
                    cause.message = "it failed".to_owned();
                    cause.help = None;
                }
            },
            "must say",
        ),
        (|_, verdict| verdict.waiting = None, "what it waits for"),
        (
            |_, verdict| {
                if CALLS.fetch_add(1, Ordering::Relaxed) == 5_000 {
                    verdict.waiting = Some("nothing".to_owned());
                }
            },
            "depends on what was seen before",
        ),
    ];
    for (verdict, words) in faults {
        found(Shell { verdict, ..RIGHT }, words);
    }
}
