//! What a docstring says of parameters and of what is returned: in reStructuredText, as MLRun reads it, or in
//! Google's style.

/// A docstring taken apart.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Docstring {
    /// What it says before it comes to parameters.
    pub(super) text: String,
    /// Parameters: name, type (empty where none is given), text.
    pub(super) parameters: Vec<Documented>,
    /// The type of what is returned.
    pub(super) return_type: String,
    /// What is returned.
    pub(super) returns: String,
}

/// What is said of a parameter.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Documented {
    pub(super) name: String,
    pub(super) type_name: String,
    pub(super) text: String,
}

impl Docstring {
    /// Reads a docstring whose indentation was taken off.
    pub(super) fn read(doc: &str) -> Self {
        let lines: Vec<&str> = doc.lines().collect();
        let heading = |line: &&str| line.starts_with(':') || section(line).is_some();
        let end = lines.iter().position(heading).unwrap_or(lines.len());
        let mut read = Self { text: lines[..end].join("\n").trim().to_owned(), ..Self::default() };
        let mut rest = &lines[end..];
        while let Some((line, below)) = rest.split_first() {
            // What belongs to a line is indented below it.
            let belongs = |line: &&str| line.trim().is_empty() || line.starts_with([' ', '\t']);
            let length = below.iter().position(|line| !belongs(line)).unwrap_or(below.len());
            let (body, next) = below.split_at(length);
            match section(line) {
                Some(section) => read.section(section, body),
                None => read.field(line, body),
            }
            rest = next;
        }
        read
    }

    /// `:param name: text`, and the lines that go on with it.
    fn field(&mut self, line: &str, body: &[&str]) {
        let Some((head, text)) = line.strip_prefix(':').and_then(|line| line.split_once(':')) else { return };
        let text = joined(text, body);
        let mut words: Vec<&str> = head.split_whitespace().collect();
        let tag = if words.is_empty() { "" } else { words.remove(0) };
        match (tag, words.as_slice()) {
            ("param" | "parameter" | "arg" | "argument" | "key" | "keyword", [types @ .., name]) => {
                let parameter = self.parameter(name);
                parameter.text = text;
                if !types.is_empty() {
                    parameter.type_name = types.join(" ");
                }
            }
            ("type", [name]) => self.parameter(name).type_name = text,
            ("returns" | "return", _) => self.returns = text,
            ("rtype", _) => self.return_type = text,
            _ => {}
        }
    }

    /// `Args:` or `Returns:`, and what stands below.
    fn section(&mut self, section: Section, body: &[&str]) {
        let indent = |line: &str| line.len() - line.trim_start().len();
        let least =
            body.iter().filter(|line| !line.trim().is_empty()).map(|line| indent(line)).min().unwrap_or(0);
        match section {
            Section::Other => {}
            Section::Returns => {
                let text = joined("", body);
                match text.split_once(": ").filter(|(head, _)| is_type(head)) {
                    Some((head, rest)) => {
                        (self.return_type, self.returns) = (head.to_owned(), rest.to_owned())
                    }
                    None => self.returns = text,
                }
            }
            Section::Parameters => {
                let mut rest = body;
                while let Some((line, below)) = rest.split_first() {
                    let begins = |line: &&str| !line.trim().is_empty() && indent(line) <= least;
                    let length = below.iter().position(begins).unwrap_or(below.len());
                    let (body, next) = below.split_at(length);
                    rest = next;
                    let Some((head, text)) = line.trim().split_once(':') else { continue };
                    // `name (type, optional): text`
                    let (name, kind) = head.split_once('(').unwrap_or((head, ""));
                    let kind =
                        kind.trim_end_matches(')').trim_end_matches("optional").trim_end_matches([',', ' ']);
                    let parameter = self.parameter(name.trim().trim_start_matches('*'));
                    parameter.type_name = kind.to_owned();
                    parameter.text = joined(text, body);
                }
            }
        }
    }

    fn parameter(&mut self, name: &str) -> &mut Documented {
        let at = match self.parameters.iter().position(|known| known.name == name) {
            Some(at) => at,
            None => {
                self.parameters.push(Documented { name: name.to_owned(), ..Documented::default() });
                self.parameters.len() - 1
            }
        };
        &mut self.parameters[at]
    }
}

/// A section of a docstring in Google's style.
#[derive(Clone, Copy)]
enum Section {
    Parameters,
    Returns,
    Other,
}

fn section(line: &str) -> Option<Section> {
    match line.trim_end() {
        "Args:" | "Arguments:" | "Parameters:" | "Keyword Args:" | "Keyword Arguments:" => {
            Some(Section::Parameters)
        }
        "Returns:" | "Return:" => Some(Section::Returns),
        "Raises:" | "Yields:" | "Example:" | "Examples:" | "Note:" | "Notes:" => Some(Section::Other),
        _ => None,
    }
}

/// One paragraph of a first line and those that go on with it.
fn joined(first: &str, body: &[&str]) -> String {
    let parts =
        std::iter::once(first).chain(body.iter().copied()).map(str::trim).filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join(" ")
}

/// Whether this can be a type, and is no sentence.
fn is_type(text: &str) -> bool {
    !text.is_empty() && !text.contains(char::is_whitespace) || text.ends_with(']')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named<'a>(doc: &'a Docstring, name: &str) -> (&'a str, &'a str) {
        let parameter = doc.parameters.iter().find(|parameter| parameter.name == name).unwrap();
        (&parameter.type_name, &parameter.text)
    }

    #[test]
    fn rest_fields() {
        let doc = Docstring::read(
            "Trains.\n\nA model, that is.\n\n:param data: the data\n             to read\n\n:param int depth: how deep\n\
             :type data: DataItem\n:raises ValueError: never\n:returns: the score\n:rtype: float",
        );
        assert_eq!(doc.text, "Trains.\n\nA model, that is.");
        assert_eq!(named(&doc, "data"), ("DataItem", "the data to read"));
        assert_eq!(named(&doc, "depth"), ("int", "how deep"));
        assert_eq!((doc.return_type.as_str(), doc.returns.as_str()), ("float", "the score"));
        assert_eq!(doc.parameters.len(), 2);
    }

    #[test]
    fn google_sections() {
        let doc = Docstring::read(
            "Trains.\n\nArgs:\n    data (DataItem): the data: all of it,\n        and more\n    depth (int, optional): how deep\n    \
             *rest: the rest\n\nRaises:\n    ValueError: never\n\nReturns:\n    dict[str, int]: counts\n",
        );
        assert_eq!(doc.text, "Trains.");
        assert_eq!(named(&doc, "data"), ("DataItem", "the data: all of it, and more"));
        assert_eq!(named(&doc, "depth"), ("int", "how deep"));
        assert_eq!(named(&doc, "rest"), ("", "the rest"));
        assert_eq!((doc.return_type.as_str(), doc.returns.as_str()), ("dict[str, int]", "counts"));
    }

    #[test]
    fn what_is_neither_is_text() {
        let doc = Docstring::read("Note: this\nis: text");
        assert_eq!(doc, Docstring { text: "Note: this\nis: text".to_owned(), ..Docstring::default() });
        assert_eq!(Docstring::read(":"), Docstring::default());
        assert_eq!(Docstring::read("::\n:param:\n: x\n:param : y"), Docstring::default());
    }
}
