//! A notebook's cell as plain Python: without what only a notebook can do.

use ruff_python_ast::{
    Expr, IpyEscapeKind, PySourceType, Stmt,
    visitor::{Visitor, walk_expr, walk_stmt},
};
use ruff_text_size::{Ranged, TextRange};

use super::{collect, excerpt::Place, nesting, on_large_stack};
use crate::{Error, Result};

/// Magics whose cell is Python all the same.
const PYTHON: [&str; 8] = ["time", "timeit", "capture", "prun", "memit", "mprun", "debug", "python3"];

/// A cell as plain Python.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct PlainCell {
    /// The code. Its lines are those of the cell: what is no Python is empty there.
    pub(crate) code: String,
    /// What followed `%nuclio` in it, and the further lines of a `%%nuclio` cell.
    pub(crate) nuclio: Vec<(String, Vec<String>)>,
}

/// Takes magics, shell commands and questions out of a cell. `place` says what a line of it, from 1, is called.
///
/// # Errors
/// `Invalid`, where the syntax is wrong, or where the code uses what a magic gives it.
pub(crate) fn plain(text: &str, place: impl Fn(usize) -> String + Sync) -> Result<PlainCell> {
    let first = text.lines().position(|line| !line.trim().is_empty()).unwrap_or(0);
    let Some(magic) = text.lines().nth(first).and_then(|line| line.trim_start().strip_prefix("%%")) else {
        return python(text, &place);
    };
    let (name, arguments) = magic.split_once(char::is_whitespace).unwrap_or((magic, ""));
    if PYTHON.contains(&name) {
        let rest: Vec<&str> =
            text.lines().enumerate().map(|(index, line)| if index == first { "" } else { line }).collect();
        return python(&rest.join("\n"), &place);
    }
    let mut cell = PlainCell::default();
    if name == "nuclio" {
        let further = text.lines().skip(first + 1).map(|line| line.trim().to_owned());
        cell.nuclio.push((arguments.trim().to_owned(), further.filter(|line| !line.is_empty()).collect()));
    }
    Ok(cell)
}

fn python(text: &str, place: &(impl Fn(usize) -> String + Sync)) -> Result<PlainCell> {
    if nesting::too_deep(text) {
        return Err(Error::invalid(place(1), "the code is nested too deeply"));
    }
    on_large_stack("a cell", text, || {
        let parsed = ruff_python_parser::parse_unchecked_source(text, PySourceType::Ipynb);
        if let Some(error) = parsed.errors().first() {
            let (message, offset) = collect::explain(text, error, parsed.tokens());
            let found = Place::of(text, offset);
            return Err(Error::invalid(place(found.line), format!("syntax error: {message}"))
                .help(format!("look at this line\n{}", found.excerpt())));
        }
        let mut escapes = Escapes { text, ..Escapes::default() };
        escapes.visit_body(&parsed.syntax().body);
        if let Some(range) = escapes.used {
            let source = text.get(range.to_std_range()).unwrap_or_default();
            let line = Place::of(text, range.start().to_usize()).line;
            return Err(Error::invalid(place(line), format!("the code uses what `{}` gives", source.trim()))
                .help("that works in a notebook only: use Python (subprocess, pathlib), or mark the cell with `# mlrun: ignore`"));
        }
        Ok(escapes.finish())
    })
}

/// The escapes of a cell: where they are, and with what they are replaced.
#[derive(Default)]
struct Escapes<'a> {
    text: &'a str,
    depth: usize,
    found: Vec<(TextRange, &'static str)>,
    used: Option<TextRange>,
    nuclio: Vec<(String, Vec<String>)>,
}

impl<'a> Visitor<'a> for Escapes<'_> {
    fn visit_stmt(&mut self, statement: &'a Stmt) {
        if let Stmt::IpyEscapeCommand(escape) = statement {
            if let (IpyEscapeKind::Magic, Some(line)) = (escape.kind, escape.value.strip_prefix("nuclio ")) {
                self.nuclio.push((line.trim().to_owned(), Vec::new()));
            }
            // A block must not become empty.
            self.found.push((escape.range, if self.depth > 0 { "pass" } else { "" }));
        }
        self.depth += 1;
        walk_stmt(self, statement);
        self.depth -= 1;
    }

    fn visit_expr(&mut self, expression: &'a Expr) {
        if let Expr::IpyEscapeCommand(escape) = expression {
            self.used.get_or_insert(escape.range());
        }
        walk_expr(self, expression);
    }
}

impl Escapes<'_> {
    fn finish(self) -> PlainCell {
        let mut code = String::with_capacity(self.text.len());
        let mut end = 0;
        for (range, instead) in &self.found {
            let range = range.to_std_range();
            code.push_str(self.text.get(end..range.start).unwrap_or_default());
            code.push_str(instead);
            // An escape may go over several lines.
            let lines = self.text.get(range.clone()).unwrap_or_default().matches('\n').count();
            code.push_str(&"\n".repeat(lines));
            end = range.end;
        }
        code.push_str(self.text.get(end..).unwrap_or_default());
        PlainCell { code, nuclio: self.nuclio }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> String {
        plain(text, |line| format!("line {line}")).unwrap().code
    }

    #[test]
    fn what_is_no_python_goes() {
        for (cell, expected) in [
            ("x = 1\n", "x = 1\n"),
            ("%matplotlib inline\nx = 1", "\nx = 1"),
            ("!pip install a \\\n  b\nx = 1", "\n\nx = 1"),
            ("x?\n?x\nx = 1", "\n\nx = 1"),
            ("if x:\n    !ls\nelse:\n    %time y()\n", "if x:\n    pass\nelse:\n    pass\n"),
            ("%%time\nx = 1", "\nx = 1"),
            ("\n%%bash\nls -l", ""),
            ("%%writefile a.py\nx = (", ""),
            ("x = ('%s'\n% y)", "x = ('%s'\n% y)"),
            ("s = '''\n!not\n%not\n'''", "s = '''\n!not\n%not\n'''"),
            ("", ""),
        ] {
            assert_eq!(code(cell), expected, "{cell:?}");
        }
    }

    #[test]
    fn nuclio_is_told() {
        let cell = plain("%nuclio cmd -c pip install x\ny = 1", |_| String::new()).unwrap();
        assert_eq!(cell.code, "\ny = 1");
        assert_eq!(cell.nuclio, [("cmd -c pip install x".to_owned(), vec![])]);
        let cell = plain("%%nuclio env\nA=1\n\nB=2", |_| String::new()).unwrap();
        assert_eq!(cell.nuclio, [("env".to_owned(), vec!["A=1".to_owned(), "B=2".to_owned()])]);
    }

    #[test]
    fn what_cannot_go_is_an_error() {
        let error = plain("a = 1\nfiles = !ls\n", |line| format!("line {line}")).unwrap_err();
        assert_eq!(error.location(), Some("line 2"));
        assert_eq!(error.message(), "the code uses what `!ls` gives");
        let error = plain("a = 1\ndef f(:\n", |line| format!("line {line}")).unwrap_err();
        assert_eq!(error.location(), Some("line 2"));
        assert!(error.message().starts_with("syntax error: "), "{error}");
        assert!(error.help_text().unwrap().contains("2 | def f(:"), "{error}");
    }
}
