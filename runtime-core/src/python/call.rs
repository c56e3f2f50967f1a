//! Checks a call before anything is started.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{Handler, Module, Parameter, ParameterKind, hint::Hint, signature::one_line};
use crate::{Error, ErrorKind, Result, error::did_you_mean};

/// Given to a class when it is made for one of its methods; never to the method.
const INIT_ARGS: &str = "_init_args";
/// How many handlers a message lists.
const LISTED: usize = 12;

impl Module {
    /// Says what is wrong with calling `handler` with these parameters and inputs, as far as it can be known
    /// without running the file. What is in doubt passes.
    ///
    /// # Errors
    /// `NotFound` where the file has no such handler; `Invalid` where parameters are missing, not taken, or of a
    /// type that cannot be converted to the hint.
    pub fn check_call(
        &self,
        handler: &str,
        parameters: &Map<String, Value>,
        inputs: &BTreeMap<String, String>,
    ) -> Result<()> {
        let Some(found) = self.find(handler)? else { return Ok(()) };
        let names = || parameters.keys().chain(inputs.keys()).map(String::as_str);
        let given = |name: &str| parameters.contains_key(name) || inputs.contains_key(name);
        let problem = missing(found, &given, names())
            .or_else(|| self.not_taken(found, &given, names()))
            .or_else(|| wrong_types(found, parameters));
        match problem {
            None => Ok(()),
            Some((message, hint)) => {
                let help = hint.map_or_else(|| found.to_string(), |hint| format!("{hint}\n{found}"));
                Err(Error::invalid(format!("{}:{}", self.name, found.line), message).help(help))
            }
        }
    }

    /// The handler, where what it takes is known; `None` where it may exist and nothing more can be said.
    fn find(&self, name: &str) -> Result<Option<&Handler>> {
        let (owner, member) = match name.split_once("::") {
            Some((class, method)) => (class.trim(), Some(method.trim())),
            None => (name.trim(), None),
        };
        let normal = member.map_or_else(|| owner.to_owned(), |member| format!("{owner}::{member}"));
        let rebound = match (member, self.classes.get(owner)) {
            (None, _) => self.names.contains(owner),
            (Some(member), Some(class)) => class.names.contains(member),
            (Some(_), None) => self.names.contains(owner),
        };
        if rebound {
            return Ok(None);
        }
        if let Some(handler) = self.handler(&normal) {
            return Ok((!handler.decorated).then_some(handler));
        }
        let inherited = member.is_some() && self.classes.get(owner).is_some_and(|class| class.open);
        // A dotted name is looked up in another module.
        if self.open || inherited || owner.contains('.') {
            return Ok(None);
        }
        Err(self.no_such_handler(&normal))
    }

    fn no_such_handler(&self, name: &str) -> Error {
        let public: Vec<&str> = self.public().into_iter().map(|handler| handler.name.as_str()).collect();
        let known = self.functions.iter().map(|handler| handler.name.as_str());
        let known = known.chain(self.names.iter().map(String::as_str));
        let mut help =
            did_you_mean(name, known).map_or_else(String::new, |close| format!("did you mean `{close}`?\n"));
        if public.is_empty() {
            help.push_str("the file defines no function at its top level");
        } else {
            help.push_str("handlers in this file: ");
            help.push_str(&public[..public.len().min(LISTED)].join(", "));
            if public.len() > LISTED {
                help.push_str(&format!(" and {} more", public.len() - LISTED));
            }
        }
        Error::new(ErrorKind::NotFound, format!("there is no handler `{name}`"))
            .at(self.name.clone())
            .help(help)
    }

    /// Names that were given and that the handler does not take. Where it takes the context, it can read any
    /// parameter by name: then only an obvious slip counts, a name close to a parameter that was not given.
    fn not_taken<'a>(
        &self,
        handler: &Handler,
        given: &dyn Fn(&str) -> bool,
        names: impl Iterator<Item = &'a str>,
    ) -> Option<Problem> {
        let all = handler.given();
        if all.iter().any(|parameter| parameter.kind == ParameterKind::VarKeyword) {
            return None;
        }
        let free: Vec<&str> =
            all.iter().filter(|p| by_name(p) && !given(&p.name)).map(|p| p.name.as_str()).collect();
        let context = handler.takes_context();
        let strangers: Vec<&str> = names
            .filter(|name| !all.iter().any(|parameter| parameter.name == *name && by_name(parameter)))
            .filter(|name| !(*name == INIT_ARGS && handler.bound))
            .filter(|name| {
                !context
                    || (did_you_mean(name, free.iter().copied()).is_some() && !self.texts.contains(*name))
            })
            .collect();
        let first = *strangers.first()?;
        let close = did_you_mean(first, free.iter().copied());
        Some((
            format!("`{}` does not take {}", handler.name, listed(&strangers)),
            close.map(|close| format!("did you mean `{close}`?")),
        ))
    }
}

/// What is wrong, and a hint.
type Problem = (String, Option<String>);

fn by_name(parameter: &Parameter) -> bool {
    !matches!(parameter.kind, ParameterKind::VarPositional | ParameterKind::VarKeyword)
}

fn missing<'a>(
    handler: &Handler,
    given: &dyn Fn(&str) -> bool,
    names: impl Iterator<Item = &'a str>,
) -> Option<Problem> {
    let parameters = handler.given();
    let missing: Vec<&str> = parameters
        .iter()
        .filter(|p| by_name(p) && p.default.is_none() && !given(&p.name))
        .filter(|p| !p.is_context() && !p.is_session())
        .map(|p| p.name.as_str())
        .collect();
    if missing.is_empty() {
        return None;
    }
    let strangers: Vec<&str> = names.filter(|name| !parameters.iter().any(|p| p.name == *name)).collect();
    let slip = missing
        .iter()
        .find_map(|name| did_you_mean(name, strangers.iter().copied()).map(|stranger| (stranger, *name)));
    Some((
        format!("`{}` needs {}", handler.name, listed(&missing)),
        slip.map(|(stranger, name)| format!("`{stranger}` was given: did you mean `{name}`?")),
    ))
}

fn wrong_types(handler: &Handler, parameters: &Map<String, Value>) -> Option<Problem> {
    let wrong: Vec<String> = handler
        .given()
        .iter()
        .filter(|p| by_name(p) && !p.is_context() && !p.is_session())
        .filter_map(|parameter| {
            let value = parameters.get(&parameter.name)?;
            let annotation = parameter.annotation.as_deref()?;
            if value.is_null() && parameter.default.as_deref() == Some("None") {
                return None;
            }
            (!Hint::read(annotation).accepts(value)).then(|| {
                format!(
                    "parameter {}: expected {}, found {}",
                    parameter.name,
                    one_line(annotation),
                    found(value)
                )
            })
        })
        .collect();
    (!wrong.is_empty()).then(|| (wrong.join("; "), None))
}

fn listed(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    let noun = if names.len() == 1 { "parameter" } else { "parameters" };
    format!("the {noun} {}", quoted.join(", "))
}

/// A value as it is shown: short, and with what it is.
fn found(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(flag) => format!("the flag {flag}"),
        Value::Number(number) => format!("the number {number}"),
        Value::String(text) => format!("the text \"{}\"", one_line(text)),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}
