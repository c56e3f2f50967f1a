//! `function doc`: its handlers, and what they take.

use std::collections::BTreeMap;

use runtimes::{
    Error, Result,
    core::{
        function::{EntryPoint, Parameter},
        serde_json::Value,
    },
};

use super::{handlers, named};
use crate::{
    home::Home,
    output::{
        Color, Format, OutputArgs, Terminal, data, human,
        table::{self, Long, text},
    },
};

const EXAMPLES: &str = "\
Examples:
  runtimes function doc train.py           all its handlers
  runtimes function doc train fit          one of them
  runtimes function doc train.py -o json   as the `entry_points` of a function";

/// Show the handlers of a function: parameters, types, defaults, docstrings
///
/// They are read from the Python code, which is not run. Where the code has lines `# mlrun:handler`, the
/// handlers below them are shown; else all whose names do not begin with `_`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The function: a file, or a stored one
    function: String,
    /// This handler alone
    handler: Option<String>,
    #[command(flatten)]
    pub(super) output: OutputArgs,
}

pub(super) async fn execute(args: &Args, home: &Home, terminal: &Terminal) -> Result<String> {
    let function = named(&args.function, home).await?.function;
    let mut found = handlers::of(&function)?;
    if let Some(wanted) = &args.handler {
        let names: Vec<String> = found.iter().map(|handler| handler.name.clone()).collect();
        found.retain(|handler| handler.name == *wanted);
        if found.is_empty() {
            return Err(Error::not_found(format!("the function has no handler `{wanted}`")).help(format!(
                "it has {}",
                if names.is_empty() { "none".to_owned() } else { names.join(", ") }
            )));
        }
    }
    if args.output.output != Format::Table {
        let points: BTreeMap<&str, &EntryPoint> =
            found.iter().map(|handler| (handler.name.as_str(), handler)).collect();
        return data(&points, args.output.output);
    }
    if found.is_empty() {
        let what = format!("no handlers are known of `{}`", function.metadata.name);
        return Err(Error::not_found(what)
            .help("they are read from Python code, or from `spec.entry_points` of a function.yaml"));
    }
    let shown: Vec<String> = found.iter().map(|handler| render(handler, terminal)).collect();
    Ok(shown.join("\n"))
}

fn render(handler: &EntryPoint, terminal: &Terminal) -> String {
    let mut out = terminal.paint(Color::Green, &signature(handler)) + "\n";
    // The first paragraph says what it does.
    let doc = handler.doc.split("\n\n").next().unwrap_or_default();
    for line in doc.lines() {
        out += &format!("  {}\n", human::shorten(line.trim(), 200));
    }
    if !handler.parameters.is_empty() {
        out.push('\n');
        let rows = handler.parameters.iter().map(row).collect();
        let header = ["  PARAMETER", "TYPE", "DEFAULT", "DESCRIPTION"];
        out += &table::render(&header, rows, Long::Wrap, terminal);
    }
    for output in handler.outputs.iter().filter(|output| !output.doc.is_empty()) {
        out += &format!("\n  returns: {}\n", human::shorten(&output.doc, 400));
    }
    out
}

fn row(parameter: &Parameter) -> Vec<comfy_table::Cell> {
    vec![
        text(format!("  {}", parameter.name)),
        text(human::shorten(&parameter.type_name, 60)),
        text(parameter.default.as_ref().map(|default| literal(default, 40)).unwrap_or_default()),
        text(human::shorten(&parameter.doc, 400)),
    ]
}

/// `fit(context, depth=3, *args, **kwargs) -> float`.
pub(super) fn signature(handler: &EntryPoint) -> String {
    let mut parameters: Vec<String> = handler
        .parameters
        .iter()
        .map(|parameter| match &parameter.default {
            Some(default) => format!("{}={}", parameter.name, literal(default, 20)),
            None => parameter.name.clone(),
        })
        .collect();
    if handler.has_varargs == Some(true) {
        parameters.push("*args".to_owned());
    }
    if handler.has_kwargs == Some(true) {
        parameters.push("**kwargs".to_owned());
    }
    let returns = handler.outputs.first().filter(|output| !output.type_name.is_empty());
    let returns = returns.map(|output| format!(" -> {}", output.type_name)).unwrap_or_default();
    format!("{}({}){returns}", handler.name, parameters.join(", "))
}

/// A value as Python writes it, as far as that is another way than JSON's.
fn literal(value: &Value, limit: usize) -> String {
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::String(text) => human::shorten(&format!("{text:?}"), limit),
        other => human::value(other, limit),
    }
}
