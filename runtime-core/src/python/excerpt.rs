//! Where something stands in a text, and that line with a caret under it.

use unicode_width::UnicodeWidthChar;

/// A place in a text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place<'a> {
    /// From 1.
    pub(super) line: usize,
    /// In characters, from 1.
    pub(super) column: usize,
    /// The line's text, without its end.
    text: &'a str,
}

/// How many characters of a line are shown on each side of the caret.
const AROUND: usize = 60;
/// How wide a tab is shown.
const TAB: usize = 4;

impl<'a> Place<'a> {
    /// The place of a byte offset. Lines end as in Python: `\n`, `\r\n`, or a lone `\r`.
    pub(super) fn of(text: &'a str, offset: usize) -> Self {
        let offset = text.floor_char_boundary(offset.min(text.len()));
        let bytes = text.as_bytes();
        let mut line = 1;
        let mut start = 0;
        for (index, byte) in bytes[..offset].iter().enumerate() {
            let ends = *byte == b'\n' || (*byte == b'\r' && bytes.get(index + 1) != Some(&b'\n'));
            if ends {
                line += 1;
                start = index + 1;
            }
        }
        let rest = &text[start..];
        let end = rest.find(['\n', '\r']).unwrap_or(rest.len());
        let column = text[start..offset].chars().filter(|c| *c != '\u{feff}').count() + 1;
        Self { line, column, text: rest[..end].trim_start_matches('\u{feff}') }
    }

    /// The line with its number, and a caret under the column.
    pub(super) fn excerpt(&self) -> String {
        let before = self.column - 1;
        let skipped = before.saturating_sub(AROUND);
        let mut shown = String::from(if skipped > 0 { "..." } else { "" });
        let mut caret = shown.len();
        for (index, c) in self.text.chars().enumerate().skip(skipped).take(before - skipped + AROUND) {
            let from = shown.len();
            let width = match c {
                '\t' => {
                    shown.push_str(&" ".repeat(TAB));
                    TAB
                }
                c if c.is_control() => {
                    shown.push('?');
                    1
                }
                c => {
                    shown.push(c);
                    c.width().unwrap_or(0)
                }
            };
            debug_assert!(shown.len() > from);
            if index < before {
                caret += width;
            }
        }
        // Past the end of the line there is nothing to stand under: one cell after what is there.
        if self.text.chars().count() > before + AROUND {
            shown.push_str("...");
        }
        let number = self.line.to_string();
        let margin = " ".repeat(number.len());
        format!("{number} | {}\n{margin} | {}^", shown.trim_end(), " ".repeat(caret))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(text: &str, at: &str) -> String {
        Place::of(text, text.find(at).unwrap()).excerpt()
    }

    #[test]
    fn finds_lines_whatever_ends_them() {
        for text in ["a\nb\nxyz\n", "a\r\nb\r\nxyz\r\n", "a\rb\rxyz\r"] {
            let place = Place::of(text, text.find('y').unwrap());
            assert_eq!((place.line, place.column, place.text), (3, 2, "xyz"), "{text:?}");
        }
        let end = Place::of("abc", 3);
        assert_eq!((end.line, end.column), (1, 4));
        let mark = Place::of("\u{feff}x = !", 7);
        assert_eq!((mark.column, mark.text), (5, "x = !"));
    }

    #[test]
    fn the_caret_stands_under_the_column() {
        assert_eq!(show("ab!", "!"), "1 | ab!\n  |   ^");
        assert_eq!(show("\tif !", "!"), "1 |     if !\n  |        ^");
        assert_eq!(show("\"東京\" !", "!"), "1 | \"東京\" !\n  |        ^");
        assert_eq!(show("e\u{301} !", "!"), "1 | e\u{301} !\n  |   ^");
    }

    #[test]
    fn long_lines_are_cut_around_the_caret() {
        let text = format!("{}!{}", "a".repeat(1000), "b".repeat(1000));
        let shown = show(&text, "!");
        let (line, caret) = shown.split_once('\n').unwrap();
        assert!(line.len() < 140, "{line}");
        assert_eq!(line.find('!'), caret.find('^'));
        assert!(line.ends_with("b..."), "{line}");
    }
}
