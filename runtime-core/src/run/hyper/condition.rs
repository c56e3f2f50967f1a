//! Conditions over results, such as `accuracy > 0.9 and loss <= 0.1`: read by a parser of its own, never run as code.

mod parse;

use std::{collections::BTreeSet, str::FromStr};

use serde_json::{Map, Value};

use crate::Error;

/// A condition over the results of a run: comparisons of results, numbers and texts, joined by `and`, `or`, `not`,
/// with `+ - * /` and brackets. A name in back quotes may have any character.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    text: String,
    root: Expression,
}

#[derive(Clone, Debug, PartialEq)]
enum Expression {
    Number(f64),
    Text(String),
    Truth(bool),
    Result(String),
    Negative(Box<Expression>),
    Arithmetic(Box<Expression>, char, Box<Expression>),
    /// `a < b <= c` holds where each of its comparisons does.
    Comparison(Box<Expression>, Vec<(Comparison, Expression)>),
    Not(Box<Expression>),
    And(Vec<Expression>),
    Or(Vec<Expression>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Equal,
    NotEqual,
}

/// What an expression comes to. What cannot be known is `None`.
#[derive(Clone, Debug, PartialEq)]
enum Outcome {
    Number(f64),
    Text(String),
    Truth(bool),
}

impl Condition {
    /// Whether it holds for these results. What names a result that is not there, or compares what cannot be
    /// compared, does not hold; neither does its opposite.
    pub fn holds(&self, results: &Map<String, Value>) -> bool {
        self.root.evaluate(results).and_then(truth).unwrap_or(false)
    }

    /// The results that it names.
    pub fn names(&self) -> BTreeSet<&str> {
        let mut names = BTreeSet::new();
        self.root.collect(&mut names);
        names
    }

    /// The text that it was read from.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl FromStr for Condition {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let root = parse::parse(text)?;
        Ok(Self { text: text.trim().to_owned(), root })
    }
}

impl Expression {
    fn evaluate(&self, results: &Map<String, Value>) -> Option<Outcome> {
        match self {
            Self::Number(number) => Some(Outcome::Number(*number)),
            Self::Text(text) => Some(Outcome::Text(text.clone())),
            Self::Truth(truth) => Some(Outcome::Truth(*truth)),
            Self::Result(name) => match results.get(name)? {
                Value::Bool(truth) => Some(Outcome::Truth(*truth)),
                Value::Number(number) => number.as_f64().map(Outcome::Number),
                Value::String(text) => Some(Outcome::Text(text.clone())),
                _ => None,
            },
            Self::Negative(inner) => number(inner.evaluate(results)?).map(|number| Outcome::Number(-number)),
            Self::Arithmetic(left, operator, right) => {
                let (left, right) = (number(left.evaluate(results)?)?, number(right.evaluate(results)?)?);
                Some(Outcome::Number(match operator {
                    '+' => left + right,
                    '-' => left - right,
                    '*' => left * right,
                    _ => left / right,
                }))
            }
            Self::Comparison(first, rest) => {
                let mut left = first.evaluate(results)?;
                for (comparison, right) in rest {
                    let right = right.evaluate(results)?;
                    if !compare(&left, *comparison, &right)? {
                        return Some(Outcome::Truth(false));
                    }
                    left = right;
                }
                Some(Outcome::Truth(true))
            }
            Self::Not(inner) => inner.evaluate(results).and_then(truth).map(|truth| Outcome::Truth(!truth)),
            Self::And(parts) => joined(parts, results, false),
            Self::Or(parts) => joined(parts, results, true),
        }
    }

    fn collect<'a>(&'a self, names: &mut BTreeSet<&'a str>) {
        match self {
            Self::Result(name) => drop(names.insert(name)),
            Self::Number(_) | Self::Text(_) | Self::Truth(_) => {}
            Self::Negative(inner) | Self::Not(inner) => inner.collect(names),
            Self::Arithmetic(left, _, right) => {
                left.collect(names);
                right.collect(names);
            }
            Self::Comparison(first, rest) => {
                first.collect(names);
                rest.iter().for_each(|(_, part)| part.collect(names));
            }
            Self::And(parts) | Self::Or(parts) => parts.iter().for_each(|part| part.collect(names)),
        }
    }
}

/// `or` where one true part decides, `and` where one false part does. A part that is not known decides nothing.
fn joined(parts: &[Expression], results: &Map<String, Value>, decides: bool) -> Option<Outcome> {
    let mut known = true;
    for part in parts {
        match part.evaluate(results).and_then(truth) {
            Some(truth) if truth == decides => return Some(Outcome::Truth(decides)),
            Some(_) => {}
            None => known = false,
        }
    }
    known.then_some(Outcome::Truth(!decides))
}

fn compare(left: &Outcome, comparison: Comparison, right: &Outcome) -> Option<bool> {
    use std::cmp::Ordering;
    let order = match (left, right) {
        (Outcome::Text(left), Outcome::Text(right)) => Some(left.cmp(right)),
        (Outcome::Text(_), _) | (_, Outcome::Text(_)) => None,
        _ => number(left.clone())?.partial_cmp(&number(right.clone())?),
    };
    Some(match (comparison, order) {
        (Comparison::Equal, order) => order == Some(Ordering::Equal),
        (Comparison::NotEqual, order) => order != Some(Ordering::Equal),
        (_, None) => return None,
        (Comparison::Less, Some(order)) => order == Ordering::Less,
        (Comparison::LessOrEqual, Some(order)) => order != Ordering::Greater,
        (Comparison::Greater, Some(order)) => order == Ordering::Greater,
        (Comparison::GreaterOrEqual, Some(order)) => order != Ordering::Less,
    })
}

fn number(outcome: Outcome) -> Option<f64> {
    match outcome {
        Outcome::Number(number) => Some(number),
        Outcome::Truth(truth) => Some(f64::from(u8::from(truth))),
        Outcome::Text(_) => None,
    }
}

/// As in Python: 0 and an empty text are false.
fn truth(outcome: Outcome) -> Option<bool> {
    Some(match outcome {
        Outcome::Truth(truth) => truth,
        Outcome::Number(number) => number != 0.0,
        Outcome::Text(text) => !text.is_empty(),
    })
}
