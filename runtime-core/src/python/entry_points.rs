//! Handlers as a function documents them: MLRun's `entry_points`.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Handler, Module, Parameter, ParameterKind, docstring::Docstring};
use crate::function::{self, EntryPoint};

impl Module {
    /// The handlers as a function documents them, by name. Where the code marks handlers by a line
    /// `# mlrun:handler` above them, these; else all that are meant for others.
    pub fn entry_points(&self) -> BTreeMap<String, EntryPoint> {
        let public = self.public();
        let marked = self.functions.iter().any(|handler| handler.marked);
        let handlers: Vec<&Handler> = match marked {
            true => self.functions.iter().filter(|handler| handler.marked).collect(),
            false => public,
        };
        handlers.into_iter().map(|handler| (handler.name.clone(), handler.entry_point())).collect()
    }
}

impl Handler {
    /// The handler as a function documents it: with what its docstring says of its parameters.
    pub fn entry_point(&self) -> EntryPoint {
        let doc = Docstring::read(self.doc.as_deref().unwrap_or_default());
        let is = |kind| self.parameters.iter().any(|parameter| parameter.kind == kind);
        let named = self.given().iter().filter(|parameter| !parameter.is_many());
        let output = function::Parameter {
            type_name: or(&doc.return_type, self.return_type.as_deref()),
            doc: doc.returns.clone(),
            ..function::Parameter::default()
        };
        EntryPoint {
            name: self.name.clone(),
            doc: doc.text.clone(),
            parameters: named.map(|parameter| parameter.documented(&doc)).collect(),
            outputs: if output == function::Parameter::default() { Vec::new() } else { vec![output] },
            lineno: i64::try_from(self.line).ok(),
            has_varargs: Some(is(ParameterKind::VarPositional)),
            has_kwargs: Some(is(ParameterKind::VarKeyword)),
        }
    }
}

impl Parameter {
    /// Whether it stands for any number of arguments.
    fn is_many(&self) -> bool {
        matches!(self.kind, ParameterKind::VarPositional | ParameterKind::VarKeyword)
    }

    fn documented(&self, doc: &Docstring) -> function::Parameter {
        let said = doc.parameters.iter().find(|said| said.name == self.name);
        let source = || self.default.as_ref().map(|source| Value::from(source.as_str()));
        function::Parameter {
            name: self.name.clone(),
            type_name: or(said.map_or("", |said| &said.type_name), self.type_name.as_deref()),
            default: self.value.clone().or_else(source),
            doc: said.map(|said| said.text.clone()).unwrap_or_default(),
        }
    }
}

/// What the docstring says, else what the signature does.
fn or(said: &str, written: Option<&str>) -> String {
    if said.is_empty() { written.unwrap_or_default().to_owned() } else { said.to_owned() }
}
