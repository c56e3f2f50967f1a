//! Environment variables from `.env` files.

use std::iter::Peekable;
use std::str::CharIndices;

use crate::{Error, Result};

/// Reads a `.env` file: `NAME=value` or `export NAME=value` on each line, comments after `#`, values in single quotes as
/// they are, in double quotes with `\n`, `\t`, `\"` and `\\`; quoted ones may go over several lines. Nothing is
/// substituted in them. `origin` is what errors call the text.
///
/// # Errors
/// `Invalid`, with the line.
pub fn parse_env_file(text: &str, origin: &str) -> Result<Vec<(String, String)>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut variables = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        let line_end = rest.find('\n').unwrap_or(rest.len());
        let line = rest[..line_end].trim();
        if line.is_empty() || line.starts_with('#') {
            at += line_end + 1;
            continue;
        }
        let number = text[..at].matches('\n').count() + 1;
        let invalid = |message: &str| Error::invalid(format!("{origin}:{number}"), message.to_owned());
        let Some((name, _)) = rest[..line_end].split_once('=') else {
            return Err(invalid("no `=` on this line").help("write NAME=value"));
        };
        let start = at + name.len() + 1;
        let name = name.trim();
        let name = name.strip_prefix("export ").unwrap_or(name).trim();
        if name.is_empty() || name.contains([' ', '\t', '"', '\'']) {
            return Err(invalid(&format!("{name:?} is not a name of a variable")).help("write NAME=value"));
        }
        let value = text[start..].trim_start_matches([' ', '\t']);
        let offset = text.len() - value.len();
        let (value, length) = match value.chars().next() {
            Some(quote @ ('\'' | '"')) => match quoted(&value[1..], quote) {
                Some((value, length)) => (value, length + 2),
                None => return Err(invalid(&format!("the value has no closing {quote}"))),
            },
            _ => plain(value),
        };
        variables.push((name.to_owned(), value));
        at = offset + length;
        let rest_of_line = text[at..].find('\n').map_or(text.len(), |end| at + end);
        let rest = text[at..rest_of_line].trim();
        if !rest.is_empty() && !rest.starts_with('#') {
            return Err(invalid(&format!("{rest:?} stands behind the closing quote")));
        }
        at = rest_of_line + 1;
    }
    Ok(variables)
}

/// A value up to the end of its line or a comment, and how long it is in the file.
fn plain(text: &str) -> (String, usize) {
    let line = &text[..text.find('\n').unwrap_or(text.len())];
    // A `#` begins a comment where the value is empty, or behind a space.
    let comment = line
        .match_indices('#')
        .map(|(at, _)| at)
        .find(|at| line[..*at].is_empty() || line[..*at].ends_with([' ', '\t']));
    let value = &line[..comment.unwrap_or(line.len())];
    (value.trim().to_owned(), value.len())
}

/// A value up to its closing quote, and how long it is in the file without quotes.
fn quoted(text: &str, quote: char) -> Option<(String, usize)> {
    let mut value = String::new();
    let mut chars: Peekable<CharIndices<'_>> = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            _ if c == quote => return Some((value, at)),
            '\\' if quote == '"' => match chars.next()?.1 {
                'n' => value.push('\n'),
                'r' => value.push('\r'),
                't' => value.push('\t'),
                escaped @ ('"' | '\\' | '$') => value.push(escaped),
                other => value.extend(['\\', other]),
            },
            _ => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Vec<(String, String)> {
        parse_env_file(text, ".env").unwrap()
    }

    #[test]
    fn values() {
        let text = "# head\nA=1\n export B = two words # why\nC='a # b\\n'\nD=\"x\\n\\\"y\\\"\"  # end\nE=\nF=a#b\nG=\"1\n2\"\nH=a=b\r\nI=#\n";
        let expected = [
            ("A", "1"),
            ("B", "two words"),
            ("C", "a # b\\n"),
            ("D", "x\n\"y\""),
            ("E", ""),
            ("F", "a#b"),
            ("G", "1\n2"),
            ("H", "a=b"),
            ("I", ""),
        ];
        assert_eq!(parse(text), expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert!(parse("").is_empty() && parse("\n#").is_empty());
    }

    #[test]
    fn errors_name_the_line() {
        for (text, place, message) in [
            ("A=1\nwhat", ".env:2", "no `=`"),
            ("\n\n=1", ".env:3", "not a name"),
            ("A='x\n", ".env:1", "no closing '"),
            ("A='x' y", ".env:1", "behind the closing quote"),
            ("A B=1", ".env:1", "not a name"),
        ] {
            let error = parse_env_file(text, ".env").unwrap_err();
            assert_eq!(error.location(), Some(place), "{text:?}");
            assert!(error.message().contains(message), "{error}");
        }
    }
}
