//! What a process gets: variables, secrets, arguments, a folder, limits.

use runtime_core::{Function, Target, function::SourceCode, run::Reason, serde_json::json};
use runtime_local::local::KIND;

use crate::harness::{Machine, files_with};

fn script(text: &str) -> Function {
    Function::new(KIND, "script").embed_code("script.sh", text)
}

fn python(text: &str) -> Function {
    Function::new(KIND, "program").embed_code("program.py", text)
}

#[tokio::test]
async fn secrets_reach_the_process_and_nothing_else() {
    const VALUE: &str = "s3cret value that stands nowhere";
    let machine = Machine::new();
    machine.secret("db", "password", &format!("{VALUE}\n"));
    let kept = machine.home().join("secrets/db/password");
    // As long as the secret, so that only the secret itself is right.
    let code = format!("[ \"$PASSWORD\" = \"$(cat '{}')\" ] && echo right ${{#PASSWORD}}", kept.display());
    let in_python = format!(
        "import os; assert os.environ['PASSWORD'] == open({:?}).read().strip(); print('right', len(os.environ['PASSWORD']))",
        kept
    );
    let handled = format!("def check(context):\n    {in_python}\n");
    let functions = [
        script(&code),
        python(&in_python),
        python(&handled).with_handler("check"),
        Function::new("handler", "warm").embed_code("warm.py", &handled).with_handler("check"),
    ];
    for function in functions {
        let function = function.set_env_from_secret("PASSWORD", "db", "password");
        let outcome = machine.run(&function).await.completed();
        assert_eq!(outcome.printed("main"), [format!("right {}", VALUE.len())], "{}", function.metadata.name);
        assert_eq!(files_with(&machine.home(), VALUE), [kept.as_path()], "{}", function.metadata.name);
    }
}

#[tokio::test]
async fn a_missing_secret_is_said_before_the_start() {
    let machine = Machine::new();
    let function = script("echo ran").set_env_from_secret("PASSWORD", "db", "password");
    let job = machine.job(&function, |_| {}).unwrap();
    let error = machine.target.check(&job).await.unwrap_err();
    assert_eq!(error.location(), Some("spec.env (PASSWORD)"));
    assert_eq!(error.help_text(), Some("runtimes secret set db --key password"));

    let mut optional = function;
    let secret = optional.spec.pod.env[0].value_from.as_mut().unwrap().secret_key_ref.as_mut().unwrap();
    secret.optional = Some(true);
    machine.run(&optional).await.completed();
}

#[tokio::test]
async fn arguments_variables_and_folder() {
    let machine = Machine::new();
    std::fs::create_dir(machine.path("data")).unwrap();
    let text = "for arg in \"$@\"; do echo \"arg: $arg\"; done; echo \"env: $GREETING\"; echo \"$MORE\"; pwd";
    let function = script(text)
        .with_args(["--n={n}", "{name}", "{{n}}", "$HOME"])
        .set_env("GREETING", "two  spaces & 'quotes'")
        // As in a container.
        .set_env("MORE", "$(GREETING), $(LATER), $$5")
        .set_env("LATER", "not yet")
        .with_workdir("data");
    let outcome = machine
        .run_with(&function, |run| {
            run.spec.parameters.insert("n".into(), json!(3));
            run.spec.parameters.insert("name".into(), json!("a b\"c"));
        })
        .await
        .completed();
    let folder = machine.path("data").canonicalize().unwrap();
    let expected = [
        "arg: --n=3",
        "arg: a b\"c",
        "arg: {n}",
        "arg: $HOME",
        "env: two  spaces & 'quotes'",
        "two  spaces & 'quotes', $(LATER), $5",
        folder.to_str().unwrap(),
    ];
    assert_eq!(outcome.printed("main"), expected);

    let error = machine.job(&script("").with_args(["{m}"]), |_| {}).unwrap_err();
    assert_eq!(error.location(), Some("spec.args[0]"));
}

/// `pass` runs the command as it stands, also where the function carries code or the command is Python.
#[tokio::test]
async fn a_command_is_passed_as_it_stands() {
    let machine = Machine::new();
    machine.write("plain.py", "import sys; print('runtimes' in sys.modules, sys.argv[1:])");
    let mut function = Function::new(KIND, "pass").with_command("python3").with_args(["plain.py", "{x}"]);
    function.spec.mode = "pass".into();
    let outcome = machine.run_with(&function, |run| {
        run.spec.parameters.insert("x".into(), json!([1]));
    });
    assert_eq!(outcome.await.completed().printed("main"), ["False ['[1]']"]);
}

/// A script that the function carries runs also where its file is not there; one that is there runs in its place.
#[tokio::test]
async fn a_script_is_carried() {
    let machine = Machine::new();
    let text = "#!/bin/sh\necho \"called $(basename \"$0\")\"; exit 0";
    let function = script(text);
    assert_eq!(function.code().unwrap(), Some(SourceCode { name: "script.sh".into(), text: text.into() }));
    assert_eq!(machine.run(&function).await.completed().printed("main"), ["called script.sh"]);
    machine.write("script.sh", "echo changed since");
    assert_eq!(
        machine.run(&function).await.completed().printed("main"),
        ["called script.sh"],
        "what was given is run"
    );
    machine.write("beside", "");
    machine.write("script.sh", "ls \"$(dirname \"$0\")\"");
    let outcome = machine.run(&script("ls \"$(dirname \"$0\")\"")).await.completed();
    assert_eq!(outcome.printed("main"), ["beside", "script.sh"], "what is unchanged runs where it lies");
}

#[tokio::test]
async fn exits_are_named() {
    let machine = Machine::new();
    for (text, reason, words) in [
        ("exit 3", Reason::ExitCode, "exit code 3"),
        ("kill -9 $$", Reason::Signal, "SIGKILL"),
        ("no-such-command", Reason::ExitCode, "127"),
    ] {
        let outcome = machine.run(&script(text)).await;
        assert_eq!(outcome.cause().reason, reason, "{text}");
        assert!(outcome.cause().message.contains(words), "{}", outcome.cause().message);
    }
}

/// By a cgroup the kernel kills it, by a resource limit Python raises: both are the same to the user.
#[tokio::test]
async fn too_much_memory_is_named() {
    let machine = Machine::new();
    let hungry =
        "data = bytearray(1 << 30)\nfor at in range(0, len(data), 4096):\n    data[at] = 1\nprint('had it')";
    let function = python(hungry).with_limits(Some("256Mi"), None, None, None).unwrap();
    let outcome = machine.run(&function).await;
    assert_eq!(outcome.cause().reason, Reason::OutOfMemory, "{:?}", outcome);
    assert!(outcome.cause().help.as_ref().unwrap().contains("resources.limits.memory"));
    assert_eq!(outcome.printed("main"), Vec::<String>::new());
    let function = function.with_limits(Some("4Gi"), None, None, None).unwrap();
    assert_eq!(machine.run(&function).await.completed().printed("main"), ["had it"]);
}
