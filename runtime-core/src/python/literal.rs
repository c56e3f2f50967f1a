//! Values and types as documents write them.

use ruff_python_ast::{Expr, Number, Operator, UnaryOp};
use ruff_text_size::Ranged;
use serde_json::{Map, Value};

/// What is nested deeper than this is left as source text.
const DEEPEST: usize = 32;

/// The value of a literal; `None` for what only running the code can tell, and for what JSON does not have.
pub(super) fn value(expression: &Expr) -> Option<Value> {
    value_at(expression, 0)
}

fn value_at(expression: &Expr, depth: usize) -> Option<Value> {
    if depth > DEEPEST {
        return None;
    }
    let list = |items: &[Expr]| -> Option<Vec<Value>> {
        items.iter().map(|item| value_at(item, depth + 1)).collect()
    };
    match expression {
        Expr::NoneLiteral(_) => Some(Value::Null),
        Expr::BooleanLiteral(literal) => Some(Value::Bool(literal.value)),
        Expr::StringLiteral(literal) => Some(Value::from(literal.value.to_str())),
        Expr::NumberLiteral(literal) => number(&literal.value),
        Expr::UnaryOp(unary) if unary.op == UnaryOp::USub => match value_at(&unary.operand, depth + 1)? {
            Value::Number(number) => match (number.as_i64(), number.as_f64()) {
                (Some(number), _) => number.checked_neg().map(Value::from),
                (None, Some(float)) if number.is_f64() => Some(Value::from(-float)),
                _ => None,
            },
            _ => None,
        },
        Expr::List(items) => list(&items.elts).map(Value::Array),
        Expr::Tuple(items) => list(&items.elts).map(Value::Array),
        Expr::Set(items) => list(&items.elts).map(Value::Array),
        Expr::Dict(dict) => {
            let mut map = Map::new();
            for item in &dict.items {
                let Some(Value::String(key)) = value_at(item.key.as_ref()?, depth + 1) else { return None };
                map.insert(key, value_at(&item.value, depth + 1)?);
            }
            Some(Value::Object(map))
        }
        _ => None,
    }
}

fn number(number: &Number) -> Option<Value> {
    match number {
        Number::Int(int) => int.as_u64().map(Value::from),
        Number::Float(float) => serde_json::Number::from_f64(*float).map(Value::Number),
        Number::Complex { .. } => None,
    }
}

/// A type as MLRun writes it: the last part of a name, with what stands in its brackets; where that says nothing,
/// the source text.
pub(super) fn type_name(expression: &Expr, text: &str) -> String {
    type_at(expression, text, 0)
}

fn type_at(expression: &Expr, text: &str, depth: usize) -> String {
    let source = || {
        let source = text.get(expression.range().to_std_range()).unwrap_or_default();
        source.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    if depth > DEEPEST {
        return source();
    }
    match expression {
        Expr::Name(name) => name.id.to_string(),
        // A type that is named before it is defined.
        Expr::StringLiteral(literal) => literal.value.to_str().trim().to_owned(),
        Expr::Attribute(attribute) => match attribute.value.as_ref() {
            Expr::Name(_) => attribute.attr.to_string(),
            _ => source(),
        },
        Expr::BinOp(both) if both.op == Operator::BitOr => {
            format!("{} | {}", type_at(&both.left, text, depth + 1), type_at(&both.right, text, depth + 1))
        }
        Expr::Subscript(subscript) => {
            let name = type_at(&subscript.value, text, depth + 1);
            let parts = match subscript.slice.as_ref() {
                Expr::Tuple(tuple) if name != "Literal" => tuple
                    .elts
                    .iter()
                    .map(|part| type_at(part, text, depth + 1))
                    .collect::<Vec<_>>()
                    .join(", "),
                one if name != "Literal" => type_at(one, text, depth + 1),
                one => text.get(one.range().to_std_range()).unwrap_or_default().to_owned(),
            };
            format!("{name}[{parts}]")
        }
        _ => source(),
    }
}
