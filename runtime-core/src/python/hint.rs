//! Type hints, as far as a value given from outside can be checked against them.

use ruff_python_ast::{Expr, Operator};
use serde_json::Value;

/// What a hint asks for.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Hint {
    /// Not known here: everything passes.
    Any,
    Int,
    Float,
    Bool,
    Text,
    List,
    Dict,
    None,
    /// One of these (`Literal[...]`).
    OneOf(Vec<Value>),
    /// Any of these (`Union`, `Optional`, `|`).
    Union(Vec<Hint>),
}

/// Hints nested deeper than this are not looked into.
const DEEPEST: usize = 16;

impl Hint {
    /// Reads an annotation's source text.
    pub(super) fn read(source: &str) -> Self {
        Self::read_at(source, 0)
    }

    fn read_at(source: &str, depth: usize) -> Self {
        // A hint may go over several lines where it stands in brackets.
        let line = source.split_whitespace().collect::<Vec<_>>().join(" ");
        match ruff_python_parser::parse_expression(&line) {
            Ok(parsed) if depth < DEEPEST => Self::of(&parsed.syntax().body, depth + 1),
            _ => Self::Any,
        }
    }

    fn of(expression: &Expr, depth: usize) -> Self {
        if depth > DEEPEST {
            return Self::Any;
        }
        match expression {
            Expr::NoneLiteral(_) => Self::None,
            Expr::StringLiteral(text) => Self::read_at(text.value.to_str(), depth),
            Expr::Name(_) | Expr::Attribute(_) => last_name(expression).map_or(Self::Any, Self::named),
            Expr::BinOp(both) if both.op == Operator::BitOr => {
                Self::Union(vec![Self::of(&both.left, depth + 1), Self::of(&both.right, depth + 1)])
            }
            Expr::Subscript(subscript) => {
                let parts: Vec<&Expr> = match subscript.slice.as_ref() {
                    Expr::Tuple(tuple) => tuple.elts.iter().collect(),
                    one => vec![one],
                };
                let first = || parts.first().map_or(Self::Any, |part| Self::of(part, depth + 1));
                match last_name(&subscript.value) {
                    Some("Optional") => Self::Union(vec![Self::None, first()]),
                    Some("Union") => {
                        Self::Union(parts.iter().map(|part| Self::of(part, depth + 1)).collect())
                    }
                    Some("Annotated" | "Final") => first(),
                    Some("Literal") => literals(&parts),
                    Some(name) => Self::named(name),
                    None => Self::Any,
                }
            }
            _ => Self::Any,
        }
    }

    fn named(name: &str) -> Self {
        match name {
            "int" => Self::Int,
            "float" => Self::Float,
            "bool" => Self::Bool,
            "str" => Self::Text,
            "list" | "List" => Self::List,
            "dict" | "Dict" => Self::Dict,
            _ => Self::Any,
        }
    }

    /// Whether the agent can make this value into what the hint asks for.
    pub(super) fn accepts(&self, value: &Value) -> bool {
        match self {
            Self::Any => true,
            Self::None => match value {
                Value::Null => true,
                Value::String(text) => matches!(text.trim(), "" | "null" | "None" | "none"),
                _ => false,
            },
            Self::Int => match value {
                Value::Bool(_) => true,
                Value::Number(number) => number.as_f64().is_none_or(|number| number.fract() == 0.0),
                Value::String(text) => is_int(text),
                _ => false,
            },
            Self::Float => match value {
                Value::Bool(_) | Value::Number(_) => true,
                Value::String(text) => text.trim().replace('_', "").parse::<f64>().is_ok(),
                _ => false,
            },
            Self::Bool => match value {
                Value::Bool(_) => true,
                Value::Number(number) => matches!(number.as_f64(), Some(0.0 | 1.0)),
                Value::String(text) => is_bool(text),
                _ => false,
            },
            Self::Text => !value.is_null(),
            Self::List => value.is_array() || is_between(value, '[', ']'),
            Self::Dict => value.is_object() || is_between(value, '{', '}'),
            Self::OneOf(choices) => choices.iter().any(|choice| plain(choice) == plain(value)),
            Self::Union(hints) => hints.iter().any(|hint| hint.accepts(value)),
        }
    }
}

fn last_name(expression: &Expr) -> Option<&str> {
    match expression {
        Expr::Name(name) => Some(name.id.as_str()),
        Expr::Attribute(attribute) => Some(attribute.attr.as_str()),
        _ => None,
    }
}

/// The values of a `Literal`; [`Hint::Any`] where one of them is not plain.
fn literals(parts: &[&Expr]) -> Hint {
    let values = parts.iter().map(|part| match part {
        Expr::StringLiteral(text) => Some(Value::from(text.value.to_str())),
        Expr::BooleanLiteral(literal) => Some(Value::from(literal.value)),
        Expr::NoneLiteral(_) => Some(Value::Null),
        Expr::NumberLiteral(literal) => literal.value.as_int().and_then(|int| int.as_i64()).map(Value::from),
        _ => None,
    });
    values.collect::<Option<Vec<_>>>().map_or(Hint::Any, Hint::OneOf)
}

/// A value as people type it, so that `3` and `"3"` are the same.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        other => other.to_string(),
    }
    .to_lowercase()
}

fn is_int(text: &str) -> bool {
    let text = text.trim().replace('_', "");
    let digits = text.strip_prefix(['-', '+']).unwrap_or(&text);
    let whole = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    whole || text.parse::<f64>().is_ok_and(|number| number.fract() == 0.0)
}

fn is_bool(text: &str) -> bool {
    let text = text.trim().to_ascii_lowercase();
    matches!(
        text.as_str(),
        "true" | "false" | "1" | "0" | "yes" | "no" | "y" | "n" | "on" | "off" | "t" | "f"
    )
}

fn is_between(value: &Value, open: char, close: char) -> bool {
    value.as_str().map(str::trim).is_some_and(|text| text.starts_with(open) && text.ends_with(close))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn accepts_what_can_be_converted() {
        for (hint, value) in [
            ("int", json!("3")),
            ("int", json!(" -1_000 ")),
            ("int", json!(3.0)),
            ("int", json!("123456789012345678901234567890")),
            ("float", json!(3)),
            ("float", json!("1e-3")),
            ("float", json!("inf")),
            ("bool", json!("True")),
            ("bool", json!(0)),
            ("str", json!({"a": 1})),
            ("list[int]", json!("[1, 2]")),
            ("typing.List[str]", json!([])),
            ("Dict[str, Any]", json!("{\"a\": 1}")),
            ("Optional[int]", json!(null)),
            ("int | None", json!(null)),
            ("Union[int,\n  str]", json!("abc")),
            ("'int'", json!(1)),
            ("Annotated[int, Field(gt=0)]", json!(1)),
            ("Literal['a', 'b']", json!("b")),
            ("Literal[1, 2]", json!("2")),
            ("Literal[True]", json!(true)),
            ("pd.DataFrame", json!("path.csv")),
            ("Path", json!("x")),
            ("tuple[int, int]", json!([1, 2])),
            ("T[", json!([1, 2])),
        ] {
            assert!(Hint::read(hint).accepts(&value), "{hint} should accept {value}");
        }
    }

    #[test]
    fn refuses_what_cannot() {
        for (hint, value) in [
            ("int", json!("abc")),
            ("int", json!("")),
            ("int", json!(3.5)),
            ("int", json!(null)),
            ("int", json!([1])),
            ("float", json!("abc")),
            ("float", json!({})),
            ("bool", json!("maybe")),
            ("bool", json!(7)),
            ("str", json!(null)),
            ("list", json!("abc")),
            ("list[int]", json!({"a": 1})),
            ("dict", json!([1])),
            ("Optional[int]", json!("abc")),
            ("int | None", json!("abc")),
            ("\"Optional[int]\"", json!("abc")),
            ("Annotated[int, 'x']", json!("abc")),
            ("Literal['a', 'b']", json!("c")),
        ] {
            assert!(!Hint::read(hint).accepts(&value), "{hint} should refuse {value}");
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let deep = format!("{}int{}", "Optional[".repeat(100), "]".repeat(100));
        assert!(Hint::read(&deep).accepts(&json!("abc")));
    }
}
