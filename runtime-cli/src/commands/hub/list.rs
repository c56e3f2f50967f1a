//! `hub list` and `hub show`.

use runtimes::{
    Function, Result,
    core::serde_json::json,
    hub::{Hub, Item},
};

use super::{notes, quiet, reference};
use crate::{
    commands::function::handlers,
    output::{
        Format, OutputArgs, Terminal, data, human, stdio,
        table::{self, Long, text},
    },
};

#[derive(Debug, clap::Args)]
pub(super) struct ListArgs {
    /// Those whose name, description or category contains this
    #[arg(value_name = "TEXT")]
    search: Option<String>,
    /// Of this hub
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// In this category
    #[arg(long, value_name = "NAME")]
    category: Option<String>,
    #[command(flatten)]
    pub(super) output: OutputArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct ShowArgs {
    /// The function: [hub://][SOURCE/]NAME[:TAG], or another address
    #[arg(value_name = "REFERENCE")]
    reference: String,
    #[command(flatten)]
    pub(super) output: OutputArgs,
}

pub(super) async fn list(args: ListArgs, hub: &Hub, terminal: &Terminal) -> Result<String> {
    let mut listing = hub.list(args.source.as_deref(), &quiet).await?;
    notes(&listing.notes);
    let contains = |item: &Item, wanted: &str| {
        let wanted = wanted.to_lowercase();
        let mut texts = item.categories.iter().chain([&item.name, &item.description]);
        texts.any(|text| text.to_lowercase().contains(&wanted))
    };
    listing.items.retain(|item| {
        args.search.as_ref().is_none_or(|wanted| contains(item, wanted))
            && args.category.as_ref().is_none_or(|category| item.categories.contains(category))
    });
    match args.output.output {
        Format::Table if listing.items.is_empty() => {
            stdio::stderr(nothing(&args, hub).as_bytes());
            Ok(String::new())
        }
        Format::Table => Ok(render(&listing.items, terminal)),
        format => data(&listing.items, format),
    }
}

/// What to say where nothing was found: the name of a hub may have been meant as one.
fn nothing(args: &ListArgs, hub: &Hub) -> String {
    match &args.search {
        Some(text) if hub.sources().iter().any(|source| source.name == *text) => {
            format!("no functions like {text:?}; those of this hub: runtimes hub list --source {text}\n")
        }
        Some(text) => format!("no functions like {text:?}\n"),
        None => "no functions\n".to_owned(),
    }
}

fn render(items: &[Item], terminal: &Terminal) -> String {
    let row = |item: &Item| {
        vec![
            text(item.name.clone()),
            text(item.version.clone()),
            text(item.kind.clone()),
            text(item.source.clone()),
            text(human::shorten(&item.categories.join(", "), 60)),
            text(human::shorten(&item.description, 120)),
        ]
    };
    let header = ["NAME", "VERSION", "KIND", "HUB", "CATEGORIES", "DESCRIPTION"];
    table::render(&header, items.iter().map(row).collect(), Long::Cut, terminal)
}

pub(super) async fn show(args: ShowArgs, hub: &Hub, terminal: &Terminal) -> Result<String> {
    let address = reference(&args.reference);
    let item = match address.starts_with("hub://") {
        true => Some(hub.item(&address, &quiet).await?),
        false => None,
    };
    let imported = hub.latest(&address, &quiet).await?;
    notes(&imported.notes);
    let function = &imported.function;
    if args.output.output != Format::Table {
        let shown = json!({ "item": item, "pin": imported.pin, "function": function });
        return data(&shown, args.output.output);
    }
    details(item.as_ref(), function, &imported.pin.digest, terminal)
}

fn details(item: Option<&Item>, function: &Function, digest: &str, terminal: &Terminal) -> Result<String> {
    let tags = item.map(|item| {
        let tag = |(tag, version): (&String, &String)| match tag == version || version.is_empty() {
            true => tag.clone(),
            false => format!("{tag} ({version})"),
        };
        item.tags.iter().map(tag).collect::<Vec<_>>().join(", ")
    });
    let spec = &function.spec;
    let rows = [
        ("name", function.metadata.name.clone()),
        ("hub", item.map(|item| item.source.clone()).unwrap_or_default()),
        ("tags", tags.unwrap_or_default()),
        ("kind", function.kind.clone()),
        ("description", human::shorten(&spec.description, 300)),
        ("categories", function.metadata.categories.join(", ")),
        ("image", spec.image.clone()),
        ("requirements", spec.build.requirements.join(", ")),
        ("handler", spec.default_handler.clone()),
        ("hash", function.hash()),
        ("digest", digest.to_owned()),
    ];
    let rows = rows.into_iter().filter(|(_, value)| !value.is_empty());
    let rows = rows.map(|(name, value)| vec![text(name), text(value)]).collect();
    let mut out = table::render(&[], rows, Long::Wrap, terminal);
    let handlers = handlers(function, terminal)?;
    if !handlers.is_empty() {
        out.push('\n');
        out += &handlers;
    }
    Ok(out)
}
