//! What a file does anywhere in it that matters to its top level.

use std::collections::BTreeSet;

use ruff_python_ast::{
    Expr, Stmt,
    visitor::{Visitor, walk_expr, walk_stmt},
};

/// What was found in all statements and expressions of a file.
#[derive(Default)]
pub(super) struct Usage {
    /// Names may be made while it runs.
    pub(super) dynamic: bool,
    /// Names that are bound at the top level from within functions or expressions.
    pub(super) globals: BTreeSet<String>,
    /// Short string literals.
    pub(super) texts: BTreeSet<String>,
}

/// Reads all of a file.
pub(super) fn of(body: &[Stmt]) -> Usage {
    let mut usage = Usage::default();
    usage.visit_body(body);
    usage
}

impl<'a> Visitor<'a> for Usage {
    fn visit_stmt(&mut self, statement: &'a Stmt) {
        if let Stmt::Global(global) = statement {
            self.globals.extend(global.names.iter().map(|name| name.as_str().to_owned()));
        }
        walk_stmt(self, statement);
    }

    fn visit_expr(&mut self, expression: &'a Expr) {
        match expression {
            Expr::Call(call) => {
                if let Expr::Name(function) = call.func.as_ref() {
                    self.dynamic |= matches!(function.id.as_str(), "exec" | "globals" | "setattr");
                }
            }
            Expr::Named(named) => {
                if let Expr::Name(name) = named.target.as_ref() {
                    self.globals.insert(name.id.as_str().to_owned());
                }
            }
            Expr::StringLiteral(literal) => {
                let text = literal.value.to_str();
                if text.len() <= 64 {
                    self.texts.insert(text.to_owned());
                }
            }
            _ => {}
        }
        walk_expr(self, expression);
    }
}
