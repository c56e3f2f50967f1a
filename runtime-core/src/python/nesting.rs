//! How deep a text may be nested, found without nesting.

use ruff_python_ast::token::TokenKind;
use ruff_python_parser::{Mode, lexer};

/// Deeper code is not looked into here. Python gives up long before.
pub(super) const DEEPEST: usize = 20_000;

/// Whether a text may be nested deeper than [`DEEPEST`]: says yes to all that is, and to nothing that people write.
///
/// A level takes an operator, a keyword or a bracket at least. Those before a comma are not above what follows it in
/// the same bracket, nor are those of earlier lines, blocks apart.
pub(super) fn too_deep(text: &str) -> bool {
    if text.len() <= DEEPEST {
        return false;
    }
    let mut lexer = lexer::lex(text, Mode::Module);
    let (mut blocks, mut depth) = (0_usize, 0_usize);
    // For each open bracket, what was counted within it since the last comma.
    let mut counts = vec![0_usize];
    loop {
        match lexer.next_token() {
            TokenKind::EndOfFile => return false,
            TokenKind::Indent => blocks += 1,
            TokenKind::Dedent => blocks = blocks.saturating_sub(1),
            TokenKind::Newline | TokenKind::Semi => {
                counts = vec![0];
                depth = 0;
            }
            TokenKind::Comma => depth -= counts.last_mut().map_or(0, std::mem::take),
            TokenKind::Lpar
            | TokenKind::Lsqb
            | TokenKind::Lbrace
            | TokenKind::FStringStart
            | TokenKind::TStringStart => {
                counts.push(1);
                depth += 1;
            }
            TokenKind::Rpar
            | TokenKind::Rsqb
            | TokenKind::Rbrace
            | TokenKind::FStringEnd
            | TokenKind::TStringEnd => {
                // What was closed counts as one: it may be called, or be part of a chain.
                let closed = if counts.len() > 1 { counts.pop().unwrap_or(0) } else { 0 };
                depth = depth - closed + 1;
                counts.last_mut().into_iter().for_each(|count| *count += 1);
            }
            TokenKind::Name
            | TokenKind::Int
            | TokenKind::Float
            | TokenKind::Complex
            | TokenKind::String
            | TokenKind::FStringMiddle
            | TokenKind::TStringMiddle
            | TokenKind::Comment
            | TokenKind::NonLogicalNewline => {}
            _ => {
                depth += 1;
                counts.last_mut().into_iter().for_each(|count| *count += 1);
            }
        }
        if depth + blocks > DEEPEST {
            return true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deep_and_long_are_told_apart() {
        let many = 100_000;
        for deep in ["(", "-", "1+", "a.", "not ", "lambda:", "a if b else ", "f()()", "x[0]", "f'{"] {
            assert!(too_deep(&format!("x = {}", deep.repeat(many))), "{deep}");
        }
        for long in ["1, ", "f(1), ", "{'a': -1, 'b': [1, 2]}, ", "'text' ", "\n  # comment\n"] {
            assert!(!too_deep(&format!("x = [{}]", long.repeat(many))), "{long}");
        }
        assert!(!too_deep(&"def f(a, *, b=1):\n    return a + b\n".repeat(many)));
    }
}
