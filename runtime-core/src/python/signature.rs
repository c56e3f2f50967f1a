//! How a handler is shown to people.

use std::fmt;

use super::{Handler, Parameter, ParameterKind};

/// The signature as one line: `train(context, data, n: int = 3)`.
impl fmt::Display for Handler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}(", self.name)?;
        let parameters = self.given();
        let mut star = false;
        for (index, parameter) in parameters.iter().enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            if parameter.kind == ParameterKind::KeywordOnly && !star {
                f.write_str("*, ")?;
            }
            star |= matches!(parameter.kind, ParameterKind::VarPositional | ParameterKind::KeywordOnly);
            write!(f, "{parameter}")?;
            let next = parameters.get(index + 1).map(|next| next.kind);
            if parameter.kind == ParameterKind::PositionalOnly && next != Some(ParameterKind::PositionalOnly)
            {
                f.write_str(", /")?;
            }
        }
        f.write_str(")")?;
        match &self.returns {
            Some(returns) => write!(f, " -> {}", one_line(returns)),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Parameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            ParameterKind::VarPositional => "*",
            ParameterKind::VarKeyword => "**",
            _ => "",
        })?;
        f.write_str(&self.name)?;
        match (&self.annotation, &self.default) {
            (Some(annotation), Some(default)) => {
                write!(f, ": {} = {}", one_line(annotation), one_line(default))
            }
            (Some(annotation), None) => write!(f, ": {}", one_line(annotation)),
            (None, Some(default)) => write!(f, "={}", one_line(default)),
            (None, None) => Ok(()),
        }
    }
}

/// Source text without its line breaks, shortened where nobody would read it.
pub(super) fn one_line(source: &str) -> String {
    const MOST: usize = 60;
    let line = source.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(MOST) {
        Some((cut, _)) => format!("{}...", &line[..cut]),
        None => line,
    }
}
