//! From a syntax tree to what a file offers.

use std::collections::BTreeSet;

use ruff_python_ast::{
    Decorator, Expr, ParameterWithDefault, PySourceType, Stmt, StmtClassDef, StmtFunctionDef,
    token::{Token, TokenKind},
};
use ruff_python_parser::ParseError;
use ruff_text_size::{Ranged, TextRange};

use super::{Class, Handler, Module, Parameter, ParameterKind, bind::bind, excerpt::Place, literal, usage};
use crate::{Error, Result};

/// Reads a whole file.
pub(super) fn module(name: &str, text: &str) -> Result<Module> {
    let parsed = ruff_python_parser::parse_unchecked_source(text, PySourceType::Python);
    if let Some(error) = parsed.errors().first() {
        return Err(syntax_error(name, text, error, parsed.tokens()));
    }
    let body = &parsed.syntax().body;
    let mut module = Module { open: false, ..Module::unknown(name) };
    for statement in body.iter() {
        match statement {
            Stmt::FunctionDef(function) => {
                module.open |= function.name.as_str() == "__getattr__";
                put(&mut module.functions, handler(text, function, None));
            }
            Stmt::ClassDef(class) => self::class(text, class, &mut module),
            other => module.open |= bind(other, &mut module.names),
        }
    }
    let usage = usage::of(body);
    module.open |= usage.dynamic;
    module.names.extend(usage.globals);
    module.texts = usage.texts;
    Ok(module)
}

fn syntax_error(name: &str, text: &str, error: &ParseError, tokens: &[Token]) -> Error {
    let (message, offset) = explain(text, error, tokens);
    let place = Place::of(text, offset);
    Error::invalid(format!("{name}:{}:{}", place.line, place.column), format!("syntax error: {message}"))
        .help(format!("look at this line\n{}", place.excerpt()))
}

/// What is wrong with the syntax, and the byte at which it is.
pub(super) fn explain(text: &str, error: &ParseError, tokens: &[Token]) -> (String, usize) {
    let message = lower_first(&error.error.to_string());
    let offset = error.location.start().to_usize();
    // An end of file says nothing; what it should have closed does.
    if text.get(offset..).is_some_and(|rest| rest.trim().is_empty()) {
        return match unclosed(tokens) {
            Some(open) => (format!("`{}` was never closed", source(text, open)), open.start().to_usize()),
            None => (message, offset.min(text.trim_end().len())),
        };
    }
    (message, offset)
}

/// The innermost bracket that has no partner.
fn unclosed(tokens: &[Token]) -> Option<TextRange> {
    let mut open = Vec::new();
    for token in tokens {
        match token.kind() {
            TokenKind::Lpar | TokenKind::Lsqb | TokenKind::Lbrace => open.push(token.range()),
            TokenKind::Rpar | TokenKind::Rsqb | TokenKind::Rbrace => {
                open.pop();
            }
            _ => {}
        }
    }
    open.pop()
}

/// Python keeps the last definition of a name.
fn put(functions: &mut Vec<Handler>, new: Handler) {
    functions.retain(|old| old.name != new.name);
    functions.push(new);
}

fn class(text: &str, class: &StmtClassDef, module: &mut Module) {
    let name = class.name.as_str();
    let plain = class.arguments.as_ref().is_none_or(|arguments| {
        arguments.keywords.is_empty()
            && arguments
                .args
                .iter()
                .all(|base| matches!(base, Expr::Name(base) if base.id.as_str() == "object"))
    });
    let mut known = Class { open: !plain || !class.decorator_list.is_empty(), names: BTreeSet::new() };
    module.functions.retain(|old| !old.name.strip_prefix(name).is_some_and(|rest| rest.starts_with("::")));
    for statement in class.body.iter() {
        if let Stmt::FunctionDef(method) = statement {
            known.open |= matches!(method.name.as_str(), "__getattr__" | "__getattribute__");
            put(&mut module.functions, handler(text, method, Some(name)));
        } else {
            known.open |= bind(statement, &mut known.names);
        }
    }
    module.names.insert(name.to_owned());
    module.classes.insert(name.to_owned(), known);
}

fn handler(text: &str, function: &StmtFunctionDef, class: Option<&str>) -> Handler {
    let own = function.name.as_str();
    let is =
        |name: &str| function.decorator_list.iter().any(|decorator| decorator_name(decorator) == Some(name));
    let harmless = |decorator: &Decorator| {
        matches!(
            decorator_name(decorator),
            Some("staticmethod" | "classmethod" | "abstractmethod" | "override")
        )
    };
    Handler {
        name: class.map_or_else(|| own.to_owned(), |class| format!("{class}::{own}")),
        doc: docstring(&function.body),
        line: Place::of(text, function.name.range.start().to_usize()).line,
        is_async: function.is_async,
        parameters: parameters(text, function),
        returns: function.returns.as_ref().map(|returns| source(text, returns.range())),
        bound: class.is_some() && !is("staticmethod"),
        decorated: !function.decorator_list.iter().all(harmless),
        marked: [function.range(), function.name.range].iter().any(|range| is_marked(text, *range)),
        return_type: function.returns.as_ref().map(|returns| literal::type_name(returns, text)),
    }
}

/// The last part of a decorator's name, where it is not called.
fn decorator_name(decorator: &Decorator) -> Option<&str> {
    match &decorator.expression {
        Expr::Name(name) => Some(name.id.as_str()),
        Expr::Attribute(attribute) => Some(attribute.attr.as_str()),
        _ => None,
    }
}

fn parameters(text: &str, function: &StmtFunctionDef) -> Vec<Parameter> {
    let own = |kind: ParameterKind| {
        move |parameter: &ParameterWithDefault| Parameter {
            default: parameter.default.as_ref().map(|default| source(text, default.range())),
            value: parameter.default.as_ref().and_then(|default| literal::value(default)),
            ..bare(text, &parameter.parameter, kind)
        }
    };
    let all = &function.parameters;
    let mut out: Vec<Parameter> = all.posonlyargs.iter().map(own(ParameterKind::PositionalOnly)).collect();
    out.extend(all.args.iter().map(own(ParameterKind::PositionalOrKeyword)));
    out.extend(all.vararg.iter().map(|vararg| bare(text, vararg, ParameterKind::VarPositional)));
    out.extend(all.kwonlyargs.iter().map(own(ParameterKind::KeywordOnly)));
    out.extend(all.kwarg.iter().map(|kwarg| bare(text, kwarg, ParameterKind::VarKeyword)));
    out
}

fn bare(text: &str, parameter: &ruff_python_ast::Parameter, kind: ParameterKind) -> Parameter {
    Parameter {
        name: parameter.name.as_str().to_owned(),
        annotation: parameter.annotation.as_ref().map(|annotation| source(text, annotation.range())),
        default: None,
        kind,
        type_name: parameter.annotation.as_ref().map(|annotation| literal::type_name(annotation, text)),
        value: None,
    }
}

/// Whether the line above is `# mlrun:handler`.
fn is_marked(text: &str, range: TextRange) -> bool {
    let before = text.get(..range.start().to_usize()).unwrap_or_default();
    let above = before.lines().rev().nth(usize::from(!before.ends_with('\n')));
    let comment = above.and_then(|line| line.trim_start().strip_prefix('#'));
    comment.is_some_and(|comment| comment.trim_start().starts_with("mlrun:handler"))
}

fn source(text: &str, range: TextRange) -> String {
    text.get(range.to_std_range()).unwrap_or_default().to_owned()
}

/// The first statement, where it is a string, with the indentation of its further lines taken off.
fn docstring(body: &[Stmt]) -> Option<String> {
    let Some(Stmt::Expr(statement)) = body.first() else { return None };
    let Expr::StringLiteral(literal) = statement.value.as_ref() else { return None };
    let raw = literal.value.to_str().replace('\t', "        ");
    let indent = raw
        .lines()
        .skip(1)
        .filter(|line| !line.trim().is_empty())
        .map(|line| line.len() - line.trim_start_matches(' ').len())
        .min()
        .unwrap_or(0);
    let lines = raw.lines().enumerate().map(|(index, line)| {
        let line = if index == 0 { line.trim_start() } else { line.get(indent..).unwrap_or("") };
        line.trim_end()
    });
    let text = lines.collect::<Vec<_>>().join("\n").trim_matches('\n').to_owned();
    (!text.is_empty()).then_some(text)
}

/// Messages stand after a colon: a lower first letter, unless the word is an acronym.
fn lower_first(message: &str) -> String {
    let mut chars = message.chars();
    match (chars.next(), chars.clone().next()) {
        (Some(first), Some(second)) if first.is_uppercase() && second.is_lowercase() => {
            first.to_lowercase().chain(chars).collect()
        }
        _ => message.to_owned(),
    }
}
