//! The processes of a plan for this machine: one of them is the run, each can be named, started and waited for.

use std::collections::BTreeSet;

use crate::plan::{Code, EnvValue, HostPlan, Process, Readiness, Role, Work};

/// Checks that a target can make the plan real.
pub(super) fn check(what: &str, plan: &HostPlan) {
    let mains = plan.processes.iter().filter(|process| process.role == Role::Main).count();
    assert_eq!(mains, 1, "{what}: exactly one process is the run");
    names(what, plan);
    ends(what, plan);
    ports(what, plan);
    for process in &plan.processes {
        work(what, plan, process);
    }
}

fn names(what: &str, plan: &HostPlan) {
    let mut names = BTreeSet::new();
    for Process { name, .. } in &plan.processes {
        assert!(names.insert(name), "{what}: two processes are called {name:?}");
        let right = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let plain = !name.is_empty() && name.chars().all(right) && !name.starts_with('.');
        // It is a column of the log and the name of files.
        assert!(plain, "{what}: {name:?} is no process name: letters, digits, `-`, `_` and `.`");
    }
}

/// Whoever waits, waits for something that comes: started in any order that the plan allows, all get their turn.
fn ends(what: &str, plan: &HostPlan) {
    let mut started = BTreeSet::new();
    loop {
        let ready = |process: &&Process| process.after.iter().all(|name| started.contains(name));
        let next: Vec<_> =
            plan.processes.iter().filter(ready).map(|process| &process.name).cloned().collect();
        let before = started.len();
        started.extend(next);
        if started.len() == before {
            break;
        }
    }
    for Process { name, after, .. } in &plan.processes {
        for other in after {
            let there = plan.processes.iter().any(|process| process.name == *other);
            assert!(there, "{what}: {name} waits for {other:?}, which is not there");
        }
        assert!(started.contains(name), "{what}: {name} never starts: it waits, in the end, for itself");
    }
}

fn ports(what: &str, plan: &HostPlan) {
    let ports: BTreeSet<_> = plan.ports.iter().map(String::as_str).collect();
    assert_eq!(ports.len(), plan.ports.len(), "{what}: two ports have one name");
    for process in &plan.processes {
        let mut texts: Vec<&str> = Vec::new();
        match &process.work {
            Work::Program { args, .. } | Work::Python { args, .. } => {
                texts.extend(args.iter().map(String::as_str))
            }
            Work::Call { .. } => {}
        }
        texts.extend(process.env.iter().filter_map(|variable| match &variable.value {
            EnvValue::Value(value) => Some(value.as_str()),
            EnvValue::Secret { .. } => None,
        }));
        let used = texts.iter().flat_map(|text| text.split("${port.").skip(1));
        for name in used.filter_map(|rest| rest.split('}').next()) {
            assert!(
                ports.contains(name),
                "{what}: {} uses the port {name:?}, which is not there",
                process.name
            );
        }
        if let Readiness::Port(name) = &process.ready {
            assert!(
                ports.contains(name.as_str()),
                "{what}: {} is ready by the port {name:?}, which is not there",
                process.name
            );
        }
    }
}

fn work(what: &str, plan: &HostPlan, process: &Process) {
    let name = &process.name;
    for variable in &process.env {
        assert!(!variable.name.is_empty(), "{what}: {name} has a variable without a name");
        assert!(
            !variable.name.contains(['=', '\0']),
            "{what}: {name}: no variable is called {:?}",
            variable.name
        );
    }
    match &process.work {
        Work::Program { command, .. } => assert!(!command.is_empty(), "{what}: {name} has no command"),
        Work::Python { code, handler, .. } => {
            assert!(
                plan.python.is_some(),
                "{what}: {name} is Python, and the plan has no environment for it"
            );
            assert!(
                handler.as_ref().is_none_or(|handler| !handler.is_empty()),
                "{what}: {name}: an empty handler"
            );
            match code {
                Code::File(path) => assert!(!path.as_os_str().is_empty(), "{what}: {name} has no file"),
                Code::Source { name: file, .. } => {
                    assert!(file.file_name().is_some(), "{what}: {name}: its code has no file name");
                }
                Code::Module(module) => assert!(!module.is_empty(), "{what}: {name} has no module"),
            }
        }
        Work::Call { handler } => {
            assert!(!handler.is_empty(), "{what}: {name} calls nothing");
            assert_eq!(plan.processes.len(), 1, "{what}: a call has no other processes beside it");
        }
    }
}
