//! Python code: what is wrong with it is said with file and line, before the start where it can be known.

use runtime_core::{Function, run::Reason};
use runtime_local::{handler, local};

use crate::harness::Machine;

const RAISES: &str = "\
import json

def inner(value):
    return json.loads(value)

def fit(context):
    inner('{')

if __name__ == '__main__':
    fit(None)
";

fn function(kind: &str, text: &str) -> Function {
    Function::new(kind, "fit").embed_code("fit.py", text)
}

/// The innermost line that is the user's, however the code is run.
#[tokio::test]
async fn an_exception_has_file_and_line() {
    let machine = Machine::new();
    let reuse = || {
        let mut function = function(handler::KIND, RAISES).with_handler("fit");
        function.spec.extra.insert("reuse".into(), true.into());
        function
    };
    let functions = [
        function(local::KIND, RAISES),
        function(local::KIND, RAISES).with_handler("fit"),
        function(handler::KIND, RAISES).with_handler("fit"),
        reuse(),
    ];
    for there in [false, true] {
        if there {
            machine.write("fit.py", RAISES);
        }
        for function in &functions {
            let outcome = machine.run(function).await;
            let what = format!("{} {:?}, file there: {there}", function.kind, function.spec.default_handler);
            assert_eq!(outcome.cause().reason, Reason::Exception, "{what}");
            let message = &outcome.cause().message;
            let place = message.contains("fit.py:4: ") && message.contains("JSONDecodeError: Expecting");
            assert!(place, "{what}: {message}");
            assert!(
                outcome.lines.iter().any(|line| line.text().contains("return json.loads(value)")),
                "{what}"
            );
            assert_eq!(outcome.verdict.exit_code, Some(1), "{what}");
        }
    }
}

#[test]
fn what_is_wrong_with_code_is_said_before_the_start() {
    let machine = Machine::new();
    for kind in [local::KIND, handler::KIND] {
        let refused = |text: &str, name: &str| {
            machine.job(&function(kind, text).with_handler(name), |_| {}).unwrap_err()
        };
        let error = refused("def fit(context):\n    return (1,\n", "fit");
        assert!(error.location().unwrap().starts_with("fit.py:"), "{error:?}");
        assert!(error.to_string().contains('^'), "the place is shown: {error}");
        let error = refused("def fit(context): pass\ndef predict(context): pass\n", "fitt");
        assert!(error.help_text().unwrap().contains("fit"), "{error:?}");
        let error = refused("def fit(context, depth): pass\n", "fit");
        assert!(error.to_string().contains("depth"), "{error:?}");
    }
}

/// A program decides how it ends.
#[tokio::test]
async fn an_exit_code_is_the_programs_own() {
    let machine = Machine::new();
    for (text, code) in
        [("import sys; sys.exit(3)", 3), ("import os; os._exit(5)", 5), ("raise SystemExit('no')", 1)]
    {
        for (kind, name) in [(local::KIND, ""), (local::KIND, "fit"), (handler::KIND, "fit")] {
            let text =
                if name.is_empty() { text.to_owned() } else { format!("def fit(context):\n    {text}\n") };
            let mut function = function(kind, &text);
            function.spec.default_handler = name.to_owned();
            let outcome = machine.run(&function).await;
            assert_eq!(outcome.verdict.exit_code, Some(code), "{kind} {text:?}: {:?}", outcome.verdict);
            assert!(outcome.verdict.cause.is_some(), "{kind} {text:?}");
        }
    }
}

/// Where the function's file lies, its neighbours can be imported; so can modules of the function's folders.
#[tokio::test]
async fn neighbours_are_imported() {
    let machine = Machine::new();
    let text = "import beside\ndef fit(context):\n    return beside.VALUE\n";
    machine.write("fit.py", text);
    machine.write("beside.py", "VALUE = 7\n");
    machine.write("package/__init__.py", "");
    machine.write("package/module.py", "def fit(context):\n    return 8\n");
    machine.write("lib/elsewhere.py", "def fit(context):\n    return 9\n");
    for kind in [local::KIND, handler::KIND] {
        let outcome = machine.run(&function(kind, text).with_handler("fit")).await.completed();
        assert_eq!(outcome.result("return"), 7, "{kind}");
        let module = Function::new(kind, "module").with_handler("package.module:fit");
        assert_eq!(machine.run(&module).await.completed().result("return"), 8, "{kind}");
        let mut folder = Function::new(kind, "folder").with_handler("elsewhere:fit");
        folder.spec.pythonpath = "lib".into();
        assert_eq!(machine.run(&folder).await.completed().result("return"), 9, "{kind}");
    }
}
