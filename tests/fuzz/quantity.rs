//! Quantities of resources: one a line.

use runtimes::core::pod::Quantity;

/// What reads is printed and reads back, is as large as its digits and suffix say, and is compared so.
pub(crate) fn check(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let mut read: Vec<(&str, Quantity)> = Vec::new();
    for line in text.split('\n').take(8) {
        match line.parse::<Quantity>() {
            Ok(quantity) => {
                is_as_written(line, quantity);
                read.push((line, quantity));
            }
            Err(error) => {
                super::is_readable(&error);
                suggests_what_reads(error.help_text().unwrap());
            }
        }
    }
    for (text, one) in &read {
        for (other_text, other) in &read {
            let (a, b) = (one.to_string(), other.to_string());
            assert_eq!(one.cmp(other), other.cmp(one).reverse(), "{text} {other_text}");
            assert_eq!(one == other, a == b, "{text} {other_text}");
            let (left, right) = (value(text), value(other_text));
            // Where a float can tell them apart.
            if (left - right).abs() > 1e-9 * left.abs().max(right.abs()) + 2e-9 {
                assert_eq!(one < other, left < right, "{text} {other_text}");
            }
        }
    }
}

fn is_as_written(text: &str, quantity: Quantity) {
    let shown = quantity.to_string();
    assert_eq!(shown.parse::<Quantity>().unwrap(), quantity, "{text} is shown as {shown}");
    let (written, read) = (value(text), value(&shown));
    // Rounded up to a billionth.
    let close = (written - read).abs() <= 1e-9 * written.abs() + 2e-9;
    assert!(close, "{text:?} is {written}, and is read as {read}");
    assert_eq!(quantity.is_zero(), shown == "0");
    assert!(quantity.units() as f64 + 1e-9 * read >= read.floor(), "{text}");
    assert!(quantity.is_zero() || (quantity.units() >= 1 && quantity.millis() >= 1), "{text}");
    if quantity.units() < 1 << 50 {
        assert_eq!(quantity.millis().div_ceil(1000), quantity.units(), "{text}");
    }
}

/// As a float: digits, and what the suffix stands for.
fn value(text: &str) -> f64 {
    let end = text.find(|c: char| !c.is_ascii_digit() && !matches!(c, '.' | '+' | '-')).unwrap_or(text.len());
    let (digits, suffix) = text.split_at(end);
    let scale = match suffix {
        "" => return digits.parse().unwrap(),
        "n" => 1e-9,
        "u" => 1e-6,
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "P" => 1e15,
        "E" => 1e18,
        "Ki" => 1024.0,
        "Mi" => 1024f64.powi(2),
        "Gi" => 1024f64.powi(3),
        "Ti" => 1024f64.powi(4),
        "Pi" => 1024f64.powi(5),
        "Ei" => 1024f64.powi(6),
        _ => return text.parse().unwrap(),
    };
    digits.parse::<f64>().unwrap() * scale
}

/// What an error says would be right is.
fn suggests_what_reads(help: &str) {
    let Some(suggested) = help.strip_prefix("write ").filter(|rest| !rest.starts_with("a number")) else {
        return;
    };
    for suggestion in suggested.split(" or ") {
        suggestion.parse::<Quantity>().unwrap_or_else(|error| panic!("suggested {suggestion:?}: {error}"));
    }
}
