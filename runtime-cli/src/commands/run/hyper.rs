//! Many runs of one function with parameters of their own, and trying again.

use std::path::Path;

use runtimes::{
    Error, ParamFile, Request, Result,
    core::{
        run::{Backoff, Retry, hyper::Strategy},
        serde_json::{Map, Value},
    },
};

use crate::parse::{self, Pair};

/// Iterations.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Hyper-parameters")]
pub(super) struct HyperArgs {
    /// Values to try: lr=0.1,0.01 or name='["a, b", "c"]'; each combination is an iteration
    #[arg(short = 'x', long = "hyper-param", value_name = "KEY=VALUES", value_parser = parse::pair)]
    hyper_params: Vec<Pair>,
    /// grid: every combination; list: the first of all, then the second; random: some combinations
    #[arg(long, alias = "hyper-param-strategy", value_name = "STRATEGY")]
    strategy: Option<Strategy>,
    /// The result that makes an iteration the best: max.accuracy, min.loss
    #[arg(long, value_name = "RESULT")]
    selector: Option<String>,
    /// Start no more iterations when one has results such as: accuracy > 0.9 and loss < 0.1
    #[arg(long, value_name = "CONDITION")]
    stop_condition: Option<String>,
    /// The most iterations [random: 10, otherwise all]
    #[arg(long, value_name = "N")]
    max_iterations: Option<u32>,
    /// Start no more iterations when more than N have failed [3]
    #[arg(long, value_name = "N")]
    max_errors: Option<u32>,
    /// Draw the same random iterations again
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

/// Trying again.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "The call")]
pub(super) struct RetryArgs {
    /// Try again so many times where it fails and that may help
    #[arg(long, value_name = "N")]
    retry: Option<u32>,
    /// Wait so long before the first retry, twice as long before each further one [30s]
    #[arg(long, value_name = "TIME", requires = "retry")]
    retry_delay: Option<String>,
}

/// Takes a file of parameters: plain ones, or a table of hyper-parameters.
pub(super) fn param_file(request: &mut Request, path: &Path, args: &HyperArgs) -> Result<()> {
    let wanted = args.strategy.is_some();
    match ParamFile::read(path)? {
        ParamFile::Parameters(map) if wanted => {
            let single = map.iter().find(|(_, value)| !value.is_array()).map(|(name, _)| name.as_str());
            Err(Error::invalid(
                path.display().to_string(),
                format!("`{}` is no list of values to try", single.unwrap_or_default()),
            )
            .help("write lists, such as `lr: [0.1, 0.01]`; what all iterations share is given with --param"))
        }
        ParamFile::Parameters(map) => {
            request.spec.parameters = map;
            Ok(())
        }
        ParamFile::Lists(_) | ParamFile::Rows(_) => {
            request.spec.hyper_param_options.param_file = Some(parse::absolute(path)?);
            Ok(())
        }
    }
}

/// Puts the options onto the request.
pub(super) fn hyper(request: &mut Request, args: HyperArgs, parallel: Option<u32>) -> Result<()> {
    let spec = &mut request.spec;
    parse::unique("--hyper-param", args.hyper_params.clone())?;
    // In the order in which they were given: the first one changes fastest.
    for (name, text) in args.hyper_params {
        let values = values(&text).map_err(|error| error.at(format!("--hyper-param {name}")))?;
        spec.hyperparams.insert(name, values);
    }
    let options = &mut spec.hyper_param_options;
    let used = [
        ("--strategy", args.strategy.is_some()),
        ("--selector", args.selector.is_some()),
        ("--stop-condition", args.stop_condition.is_some()),
        ("--max-iterations", args.max_iterations.is_some()),
        ("--max-errors", args.max_errors.is_some()),
        ("--seed", args.seed.is_some()),
    ];
    options.strategy = args.strategy;
    options.selector = args.selector;
    options.stop_condition = args.stop_condition;
    options.max_iterations = args.max_iterations;
    options.max_errors = args.max_errors;
    options.seed = args.seed;
    options.parallel_runs = parallel;
    if !spec.is_hyper() {
        if let Some((option, _)) = used.iter().find(|(_, used)| *used) {
            return Err(Error::invalid(*option, "there are no hyper-parameters")
                .help("give values to try: --hyper-param lr=0.1,0.01, or a --param-file of lists or rows"));
        }
        spec.hyper_param_options.parallel_runs = None;
    }
    Ok(())
}

/// A JSON list, or values between commas; each is JSON where it is JSON, otherwise text.
fn values(text: &str) -> Result<Value> {
    match parse::value(text) {
        list @ Value::Array(_) => Ok(list),
        _ if text.trim_start().starts_with('[') => {
            Err(Error::invalid("", "it begins as a list and is none").help("write [0.1, 0.01] or 0.1,0.01"))
        }
        _ => Ok(text.split(',').map(|value| parse::value(value.trim())).collect()),
    }
}

/// Puts the retries onto the request.
pub(super) fn retry(request: &mut Request, args: RetryArgs) -> Result<()> {
    let Some(count) = args.retry else { return Ok(()) };
    let backoff = args.retry_delay.map(|delay| Backoff { base_delay: Some(delay), ..Backoff::default() });
    let retry = Retry { count, backoff, extra: Map::new() };
    retry.validate().map_err(|error| {
        let option = match error.location() {
            Some("retry.count") => "--retry",
            _ => "--retry-delay",
        };
        error.at(option)
    })?;
    request.spec.retry = Some(retry);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use runtimes::core::serde_json::json;

    #[test]
    fn values_between_commas_or_a_list() {
        for (text, expected) in [
            ("1,2, 3", json!([1, 2, 3])),
            ("adam,sgd", json!(["adam", "sgd"])),
            ("0.1", json!([0.1])),
            ("[\"a, b\", [1, 2]]", json!(["a, b", [1, 2]])),
            ("true,null", json!([true, null])),
        ] {
            assert_eq!(values(text).unwrap(), expected, "{text}");
        }
        assert!(values("[1, 2").is_err());
    }

    #[test]
    fn options_without_hyper_parameters_are_a_mistake() {
        let args = HyperArgs { selector: Some("max.x".into()), ..HyperArgs::default() };
        let error = hyper(&mut Request::default(), args, None).unwrap_err();
        assert_eq!(error.location(), Some("--selector"));
    }

    #[test]
    fn a_file_of_parameters_is_plain_or_a_table() {
        let folder = tempfile::tempdir().unwrap();
        let given = |name: &str, text: &str, strategy: Option<Strategy>| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            let mut request = Request::default();
            let args = HyperArgs { strategy, ..HyperArgs::default() };
            param_file(&mut request, &path, &args).map(|()| request.spec)
        };
        let plain = given("p.yaml", "epochs: 3\nlayers: [8, 8]\n", None).unwrap();
        assert_eq!(Value::Object(plain.parameters), json!({"epochs": 3, "layers": [8, 8]}));
        assert!(given("p.yaml", "epochs: [3, 4]\n", None).unwrap().is_hyper());
        assert!(given("p.csv", "a\n1\n", None).unwrap().is_hyper());
        let error = given("p.yaml", "epochs: 3\nlayers: [8, 8]\n", Some(Strategy::Grid)).unwrap_err();
        assert!(error.message().contains("`epochs`"), "{error}");
    }
}
