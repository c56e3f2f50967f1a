//! Where in a text a field stands.

use serde_saphyr::granit_parser::{Event, Parser};

use super::join;

/// Line and column, from 1, at which the field of this path stands in a YAML or JSON text; of the closest field
/// above it where it is not there itself.
pub fn place(text: &str, path: &str) -> Option<(usize, usize)> {
    let mut best = None;
    let mut best_length = 0;
    let mut stack: Vec<Level> = Vec::new();
    let mut parser = Parser::new_from_str(text);
    while let Some(Ok((event, span))) = parser.next_event() {
        let here = match stack.last_mut() {
            None => String::new(),
            Some(level) => level.path_of(&event),
        };
        let is_node = matches!(
            event,
            Event::Scalar(..) | Event::Alias(..) | Event::SequenceStart(..) | Event::MappingStart(..)
        );
        if is_node && !here.is_empty() && here.len() > best_length && leads_to(&here, path) {
            best_length = here.len();
            best = Some((span.start.line(), span.start.col() + 1));
            if here == path {
                break;
            }
        }
        match event {
            Event::MappingStart(..) => stack.push(Level { path: here, index: None, key: None }),
            Event::SequenceStart(..) => stack.push(Level { path: here, index: Some(0), key: None }),
            Event::MappingEnd | Event::SequenceEnd => {
                stack.pop();
            }
            _ => {}
        }
    }
    best
}

fn leads_to(here: &str, path: &str) -> bool {
    path.strip_prefix(here).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// One open mapping (with the key whose value comes next) or list (with the index of the next item).
struct Level {
    path: String,
    index: Option<usize>,
    key: Option<String>,
}

impl Level {
    /// The path of the node that this event is; a key has the path of its value.
    fn path_of(&mut self, event: &Event<'_>) -> String {
        let node = matches!(
            event,
            Event::Scalar(..) | Event::Alias(..) | Event::SequenceStart(..) | Event::MappingStart(..)
        );
        if !node {
            return String::new();
        }
        if let Some(index) = &mut self.index {
            let path = format!("{}[{index}]", self.path);
            *index += 1;
            return path;
        }
        match self.key.take() {
            Some(key) => key,
            None => {
                let key = match event {
                    Event::Scalar(text, ..) => join(&self.path, text),
                    _ => format!("{}.?", self.path),
                };
                self.key = Some(key.clone());
                key
            }
        }
    }
}
