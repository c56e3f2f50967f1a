//! A file of parameters or hyper-parameters: its ending on the first line, its content below.

use runtimes::{
    ParamFile, Run,
    core::run::hyper::{Strategy, Sweep},
};

/// What reads makes iterations, each with a value for every name.
pub(crate) fn check(input: &[u8]) {
    let Some(at) = input.iter().position(|byte| *byte == b'\n') else { return };
    let ending = match &input[..at] {
        b"csv" => "csv",
        b"json" => "json",
        _ => "yaml",
    };
    let folder = super::scratch::folder();
    let path = folder.path().join(format!("params.{ending}"));
    super::scratch::write(&path, &input[at + 1..]);
    match ParamFile::read(&path) {
        Ok(ParamFile::Parameters(_)) => {}
        Ok(ParamFile::Lists(lists)) => {
            iterates(lists.clone(), Strategy::Grid);
            iterates(lists.clone(), Strategy::Random);
            iterates(lists, Strategy::List);
        }
        Ok(ParamFile::Rows(columns)) => {
            let rows: Vec<_> = columns.values().map(|column| column.as_array().unwrap().len()).collect();
            assert!(rows.iter().all(|count| *count == rows[0] && *count > 0), "{rows:?}");
            iterates(columns, Strategy::List);
        }
        Err(error) => {
            super::is_of_use(&error);
            assert!(error.to_string().contains("params."), "it does not name the file: {error}");
        }
    }
}

fn iterates(table: runtimes::core::serde_json::Map<String, runtimes::core::serde_json::Value>, by: Strategy) {
    let mut run = Run::default();
    run.spec.hyperparams = table;
    run.spec.hyper_param_options.strategy = Some(by);
    run.spec.hyper_param_options.seed = Some(7);
    match Sweep::of(&run.spec) {
        Ok(None) => assert!(run.spec.hyperparams.is_empty()),
        Ok(Some(sweep)) => {
            let base = Sweep::base(&run);
            for iteration in [1, sweep.len()] {
                let child = sweep.child(&base, iteration);
                assert!(sweep.names().all(|name| child.spec.parameters.contains_key(name)));
            }
        }
        Err(error) => super::is_of_use(&error),
    }
}
