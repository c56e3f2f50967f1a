//! The code that a function carries.

use base64::{Engine, engine::GeneralPurpose, engine::general_purpose};

use super::Function;
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
            (file, _) => file.to_owned(),
        };
        Ok(Some(SourceCode { name, text }))
    }

    /// Carries this code, from a file of this name.
    #[must_use]
    pub fn embed_code(mut self, name: &str, text: &str) -> Self {
        self.spec.build.function_source_code = BASE64.encode(text);
        self.spec.build.origin_filename = name.to_owned();
        self
    }
}
