//! The code that a function carries.

use std::path::Path;

use base64::{Engine, engine::GeneralPurpose, engine::general_purpose};

use super::{Function, regions};
use crate::{Error, Result};

/// Code that a function carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceCode {
    /// What the file is called: where it came from, else `NAME.py`.
    pub name: String,
    /// The code.
    pub text: String,
}

/// Python's encoders pad; other tools do not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    general_purpose::GeneralPurposeConfig::new()
        .with_decode_padding_mode(base64::engine::DecodePaddingMode::Indifferent),
);

impl Function {
    /// The code that it carries in `spec.build.functionSourceCode`; `None` where it carries none.
    ///
    /// # Errors
    /// `Invalid`, where that is not base64 of a UTF-8 text.
    pub fn code(&self) -> Result<Option<SourceCode>> {
        let build = &self.spec.build;
        if build.function_source_code.is_empty() {
            return Ok(None);
        }
        let invalid = |message: String| {
            let error = Error::invalid("spec.build.functionSourceCode", message);
            Err(self.locate(error.help("write the code in base64, or name a file in spec.command")))
        };
        // Line breaks are usual in base64 that was made by hand.
        let encoded: Vec<u8> =
            build.function_source_code.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
        let bytes = match BASE64.decode(encoded) {
            Ok(bytes) => bytes,
            Err(error) => return invalid(format!("not base64: {error}")),
        };
        let text = match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => {
                let offset = error.utf8_error().valid_up_to();
                return invalid(format!("the code is not text: its byte {offset} is not UTF-8"));
            }
        };
        let name = match (build.origin_filename.as_str(), self.metadata.name.as_str()) {
            ("", "") => "function.py".to_owned(),
            ("", name) => format!("{name}.py"),
            // The code of a notebook is Python.
            (file, _) => match file.strip_suffix(".ipynb") {
                Some(stem) => format!("{stem}.py"),
                None => file.to_owned(),
            },
        };
        Ok(Some(SourceCode { name, text }))
    }

    /// Carries the code in a file: of a notebook (`.ipynb`) its code cells as Python, without magics; of a Python file
    /// and a notebook only what its annotations let (`# mlrun: start-code`, `end-code`, `ignore`; with a function's
    /// name behind it, for that function alone). `name` is kept as where the code came from; `path` is where the text
    /// was read.
    ///
    /// # Errors
    /// `Invalid`, with file and line, or the notebook's cell, where annotations do not fit, a notebook is broken, or
    /// its code works in notebooks only.
    pub fn embed_file(self, name: &str, text: &str, path: &Path) -> Result<Self> {
        let extension =
            Path::new(name).extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        match extension {
            "py" => match regions::of_file(text, &self.metadata.name, &path.display().to_string())? {
                Some(code) => Ok(self.embed_code(name, &code)),
                None => Ok(self.embed_code(name, text)),
            },
            #[cfg(feature = "python")]
            "ipynb" => super::notebook::embed(self, name, text, path),
            #[cfg(not(feature = "python"))]
            "ipynb" => Err(Error::new(crate::ErrorKind::Unsupported, "this build does not read notebooks")
                .at(path.display().to_string())
                .help("export the notebook as a .py file, or build with the feature `python`")),
            _ => Ok(self.embed_code(name, text)),
        }
    }

    /// Carries this code as it is, from a file of this name.
    #[must_use]
    pub fn embed_code(mut self, name: &str, text: &str) -> Self {
        self.spec.build.function_source_code = BASE64.encode(text);
        self.spec.build.origin_filename = name.to_owned();
        self
    }
}
