//! How errors are shown, and which exit code they mean.

use runtimes::{
    Error, ErrorKind,
    core::serde_json::{Map, Value, json},
};

use super::{Color, Format, Terminal, stdio};

/// The exit code of a command that failed with this error: 2 where something else should have been asked for.
pub(crate) fn exit_code(error: &Error) -> u8 {
    match error.kind() {
        ErrorKind::Invalid
        | ErrorKind::NotFound
        | ErrorKind::AlreadyExists
        | ErrorKind::Conflict
        | ErrorKind::Unsupported
        | ErrorKind::PermissionDenied => 2,
        _ => 1,
    }
}

/// Prints an error to stderr.
pub(crate) fn print(error: &Error, format: Format, terminal: &Terminal) {
    stdio::stderr(render(error, format, terminal).as_bytes());
}

fn render(error: &Error, format: Format, terminal: &Terminal) -> String {
    if format == Format::Table {
        return format!("{} {error}\n", terminal.paint_stderr(Color::Red, "error:"));
    }
    let mut fields = Map::new();
    let mut put = |key: &str, value: Option<&str>| {
        if let Some(value) = value {
            fields.insert(key.to_owned(), Value::from(value));
        }
    };
    put("kind", Some(error.kind().as_str()));
    put("message", Some(error.message()));
    put("location", error.location());
    put("help", error.help_text());
    for (key, value) in error.contexts() {
        put(key, Some(value));
    }
    super::data(&json!({ "error": fields }), format).unwrap_or_else(|_| format!("error: {error}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error() -> Error {
        Error::invalid("function.yaml:3:1: spec.replcas", "unknown field")
            .context("value", 3)
            .help("did you mean `replicas`?")
    }

    #[test]
    fn for_people() {
        insta::assert_snapshot!(render(&error(), Format::Table, &Terminal::default()), @r"
        error: function.yaml:3:1: spec.replcas: unknown field
          value: 3
          help: did you mean `replicas`?
        ");
        let terminal = Terminal { stderr: true, color: true, ..Terminal::default() };
        assert!(render(&error(), Format::Table, &terminal).starts_with("\x1b[1;31merror:\x1b[0m "));
    }

    #[test]
    fn for_programs() {
        insta::assert_snapshot!(render(&error(), Format::Json, &Terminal::default()), @r#"
        {
          "error": {
            "kind": "Invalid",
            "message": "unknown field",
            "location": "function.yaml:3:1: spec.replcas",
            "help": "did you mean `replicas`?",
            "value": "3"
          }
        }
        "#);
    }

    #[test]
    fn bad_input_is_told_from_bad_luck() {
        assert_eq!(exit_code(&error()), 2);
        assert_eq!(exit_code(&Error::new(ErrorKind::Exhausted, "disk full")), 1);
    }
}
