//! Tables without borders, as wide as the terminal at most.

use comfy_table::{Cell, ColumnConstraint, ContentArrangement, Row, Table, presets::NOTHING};
use runtimes::RunState;

use super::Terminal;

/// The room between two columns.
const PADDING: u16 = 3;

/// Columns of so many characters are never cut.
const SHORT: u16 = 11;

/// Whether long cells are cut or continued on the next line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Long {
    Cut,
    Wrap,
}

/// Renders a table; every line ends with a line feed. In a pipe nothing is cut or wrapped.
pub(crate) fn render(header: &[&str], rows: Vec<Vec<Cell>>, long: Long, terminal: &Terminal) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).force_no_tty().set_truncation_indicator("…");
    if terminal.colored() {
        table.enforce_styling().style_text_only();
    }
    if let Some(width) = terminal.width {
        table.set_width(width).set_content_arrangement(ContentArrangement::Dynamic);
    }
    if !header.is_empty() {
        let mut header = Row::from(header.to_vec());
        header.max_height(1);
        table.set_header(header);
    }
    for cells in rows {
        let mut row = Row::from(cells);
        if long == Long::Cut && terminal.width.is_some() {
            row.max_height(1);
        }
        table.add_row(row);
    }
    let widths = table.column_max_content_widths();
    for (column, width) in table.column_iter_mut().zip(widths) {
        column.set_padding((0, PADDING));
        // Uids, states and times are of no use cut; what is long gives way.
        if width <= SHORT {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
    table.trim_fmt() + "\n"
}

/// A cell of plain text.
pub(crate) fn text(text: impl Into<String>) -> Cell {
    Cell::new_owned(text.into())
}

/// A state, in its colour.
pub(crate) fn state(state: RunState) -> Cell {
    let cell = Cell::new(state.as_str());
    match state {
        RunState::Completed => cell.fg(comfy_table::Color::Green),
        RunState::Error => cell.fg(comfy_table::Color::Red),
        RunState::Skipped => cell,
        _ => cell.fg(comfy_table::Color::Yellow),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Vec<Cell>> {
        vec![
            vec![text("a"), state(RunState::Completed), text("one two three four five six seven")],
            vec![text("bbbb"), state(RunState::Error), text("")],
        ]
    }

    #[test]
    fn plain_and_whole_in_a_pipe() {
        insta::assert_snapshot!(render(&["NAME", "STATE", "TEXT"], rows(), Long::Cut, &Terminal::default()), @r"
        NAME   STATE       TEXT
        a      completed   one two three four five six seven
        bbbb   error
        ");
    }

    #[test]
    fn as_wide_as_the_terminal() {
        let terminal = Terminal { stdout: true, width: Some(40), ..Terminal::default() };
        let cut = render(&["NAME", "STATE", "TEXT"], rows(), Long::Cut, &terminal);
        assert_eq!(cut.lines().count(), 3, "{cut}");
        assert!(cut.lines().all(|line| line.chars().count() <= 40), "{cut}");
        assert!(cut.contains("completed   one two"), "{cut}");
        let wrapped = render(&["NAME", "STATE", "TEXT"], rows(), Long::Wrap, &terminal);
        assert!(wrapped.lines().count() > 3 && wrapped.contains("seven"), "{wrapped}");
    }

    #[test]
    fn coloured_only_where_welcome() {
        let terminal = Terminal { stdout: true, color: true, ..Terminal::default() };
        assert!(render(&[], rows(), Long::Cut, &terminal).contains("\x1b["));
        let terminal = Terminal { stdout: false, color: true, ..Terminal::default() };
        assert!(!render(&[], rows(), Long::Cut, &terminal).contains('\x1b'));
    }
}
