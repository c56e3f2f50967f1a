//! `function show`: what a function is, for people; the whole with `-o json`.

use jiff::tz::TimeZone;
use runtimes::{
    Function, Result,
    core::{
        serde_json::{Value, json},
        store::FunctionRecord,
    },
};

use super::{Named, doc, handlers, named};
use crate::{
    home::Home,
    output::{
        Format, OutputArgs, Terminal, data, human,
        table::{self, Long, text},
    },
};

const EXAMPLES: &str = "\
Examples:
  runtimes function show train               the newest version
  runtimes function show demo/train@3f2a     the version whose hash begins so
  runtimes function show function.yaml       a file, as it would be stored
  runtimes function show train -o json       its document, hash, tags and handlers";

/// Show what a function is: its version, tags, handlers and specification
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The function: a file, or a stored one
    function: String,
    #[command(flatten)]
    pub(super) output: OutputArgs,
}

pub(super) async fn execute(args: &Args, home: &Home, terminal: &Terminal) -> Result<String> {
    let Named { function, record } = named(&args.function, home).await?;
    if args.output.output == Format::Table {
        return table(&function, record.as_ref(), terminal);
    }
    let handlers = handlers::of(&function)?;
    let points: Vec<_> = handlers.iter().map(|handler| (handler.name.clone(), json!(handler))).collect();
    let mut shown = json!({
        "function": function,
        "hash": function.hash(),
        "stored": record.is_some(),
        "handlers": Value::Object(points.into_iter().collect()),
    });
    if let Some(record) = record {
        shown["tags"] = json!(record.tags);
        shown["created"] = json!(record.created);
        shown["updated"] = json!(record.updated);
    }
    data(&shown, args.output.output)
}

fn table(function: &Function, record: Option<&FunctionRecord>, terminal: &Terminal) -> Result<String> {
    let mut rows = Vec::new();
    let mut put = |name: &str, value: String| {
        if !value.is_empty() {
            rows.push(vec![text(name), text(human::shorten(&value, 400))]);
        }
    };
    let (metadata, spec) = (&function.metadata, &function.spec);
    let code = function.code()?;
    put("name", metadata.name.clone());
    put("project", metadata.project.clone());
    put("kind", function.kind.clone());
    put("hash", function.hash());
    match record {
        Some(record) => {
            let time = |time| human::time(time, &TimeZone::system());
            put("tags", record.tags.join(", "));
            put("created", time(record.created));
            put("updated", time(record.updated));
        }
        None => put("stored", "no: this is a file".to_owned()),
    }
    put("description", spec.description.clone());
    put("handler", spec.default_handler.clone());
    put("command", format!("{} {}", spec.command, spec.args.join(" ")).trim().to_owned());
    put("code", code.as_ref().map(|code| code_line(&code.name, &code.text)).unwrap_or_default());
    put("source", spec.build.source.clone());
    put("image", spec.image.clone());
    put("packages", spec.build.requirements.join(", "));
    put("environment", environment(function));
    put("resources", resources(function));
    put(
        "labels",
        metadata.labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" "),
    );
    put("categories", metadata.categories.join(", "));
    put("other fields", spec.extra.keys().cloned().collect::<Vec<_>>().join(", "));
    let mut out = table::render(&[], rows, Long::Wrap, terminal);

    let handlers = handlers_table(function, terminal)?;
    if !handlers.is_empty() {
        out.push('\n');
        out += &handlers;
    }
    Ok(out)
}

/// The handlers of a function, a line each; empty where it has none.
pub(crate) fn handlers_table(function: &Function, terminal: &Terminal) -> Result<String> {
    let handlers = handlers::of(function)?;
    if handlers.is_empty() {
        return Ok(String::new());
    }
    let row = |handler: &_| vec![text(doc::signature(handler)), text(first_line(&handler.doc))];
    let rows = handlers.iter().map(row).collect();
    Ok(table::render(&["HANDLER", "DESCRIPTION"], rows, Long::Wrap, terminal))
}

fn code_line(name: &str, code: &str) -> String {
    format!("{name}: {}, {}", human::count(code.lines().count(), "line"), human::size(code.len() as u64))
}

/// Variables by name and value; those of a secret by where they come from.
fn environment(function: &Function) -> String {
    let variables = function.spec.pod.env.iter().map(|var| match (&var.value, &var.value_from) {
        (_, Some(from)) => match &from.secret_key_ref {
            Some(secret) => format!("{} (secret {}/{})", var.name, secret.name, secret.key),
            None => format!("{} (of the cluster)", var.name),
        },
        (value, None) => format!("{}={}", var.name, value.as_deref().unwrap_or_default()),
    });
    variables.collect::<Vec<_>>().join(" ")
}

fn resources(function: &Function) -> String {
    let resources = &function.spec.pod.resources;
    let mut parts = Vec::new();
    for (what, amounts) in [("at most", &resources.limits), ("at least", &resources.requests)] {
        let amounts = amounts.iter().flatten().map(|(name, amount)| format!("{name} {}", amount.0));
        let amounts: Vec<_> = amounts.collect();
        if !amounts.is_empty() {
            parts.push(format!("{what} {}", amounts.join(", ")));
        }
    }
    parts.join("; ")
}

fn first_line(doc: &str) -> String {
    human::shorten(doc.lines().find(|line| !line.trim().is_empty()).unwrap_or_default().trim(), 100)
}
