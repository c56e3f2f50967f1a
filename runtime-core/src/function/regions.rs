//! Which lines of a notebook, or of a Python file, are the function's: those between annotations.
//!
//! ```text
//! # mlrun: start-code            what follows is the function's code, and nothing before it
//! # mlrun: end-code              the code ends here; another start-code may follow
//! # mlrun: ignore                this cell is no code of the function
//! # mlrun: start-code train      the same, for the function `train` alone
//! ```
//!
//! `# nuclio:` is read as `# mlrun:`.

use crate::{Error, Result};

/// A cell: a part of a document that is taken or left as a whole, unless an annotation stands in it.
pub(super) struct Cell<'a> {
    /// Its lines.
    pub(super) lines: Vec<&'a str>,
    /// Whether it may be left out as a whole: by an annotation in it.
    pub(super) can_be_ignored: bool,
}

/// A comment that says what is code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Annotation<'a> {
    Start(&'a str),
    End(&'a str),
    Ignore,
    Return,
}

/// For each line of each cell, whether it belongs to the function of this name. `place` says what a line of a cell is
/// called in errors; both count from 0.
///
/// # Errors
/// `Invalid`, where a region begins within itself or ends twice.
pub(super) fn select(
    cells: &[Cell<'_>],
    name: &str,
    place: impl Fn(usize, usize) -> String,
) -> Result<Vec<Vec<bool>>> {
    let ignored = |cell: &Cell<'_>| {
        cell.can_be_ignored && cell.lines.iter().any(|line| annotation(line) == Some(Annotation::Ignore))
    };
    let taken: Vec<bool> = cells.iter().map(|cell| !ignored(cell)).collect();
    let lines = || {
        let numbered = cells.iter().enumerate().filter(|(index, _)| taken[*index]);
        numbered.flat_map(|(index, cell)| {
            cell.lines.iter().enumerate().map(move |(line, text)| (index, line, annotation(text)))
        })
    };
    let region = |annotation: &Option<Annotation<'_>>, of: &str| matches!(annotation, Some(Annotation::Start(name) | Annotation::End(name)) if *name == of);
    // The regions of that name, where there are any; else those that are for every function.
    let own = !name.is_empty() && lines().any(|(_, _, annotation)| region(&annotation, name));
    let chosen = if own { name } else { "" };
    let first = lines().find(|(_, _, annotation)| region(annotation, chosen));
    let mut inside = !matches!(first, Some((_, _, Some(Annotation::Start(_)))));
    let mut last = None;

    let mut selected: Vec<Vec<bool>> = cells.iter().map(|cell| vec![false; cell.lines.len()]).collect();
    for (cell, line, annotation) in lines() {
        match annotation {
            None => selected[cell][line] = inside,
            Some(Annotation::Start(of) | Annotation::End(of)) if of == chosen => {
                let start = matches!(annotation, Some(Annotation::Start(_)));
                if last == Some(start) {
                    let (this, other) =
                        if start { ("start-code", "end-code") } else { ("end-code", "start-code") };
                    return Err(Error::invalid(place(cell, line), format!("`{this}` follows upon `{this}`"))
                        .help(format!("put `# mlrun: {other}` between them, or leave one out")));
                }
                last = Some(start);
                inside = start;
            }
            Some(_) => {}
        }
    }
    Ok(selected)
}

/// The annotation in a line.
fn annotation(line: &str) -> Option<Annotation<'_>> {
    let comment = line.trim_start().strip_prefix('#')?.trim_start();
    let rest = comment.strip_prefix("mlrun:").or_else(|| comment.strip_prefix("nuclio:"))?;
    let mut words = rest.split_whitespace();
    Some(match words.next()? {
        "start-code" => Annotation::Start(words.next().unwrap_or_default()),
        "end-code" => Annotation::End(words.next().unwrap_or_default()),
        "ignore" => Annotation::Ignore,
        "return" => Annotation::Return,
        _ => return None,
    })
}

/// The code of a Python file that belongs to the function of this name; the other lines are empty, so that those
/// that stay keep their numbers. `None` where the file has no annotations. Cells begin with `# %%`.
///
/// # Errors
/// As [`select`].
pub(super) fn of_file(text: &str, name: &str, origin: &str) -> Result<Option<String>> {
    if !text.lines().any(|line| annotation(line).is_some_and(|found| found != Annotation::Return)) {
        return Ok(None);
    }
    let lines: Vec<&str> = text.lines().collect();
    let begins = |line: &str| line.strip_prefix('#').is_some_and(|rest| rest.trim_start().starts_with("%%"));
    let mut starts: Vec<usize> = (0..lines.len()).filter(|line| begins(lines[*line])).collect();
    let has_cells = !starts.is_empty();
    if starts.first() != Some(&0) {
        starts.insert(0, 0);
    }
    let ends = starts.iter().skip(1).copied().chain([lines.len()]);
    let cells: Vec<Cell<'_>> = starts
        .iter()
        .zip(ends)
        .map(|(start, end)| Cell { lines: lines[*start..end].to_vec(), can_be_ignored: has_cells })
        .collect();
    let selected = select(&cells, name, |cell, line| format!("{origin}:{}:1", starts[cell] + line + 1))?;
    let mut out = String::with_capacity(text.len());
    for (line, selected) in lines.iter().zip(selected.concat()) {
        if selected {
            out.push_str(line);
        }
        out.push('\n');
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    Ok(Some(out))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cells, each of lines; the lines that are selected.
    fn selected(cells: &[&[&str]], name: &str) -> Result<Vec<String>> {
        let cells: Vec<_> =
            cells.iter().map(|lines| Cell { lines: lines.to_vec(), can_be_ignored: true }).collect();
        let mask = select(&cells, name, |cell, line| format!("{cell}.{line}"))?;
        let lines = cells.iter().flat_map(|cell| &cell.lines).zip(mask.concat());
        Ok(lines.filter(|(_, selected)| *selected).map(|(line, _)| (*line).to_owned()).collect())
    }

    #[test]
    fn regions_of_cells() {
        let cases: [(&[&[&str]], &[&str]); 8] = [
            (&[&["a"], &["b"]], &["a", "b"]),
            (&[&["# mlrun: ignore", "a"], &["b"]], &["b"]),
            (&[&["a"], &["# mlrun: start-code"], &["b"], &["# nuclio: end-code"], &["c"]], &["b"]),
            (&[&["a"], &["#mlrun:start-code", "b"], &["c"]], &["b", "c"]),
            (&[&["a"], &["b", "  # nuclio: end-code", "c"], &["d"]], &["a", "b"]),
            (
                &[
                    &["# mlrun: start-code", "a", "# mlrun: end-code", "b", "# mlrun: start-code", "c"],
                    &["d"],
                ],
                &["a", "c", "d"],
            ),
            (&[&["# mlrun: start-code"], &["# mlrun: ignore", "# mlrun: end-code"], &["b"]], &["b"]),
            (
                &[&["# mlrun: start-codes", "a", "x = 1  # mlrun: end-code"]],
                &["# mlrun: start-codes", "a", "x = 1  # mlrun: end-code"],
            ),
        ];
        for (cells, expected) in cases {
            assert_eq!(selected(cells, "f").unwrap(), expected, "{cells:?}");
        }
    }

    #[test]
    fn regions_of_functions() {
        let cells: [&[&str]; 5] = [
            &["# mlrun: start-code"],
            &["all", "# mlrun: end-code"],
            &["# mlrun: start-code f", "f", "# mlrun: end-code f"],
            &["# mlrun: start-code g", "g", "# mlrun: end-code g"],
            &["rest"],
        ];
        assert_eq!(selected(&cells, "f").unwrap(), ["f"]);
        assert_eq!(selected(&cells, "g").unwrap(), ["g"]);
        assert_eq!(selected(&cells, "h").unwrap(), ["all"]);
        assert_eq!(selected(&cells, "").unwrap(), ["all"]);
    }

    #[test]
    fn regions_that_do_not_fit_are_errors() {
        let error = selected(&[&["# mlrun: start-code"], &["", "# mlrun: start-code"]], "f").unwrap_err();
        assert_eq!(error.location(), Some("1.1"));
        assert!(error.help_text().unwrap().contains("end-code"));
        let error = selected(&[&["# mlrun: end-code"], &["# mlrun: end-code"]], "f").unwrap_err();
        assert_eq!(error.message(), "`end-code` follows upon `end-code`");
    }

    #[test]
    fn files_keep_their_line_numbers() {
        let text = "import x\n# mlrun: start-code\ndef f():\n    ...\n# mlrun: end-code\nf()\n";
        assert_eq!(of_file(text, "f", "f.py").unwrap().unwrap(), "\n\ndef f():\n    ...\n");
        assert_eq!(of_file("# mlrun: return\nx\n", "f", "f.py").unwrap(), None);
        let text = "a\n# %% one\n# mlrun: ignore\nb\n#%%\nc\n";
        assert_eq!(of_file(text, "f", "f.py").unwrap().unwrap(), "a\n\n\n\n#%%\nc\n");
        // Without cells there is nothing that could be ignored.
        assert_eq!(of_file("a\n# mlrun: ignore\nb\n", "f", "f.py").unwrap().unwrap(), "a\n\nb\n");
        let error = of_file("# mlrun: start-code\n# mlrun: start-code\n", "f", "f.py").unwrap_err();
        assert_eq!(error.location(), Some("f.py:2:1"));
    }
}
