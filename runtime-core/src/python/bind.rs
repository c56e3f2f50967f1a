//! Which names a statement binds.

use std::collections::BTreeSet;

use ruff_python_ast::{Alias, ExceptHandler, Expr, Pattern, Stmt};

/// Adds the names that a statement binds in its scope. True where it may bind names that nobody can see here.
pub(super) fn bind(statement: &Stmt, names: &mut BTreeSet<String>) -> bool {
    let mut open = false;
    let mut bodies: Vec<&[Stmt]> = Vec::new();
    match statement {
        Stmt::FunctionDef(function) => {
            names.insert(function.name.as_str().to_owned());
            open = function.name.as_str() == "__getattr__";
        }
        Stmt::ClassDef(class) => {
            names.insert(class.name.as_str().to_owned());
        }
        Stmt::Assign(assign) => assign.targets.iter().for_each(|target| bind_target(target, names)),
        Stmt::AnnAssign(assign) if assign.value.is_some() => bind_target(&assign.target, names),
        Stmt::AugAssign(assign) => bind_target(&assign.target, names),
        Stmt::TypeAlias(alias) => bind_target(&alias.name, names),
        Stmt::Import(import) => import.names.iter().for_each(|alias| bind_import(alias, names)),
        Stmt::ImportFrom(import) => {
            open = import.names.iter().any(|alias| alias.name.as_str() == "*");
            import.names.iter().for_each(|alias| bind_import(alias, names));
        }
        Stmt::If(branch) => {
            bodies.push(&branch.body);
            bodies.extend(branch.elif_else_clauses.iter().map(|clause| &*clause.body));
        }
        Stmt::Try(attempt) => {
            bodies.extend([&*attempt.body, &attempt.orelse, &attempt.finalbody]);
            bodies
                .extend(attempt.handlers.iter().map(|ExceptHandler::ExceptHandler(handler)| &*handler.body));
        }
        Stmt::With(with) => {
            with.items
                .iter()
                .filter_map(|item| item.optional_vars.as_deref())
                .for_each(|target| bind_target(target, names));
            bodies.push(&with.body);
        }
        Stmt::For(each) => {
            bind_target(&each.target, names);
            bodies.extend([&*each.body, &each.orelse]);
        }
        Stmt::While(each) => bodies.extend([&*each.body, &each.orelse]),
        Stmt::Match(choice) => {
            for case in &choice.cases {
                bind_pattern(&case.pattern, names);
                bodies.push(&case.body);
            }
        }
        _ => {}
    }
    for inner in bodies.into_iter().flatten() {
        open |= bind(inner, names);
    }
    open
}

fn bind_import(alias: &Alias, names: &mut BTreeSet<String>) {
    let bound = match &alias.asname {
        Some(name) => name.as_str(),
        None => alias.name.as_str().split('.').next().unwrap_or_default(),
    };
    if bound != "*" {
        names.insert(bound.to_owned());
    }
}

fn bind_target(target: &Expr, names: &mut BTreeSet<String>) {
    match target {
        Expr::Name(name) => {
            names.insert(name.id.as_str().to_owned());
        }
        Expr::Tuple(tuple) => tuple.elts.iter().for_each(|inner| bind_target(inner, names)),
        Expr::List(list) => list.elts.iter().for_each(|inner| bind_target(inner, names)),
        Expr::Starred(starred) => bind_target(&starred.value, names),
        _ => {}
    }
}

fn bind_pattern(pattern: &Pattern, names: &mut BTreeSet<String>) {
    let name = match pattern {
        Pattern::MatchAs(pattern) => {
            if let Some(inner) = &pattern.pattern {
                bind_pattern(inner, names);
            }
            pattern.name.as_ref()
        }
        Pattern::MatchStar(pattern) => pattern.name.as_ref(),
        Pattern::MatchMapping(pattern) => {
            pattern.patterns.iter().for_each(|inner| bind_pattern(inner, names));
            pattern.rest.as_ref()
        }
        Pattern::MatchSequence(pattern) => {
            pattern.patterns.iter().for_each(|inner| bind_pattern(inner, names));
            None
        }
        Pattern::MatchOr(pattern) => {
            pattern.patterns.iter().for_each(|inner| bind_pattern(inner, names));
            None
        }
        Pattern::MatchClass(pattern) => {
            pattern.arguments.patterns.iter().for_each(|inner| bind_pattern(inner, names));
            pattern.arguments.keywords.iter().for_each(|keyword| bind_pattern(&keyword.pattern, names));
            None
        }
        Pattern::MatchValue(_) | Pattern::MatchSingleton(_) => None,
    };
    names.extend(name.map(|name| name.as_str().to_owned()));
}
