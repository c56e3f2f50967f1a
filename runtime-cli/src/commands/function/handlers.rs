//! The handlers of a function, as its code and its own documentation have them.

use std::collections::BTreeMap;

use runtimes::{
    Function, Result,
    core::{
        function::{EntryPoint, Parameter},
        python::Module,
    },
};

/// The handlers in the order of the code. What the code does not say is taken from what the function says itself.
pub(super) fn of(function: &Function) -> Result<Vec<EntryPoint>> {
    let own = &function.spec.entry_points;
    let python = function.code()?.filter(|code| code.name.ends_with(".py"));
    let mut handlers: Vec<EntryPoint> = match python {
        Some(code) => {
            let found = Module::parse(&code.name, &code.text)?.entry_points();
            found.into_values().map(|handler| filled(handler, own)).collect()
        }
        None => named(own),
    };
    handlers.sort_by_key(|handler| handler.lineno.unwrap_or(i64::MAX));
    Ok(handlers)
}

fn named(own: &BTreeMap<String, EntryPoint>) -> Vec<EntryPoint> {
    let name = |(name, handler): (&String, &EntryPoint)| EntryPoint { name: name.clone(), ..handler.clone() };
    own.iter().map(name).collect()
}

fn filled(mut handler: EntryPoint, own: &BTreeMap<String, EntryPoint>) -> EntryPoint {
    let Some(said) = own.get(&handler.name) else { return handler };
    fill(&mut handler.doc, &said.doc);
    for parameter in &mut handler.parameters {
        if let Some(said) = said.parameters.iter().find(|said| said.name == parameter.name) {
            fill_parameter(parameter, said);
        }
    }
    match (handler.outputs.first_mut(), said.outputs.first()) {
        (Some(output), Some(said)) => fill_parameter(output, said),
        (None, Some(_)) => handler.outputs.clone_from(&said.outputs),
        _ => {}
    }
    handler
}

fn fill_parameter(parameter: &mut Parameter, said: &Parameter) {
    fill(&mut parameter.type_name, &said.type_name);
    fill(&mut parameter.doc, &said.doc);
}

fn fill(text: &mut String, said: &str) {
    if text.is_empty() {
        said.clone_into(text);
    }
}
