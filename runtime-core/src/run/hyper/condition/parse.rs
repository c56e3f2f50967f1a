//! Reading a condition: words, then a tree by recursive descent.

use super::{Comparison, Expression};
use crate::{Error, Result};

/// The longest condition that is read.
const MAX_LENGTH: usize = 4096;

/// Deeper than this nobody writes by hand.
const MAX_DEPTH: usize = 64;

const EXAMPLE: &str = "write it like `accuracy > 0.9 and loss <= 0.1`";

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Number(f64),
    Text(String),
    Name(String),
    /// `and`, `or`, `not`, an operator or a bracket.
    Sign(&'static str),
}

const SIGNS: [&str; 12] = ["<=", ">=", "==", "!=", "<", ">", "+", "-", "*", "/", "(", ")"];

pub(super) fn parse(text: &str) -> Result<Expression> {
    if text.len() > MAX_LENGTH {
        return Err(Error::invalid(
            "condition",
            format!("it has {} bytes; at most {MAX_LENGTH}", text.len()),
        ));
    }
    let mut parser = Parser { tokens: tokens(text)?, at: 0, end: text.chars().count() + 1, depth: 0 };
    if parser.tokens.is_empty() {
        return Err(Error::invalid("condition", "it is empty").help(EXAMPLE));
    }
    let root = parser.or()?;
    match parser.tokens.get(parser.at) {
        None => Ok(root),
        Some((column, token)) => Err(wrong(*column, format!("{} is not expected", named(token)))),
    }
}

fn wrong(column: usize, what: impl std::fmt::Display) -> Error {
    Error::invalid("condition", format!("column {column}: {what}")).help(EXAMPLE)
}

fn named(token: &Token) -> String {
    match token {
        Token::Number(number) => format!("the number {number}"),
        Token::Text(text) => format!("the text {text:?}"),
        Token::Name(name) => format!("the name `{name}`"),
        Token::Sign(sign) => format!("`{sign}`"),
    }
}

fn tokens(text: &str) -> Result<Vec<(usize, Token)>> {
    let chars: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(&c) = chars.get(at) {
        let column = at + 1;
        if c.is_whitespace() {
            at += 1;
            continue;
        }
        let (length, token) = match c {
            '0'..='9' | '.' => number(&chars, at)?,
            '"' | '\'' | '`' => quoted(&chars, at)?,
            c if c.is_alphabetic() || c == '_' => word(&chars, at),
            _ => sign(&chars, at)?,
        };
        at += length;
        tokens.push((column, token));
    }
    Ok(tokens)
}

fn number(chars: &[char], at: usize) -> Result<(usize, Token)> {
    let mut end = at;
    while let Some(&c) = chars.get(end) {
        let exponent = end > at && matches!(chars[end - 1], 'e' | 'E');
        let part = c.is_alphanumeric() || c == '.' || c == '_' || (exponent && matches!(c, '+' | '-'));
        if !part {
            break;
        }
        end += 1;
    }
    let text: String = chars[at..end].iter().collect();
    let digits = text.replace('_', "");
    match digits.parse::<f64>() {
        Ok(number) => Ok((end - at, Token::Number(number))),
        Err(_) => Err(wrong(at + 1, format!("{text:?} is not a number"))),
    }
}

fn quoted(chars: &[char], at: usize) -> Result<(usize, Token)> {
    let quote = chars[at];
    let Some(length) = chars[at + 1..].iter().position(|c| *c == quote) else {
        return Err(wrong(at + 1, format!("{quote} is not closed")));
    };
    let text: String = chars[at + 1..at + 1 + length].iter().collect();
    Ok((length + 2, if quote == '`' { Token::Name(text) } else { Token::Text(text) }))
}

fn word(chars: &[char], at: usize) -> (usize, Token) {
    let part = |c: &&char| c.is_alphanumeric() || matches!(c, '_' | '.');
    let word: String = chars[at..].iter().take_while(part).collect();
    let length = word.chars().count();
    let token = match word.as_str() {
        "and" => Token::Sign("and"),
        "or" => Token::Sign("or"),
        "not" => Token::Sign("not"),
        _ => Token::Name(word),
    };
    (length, token)
}

fn sign(chars: &[char], at: usize) -> Result<(usize, Token)> {
    let rest: String = chars[at..].iter().take(2).collect();
    for (wrongly, right) in [("&&", "and"), ("||", "or"), ("**", "*"), ("//", "/")] {
        if rest == wrongly {
            return Err(wrong(at + 1, format!("`{wrongly}` is not known")).help(format!("write `{right}`")));
        }
    }
    if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
        return Ok((sign.len(), Token::Sign(sign)));
    }
    let error = wrong(at + 1, format!("{:?} is not expected", chars[at]));
    Err(match chars[at] {
        '=' => error.help("write `==` to compare"),
        '!' => error.help("write `not`"),
        '≥' => error.help("write `>=`"),
        '≤' => error.help("write `<=`"),
        '≠' => error.help("write `!=`"),
        '[' | ']' | ',' | '{' | '}' => error.help(
            "results, numbers, texts, comparisons, `and`, `or`, `not`, `+ - * /` and (brackets) are known",
        ),
        _ => error,
    })
}

struct Parser {
    tokens: Vec<(usize, Token)>,
    at: usize,
    end: usize,
    depth: usize,
}

impl Parser {
    fn sign(&self) -> Option<&'static str> {
        match self.tokens.get(self.at) {
            Some((_, Token::Sign(sign))) => Some(sign),
            _ => None,
        }
    }

    fn accept(&mut self, sign: &str) -> bool {
        let found = self.sign() == Some(sign);
        self.at += usize::from(found);
        found
    }

    fn column(&self) -> usize {
        self.tokens.get(self.at).map_or(self.end, |(column, _)| *column)
    }

    fn or(&mut self) -> Result<Expression> {
        let mut parts = vec![self.and()?];
        while self.accept("or") {
            parts.push(self.and()?);
        }
        Ok(one_or(parts, Expression::Or))
    }

    fn and(&mut self) -> Result<Expression> {
        let mut parts = vec![self.not()?];
        while self.accept("and") {
            parts.push(self.not()?);
        }
        Ok(one_or(parts, Expression::And))
    }

    fn not(&mut self) -> Result<Expression> {
        if self.accept("not") {
            return self.deeper(|parser| Ok(Expression::Not(Box::new(parser.not()?))));
        }
        let first = self.sum()?;
        let mut rest = Vec::new();
        while let Some(comparison) = self.sign().and_then(comparison) {
            self.at += 1;
            rest.push((comparison, self.sum()?));
        }
        Ok(if rest.is_empty() { first } else { Expression::Comparison(Box::new(first), rest) })
    }

    fn sum(&mut self) -> Result<Expression> {
        let mut left = self.product()?;
        let mut length = 0;
        while let Some(sign @ ("+" | "-")) = self.sign() {
            left = self.operation(left, sign, &mut length, Self::product)?;
        }
        Ok(left)
    }

    fn product(&mut self) -> Result<Expression> {
        let mut left = self.operand()?;
        let mut length = 0;
        while let Some(sign @ ("*" | "/")) = self.sign() {
            left = self.operation(left, sign, &mut length, Self::operand)?;
        }
        Ok(left)
    }

    /// The tree of a long sum is as deep as the sum is long.
    fn operation(
        &mut self,
        left: Expression,
        sign: &str,
        length: &mut usize,
        right: impl Fn(&mut Self) -> Result<Expression>,
    ) -> Result<Expression> {
        *length += 1;
        if *length > MAX_DEPTH {
            return Err(wrong(self.column(), format!("more than {MAX_DEPTH} operations in a row")));
        }
        self.at += 1;
        let operator = sign.chars().next().unwrap_or('+');
        Ok(Expression::Arithmetic(Box::new(left), operator, Box::new(right(self)?)))
    }

    fn operand(&mut self) -> Result<Expression> {
        let column = self.column();
        if self.accept("-") {
            return self.deeper(|parser| Ok(Expression::Negative(Box::new(parser.operand()?))));
        }
        if self.accept("(") {
            let inner = self.deeper(Self::or)?;
            return if self.accept(")") {
                Ok(inner)
            } else {
                Err(wrong(self.column(), format!("the bracket of column {column} is not closed")))
            };
        }
        let Some((_, token)) = self.tokens.get(self.at).cloned() else {
            return Err(wrong(column, "a result, a number or a text is missing"));
        };
        self.at += 1;
        Ok(match token {
            Token::Number(number) => Expression::Number(number),
            Token::Text(text) => Expression::Text(text),
            Token::Name(name) => match name.as_str() {
                "True" | "true" => Expression::Truth(true),
                "False" | "false" => Expression::Truth(false),
                _ if self.sign() == Some("(") => {
                    return Err(wrong(column, format!("`{name}` cannot be called"))
                        .help("a condition is no code: it compares results"));
                }
                _ => Expression::Result(name),
            },
            Token::Sign(sign) => {
                return Err(wrong(
                    column,
                    format!("a result, a number or a text is expected before `{sign}`"),
                ));
            }
        })
    }

    fn deeper<T>(&mut self, inner: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(wrong(
                self.column(),
                format!("more than {MAX_DEPTH} brackets and signs in each other"),
            ));
        }
        let done = inner(self);
        self.depth -= 1;
        done
    }
}

fn one_or(mut parts: Vec<Expression>, join: impl Fn(Vec<Expression>) -> Expression) -> Expression {
    if parts.len() == 1 { parts.remove(0) } else { join(parts) }
}

fn comparison(sign: &str) -> Option<Comparison> {
    Some(match sign {
        "<" => Comparison::Less,
        "<=" => Comparison::LessOrEqual,
        ">" => Comparison::Greater,
        ">=" => Comparison::GreaterOrEqual,
        "==" => Comparison::Equal,
        "!=" => Comparison::NotEqual,
        _ => return None,
    })
}
