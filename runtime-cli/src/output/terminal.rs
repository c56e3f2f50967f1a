//! What the other side of stdout and stderr can show.

use std::io::{IsTerminal, stderr, stdout};

/// Where the output goes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Terminal {
    /// Whether stdout is a terminal.
    pub(crate) stdout: bool,
    /// Whether stderr is one.
    pub(crate) stderr: bool,
    /// Whether colours are welcome on those that are terminals.
    pub(crate) color: bool,
    /// Whether it can only print one line after the other.
    pub(crate) dumb: bool,
    /// How many columns stdout has; `None` where that does not matter.
    pub(crate) width: Option<u16>,
}

/// The few colours that are used, always with a meaning that the text has too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Color {
    Red,
    Green,
    Yellow,
}

impl Terminal {
    /// Looks at stdout, stderr and the environment.
    pub(crate) fn detect() -> Self {
        let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let stdout = stdout().is_terminal();
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self {
            stdout,
            stderr: stderr().is_terminal(),
            color: !set("NO_COLOR") && !dumb,
            dumb,
            width: if stdout { comfy_table::Table::new().width().and_then(usable) } else { None },
        }
    }

    /// Whether stdout shows colours.
    pub(crate) fn colored(&self) -> bool {
        self.color && self.stdout
    }

    /// The text in a colour, if stdout shows them.
    pub(crate) fn paint(&self, color: Color, text: &str) -> String {
        paint(self.colored(), color, text)
    }

    /// The text in a colour, if stderr shows them.
    pub(crate) fn paint_stderr(&self, color: Color, text: &str) -> String {
        paint(self.color && self.stderr, color, text)
    }
}

/// Some terminals do not say how wide they are (0), and on very narrow ones long lines read better than short cells.
fn usable(width: u16) -> Option<u16> {
    const NARROWEST: u16 = 60;
    (width > 0).then(|| width.max(NARROWEST))
}

fn paint(colored: bool, color: Color, text: &str) -> String {
    if !colored {
        return text.to_owned();
    }
    let code = match color {
        Color::Red => "1;31",
        Color::Green => "32",
        Color::Yellow => "33",
    };
    format!("\x1b[{code}m{text}\x1b[0m")
}
