//! `function diff`: what changed between two functions.

use runtimes::{
    Result,
    core::{
        function::{Change, Difference, SourceCode},
        serde_json::{Value, json},
    },
};
use similar::{ChangeTag, TextDiff};

use super::named;
use crate::{
    home::Home,
    output::{
        Color, Format, OutputArgs, Terminal, data, human, stdio,
        table::{self, Long, text},
    },
};

const EXAMPLES: &str = "\
Examples:
  runtimes function diff train:prod train          two versions of a stored function
  runtimes function diff train train.py            the stored one, and the file as it would be stored
  runtimes function diff a/function.yaml b/function.yaml

Exit code: 0 nothing is different, 1 something is, 2 the functions could not be compared.";

/// So many lines around a change of the code are shown.
const CONTEXT: usize = 3;

/// Show what is different between two functions: field by field, and the code line by line
///
/// All that makes their hashes differ is shown; tag, hash, times and status are no part of a version.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The function before: a file, or a stored one
    before: String,
    /// The function after
    after: String,
    #[command(flatten)]
    output: OutputArgs,
}

impl Args {
    pub(super) fn format(&self) -> Format {
        self.output.output
    }
}

pub(super) async fn execute(args: &Args, home: &Home, terminal: &Terminal) -> Result<u8> {
    let before = named(&args.before, home).await?.function;
    let after = named(&args.after, home).await?.function;
    let difference = before.diff(&after);
    let shown = match args.output.output {
        Format::Table => render(&difference, terminal),
        format => {
            let code =
                difference.code.as_ref().map(|(before, after)| unified(before.as_ref(), after.as_ref()));
            let hashes = json!({"before": before.hash(), "after": after.hash()});
            data(&json!({"hash": hashes, "changes": difference.changes, "code": code}), format)?
        }
    };
    stdio::stdout(shown.as_bytes())?;
    Ok(u8::from(!difference.is_empty()))
}

fn render(difference: &Difference, terminal: &Terminal) -> String {
    let mut out = String::new();
    if !difference.changes.is_empty() {
        let rows = difference.changes.iter().map(row).collect();
        out += &table::render(&["FIELD", "BEFORE", "AFTER"], rows, Long::Wrap, terminal);
    }
    if let Some((before, after)) = &difference.code {
        if !out.is_empty() {
            out.push('\n');
        }
        for line in unified(before.as_ref(), after.as_ref()).lines() {
            let color = match line.as_bytes() {
                [b'+', b'+', b'+', ..] | [b'-', b'-', b'-', ..] => None,
                [b'+', ..] => Some(Color::Green),
                [b'-', ..] => Some(Color::Red),
                [b'@', ..] => Some(Color::Yellow),
                _ => None,
            };
            out += &color.map_or_else(|| line.to_owned(), |color| terminal.paint(color, line));
            out.push('\n');
        }
    }
    out
}

fn row(change: &Change) -> Vec<comfy_table::Cell> {
    let side = |value: &Option<Value>| match value {
        // A text in its quotes is told from a number.
        Some(Value::String(value)) => human::shorten(&format!("{value:?}"), 200),
        Some(value) => human::value(value, 200),
        None => "-".to_owned(),
    };
    vec![text(change.path.clone()), text(side(&change.before)), text(side(&change.after))]
}

/// The difference of the code as `diff -u` writes it.
fn unified(before: Option<&SourceCode>, after: Option<&SourceCode>) -> String {
    let side = |code: Option<&SourceCode>, prefix: &str| match code {
        Some(code) => (format!("{prefix}/{}", code.name), code.text.clone()),
        None => ("/dev/null".to_owned(), String::new()),
    };
    let ((old_name, old), (new_name, new)) = (side(before, "a"), side(after, "b"));
    let lines = TextDiff::from_lines(&old, &new);
    let mut out = format!("--- {old_name}\n+++ {new_name}\n");
    for hunk in lines.unified_diff().context_radius(CONTEXT).iter_hunks() {
        out += &format!("{}\n", hunk.header());
        for change in hunk.iter_changes() {
            out.push(match change.tag() {
                ChangeTag::Delete => '-',
                ChangeTag::Insert => '+',
                ChangeTag::Equal => ' ',
            });
            out += change.value().trim_end_matches('\n');
            out.push('\n');
            if change.missing_newline() {
                out += "\\ No newline at end of file\n";
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_is_compared_as_diff_does() {
        let code = |text: &str| SourceCode { name: "f.py".to_owned(), text: text.to_owned() };
        insta::assert_snapshot!(unified(Some(&code("a\nb\nc")), Some(&code("a\nB\nc\n"))), @r"
        --- a/f.py
        +++ b/f.py
        @@ -1,3 +1,3 @@
         a
        -b
        -c
        \ No newline at end of file
        +B
        +c
        ");
        assert!(unified(None, Some(&code("a\n"))).starts_with("--- /dev/null\n+++ b/f.py\n"));
    }
}
