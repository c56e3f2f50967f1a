//! Code of anybody: a notebook where it is a JSON object, else a Python file.

use std::{collections::BTreeMap, path::Path};

use runtimes::{
    Function,
    core::{python::Module, serde_json::Map},
};

/// What a function is made of it parses, and its handlers are documented; a syntax error names the place.
pub(crate) fn check(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let file = if text.trim_start().starts_with('{') { "train.ipynb" } else { "train.py" };
    let function = match Function::new("local", "train").embed_file(file, text, Path::new(file)) {
        Ok(function) => function,
        Err(error) => {
            super::is_of_use(&error);
            assert!(error.location().is_some_and(|place| place.starts_with(file)), "{error}");
            return;
        }
    };
    let Some(code) = function.code().unwrap() else { return assert!(text.is_empty(), "no code of {text:?}") };
    let module = match Module::parse(&code.name, &code.text) {
        Ok(module) => module,
        Err(error) => {
            assert_eq!(
                file, "train.py",
                "what was made of the notebook is no Python: {error}\n{}",
                code.text
            );
            assert!(error.location().is_some_and(|place| place.starts_with("train.py:")), "{error}");
            return super::is_of_use(&error);
        }
    };
    for name in module.entry_points().keys() {
        if let Err(error) = module.check_call(name, &Map::new(), &BTreeMap::new()) {
            super::is_of_use(&error);
        }
    }
    for handler in module.public() {
        assert!(handler.line >= 1 && handler.line <= code.text.lines().count(), "{}", handler.line);
        let _ = handler.to_string();
    }
}
