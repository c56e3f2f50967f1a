//! Quantities of resources, read and compared as Kubernetes does.

use std::{fmt, str::FromStr};

use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;

use crate::{Error, ErrorKind};

/// A quantity of a resource: `500m`, `2`, `1.5Gi`, `1e9`. Exact to a billionth, not negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Quantity {
    /// Billionths.
    nanos: i128,
}

const NANO: i128 = 1_000_000_000;
/// Kubernetes keeps no more than this.
const MAX: i128 = i64::MAX as i128 * NANO;

impl Quantity {
    /// The whole units, such as bytes, rounded up.
    pub fn units(self) -> u64 {
        // At most `i64::MAX`.
        u64::try_from(div_up(self.nanos, NANO)).unwrap_or(u64::MAX)
    }

    /// The thousandths, such as of a CPU, rounded up.
    pub fn millis(self) -> u64 {
        u64::try_from(div_up(self.nanos, NANO / 1000)).unwrap_or(u64::MAX)
    }

    /// Whether it is a whole number of units.
    pub fn is_whole(self) -> bool {
        self.nanos % NANO == 0
    }

    /// Both together, at most as much as Kubernetes keeps.
    #[must_use]
    pub fn saturating_add(self, other: Self) -> Self {
        Self { nanos: self.nanos.saturating_add(other.nanos).min(MAX) }
    }

    /// Whether it is nothing.
    pub fn is_zero(self) -> bool {
        self.nanos == 0
    }
}

fn div_up(value: i128, by: i128) -> i128 {
    value / by + i128::from(value % by != 0)
}

/// How much a suffix stands for.
enum Scale {
    /// A power of ten.
    Ten(i32),
    /// A power of 1024.
    Binary(u32),
}

impl FromStr for Quantity {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = || wrong(text);
        let (negative, number) = match text.strip_prefix(['-', '+']) {
            Some(rest) => (text.starts_with('-'), rest),
            None => (false, text),
        };
        let end = number.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(number.len());
        let (number, suffix) = number.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
            return Err(wrong());
        }
        let nanos = scale(whole, fraction, &scale_of(suffix).ok_or_else(wrong)?).ok_or_else(|| {
            Error::new(ErrorKind::Invalid, format!("{text:?} is too large"))
                .help("at most 8E (exa) or 8Ei less one")
        })?;
        if negative && nanos != 0 {
            let positive = text.trim_start_matches('-');
            return Err(Error::new(ErrorKind::Invalid, format!("{text:?} is negative"))
                .help(format!("write {positive}")));
        }
        Ok(Self { nanos })
    }
}

impl TryFrom<&Text> for Quantity {
    type Error = Error;

    fn try_from(text: &Text) -> Result<Self, Error> {
        text.0.parse()
    }
}

/// Whole numbers without a suffix, thousandths with `m`, billionths with `n`.
impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.nanos {
            nanos if nanos % NANO == 0 => write!(f, "{}", nanos / NANO),
            nanos if nanos % (NANO / 1000) == 0 => write!(f, "{}m", nanos / (NANO / 1000)),
            nanos => write!(f, "{nanos}n"),
        }
    }
}

fn scale_of(suffix: &str) -> Option<Scale> {
    let ten = Scale::Ten;
    Some(match suffix {
        "" => ten(0),
        "n" => ten(-9),
        "u" => ten(-6),
        "m" => ten(-3),
        "k" => ten(3),
        "M" => ten(6),
        "G" => ten(9),
        "T" => ten(12),
        "P" => ten(15),
        "E" => ten(18),
        "Ki" => Scale::Binary(1),
        "Mi" => Scale::Binary(2),
        "Gi" => Scale::Binary(3),
        "Ti" => Scale::Binary(4),
        "Pi" => Scale::Binary(5),
        "Ei" => Scale::Binary(6),
        // Signs are allowed, but one alone is no number; the limit keeps what follows small.
        _ => {
            let exponent = suffix.strip_prefix(['e', 'E'])?;
            let digits = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
            if digits.is_empty() || digits.len() > 6 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                return None;
            }
            ten(exponent.parse().ok()?)
        }
    })
}

/// Billionths, rounded up; `None` where that is more than Kubernetes keeps.
fn scale(whole: &str, fraction: &str, scale: &Scale) -> Option<i128> {
    let fraction = fraction.trim_end_matches('0');
    let whole = whole.trim_start_matches('0');
    let nanos = match scale {
        Scale::Ten(exponent) => {
            let digits = [whole, fraction].concat();
            let digits = digits.trim_start_matches('0');
            shift(digits, i64::from(*exponent) + 9 - i64::try_from(fraction.len()).ok()?)?
        }
        Scale::Binary(power) => {
            let factor = 1i128 << (10 * power);
            integer(whole)?
                .checked_mul(factor)?
                .checked_mul(NANO)?
                .checked_add(binary_part(fraction, factor)?)?
        }
    };
    Some(nanos).filter(|nanos| *nanos <= MAX)
}

/// Digits times a power of ten, rounded up.
fn shift(digits: &str, exponent: i64) -> Option<i128> {
    if digits.is_empty() {
        return Some(0);
    }
    if let Ok(places) = u32::try_from(exponent) {
        return integer(digits)?.checked_mul(10i128.checked_pow(places)?);
    }
    let kept = usize::try_from(i64::try_from(digits.len()).ok()? + exponent).unwrap_or(0);
    let (kept, dropped) = digits.split_at(kept);
    Some(integer(kept)? + i128::from(dropped.bytes().any(|digit| digit != b'0')))
}

/// The part behind the point times a power of two, in billionths, rounded up; exact for any number of digits.
fn binary_part(fraction: &str, factor: i128) -> Option<i128> {
    let scale = factor.checked_mul(NANO)?;
    // From the last digit to the first, a tenth of the sum each time; what is cut off only says that there is more.
    let (mut part, mut more) = (0, false);
    for digit in fraction.bytes().rev() {
        let sum = i128::from(digit.checked_sub(b'0')?) * scale + part;
        part = sum / 10;
        more |= sum % 10 != 0;
    }
    Some(part + i128::from(more))
}

fn integer(digits: &str) -> Option<i128> {
    if digits.is_empty() { Some(0) } else { digits.parse().ok() }
}

fn wrong(text: &str) -> Error {
    let error = Error::new(ErrorKind::Invalid, format!("{text:?} is not a quantity"));
    // What was meant may be more than there can be.
    let reads = |meant: &String| meant.split(" or ").all(|one| one.parse::<Quantity>().is_ok());
    error.help(match meant(text).filter(reads) {
        Some(meant) => format!("write {meant}"),
        None => "write a number with or without a suffix: 500m, 2, 512Mi, 1Gi or 1G".to_owned(),
    })
}

/// What somebody probably meant: `1Gi or 1G` for `1 GB`.
fn meant(text: &str) -> Option<String> {
    let text = text.trim().replace(',', ".").replace(['_', ' '], "");
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    number.parse::<f64>().ok()?;
    let unit = unit.to_ascii_lowercase();
    let letter = match unit.trim_end_matches("bytes").trim_end_matches("byte").trim_end_matches('b') {
        "" => return Some(number.to_owned()),
        "kilo" | "k" => "K",
        "mega" | "m" | "meg" => "M",
        "giga" | "g" | "gig" => "G",
        "tera" | "t" => "T",
        "peta" | "p" => "P",
        "exa" | "e" => "E",
        binary if binary.len() == 2 && binary.ends_with('i') && "kmgtpe".contains(&binary[..1]) => {
            return Some(format!("{number}{}i", binary[..1].to_ascii_uppercase()));
        }
        "mcpu" | "millicpu" | "millicore" | "millicores" => return Some(format!("{number}m")),
        "cpu" | "cpus" | "core" | "cores" => return Some(number.to_owned()),
        _ => return None,
    };
    let decimal = if letter == "K" { "k" } else { letter };
    Some(format!("{number}{letter}i or {number}{decimal}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn nanos(text: &str) -> i128 {
        text.parse::<Quantity>().unwrap_or_else(|error| panic!("{error}")).nanos
    }

    #[test]
    fn every_form_of_kubernetes() {
        let cases: [(&str, i128); 26] = [
            ("0", 0),
            ("-0", 0),
            ("2", 2 * NANO),
            ("+2", 2 * NANO),
            ("5.", 5 * NANO),
            (".5", NANO / 2),
            ("500m", NANO / 2),
            ("1n", 1),
            ("1u", 1000),
            ("0.1n", 1),
            ("1.5Gi", 3 * NANO * (1 << 29)),
            ("0.1Ki", 102_400_000_000),
            ("1k", 1000 * NANO),
            ("1E", 1_000_000_000_000_000_000 * NANO),
            ("1E3", 1000 * NANO),
            ("1e9", 1_000_000_000 * NANO),
            ("1e-3", NANO / 1000),
            ("1.25e+2", 125 * NANO),
            ("0e999999", 0),
            ("1e-999999", 1),
            ("00012Mi", 12 * NANO * (1 << 20)),
            ("1.000000000000000000000000000000000000000001", NANO + 1),
            ("9223372036854775807", MAX),
            ("7Ei", 7 * NANO * (1 << 60)),
            ("0.0000000001000000018Ti", 109_951_164_757),
            ("0.99999999999999999999Ki", 1024 * NANO),
        ];
        for (text, expected) in cases {
            assert_eq!(nanos(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_says_what_is_right() {
        for (text, help) in [
            ("1 GB", "write 1Gi or 1G"),
            ("1gb", "write 1Gi or 1G"),
            ("512mb", "write 512Mi or 512M"),
            ("1GiB", "write 1Gi"),
            ("64KB", "write 64Ki or 64k"),
            ("1K", "write 1Ki or 1k"),
            ("1,5Gi", "write 1.5Gi"),
            (" 2", "write 2"),
            ("2 cores", "write 2"),
            ("100 MCPU", "write 100m"),
            ("-1Gi", "write 1Gi"),
        ] {
            assert_eq!(text.parse::<Quantity>().unwrap_err().help_text(), Some(help), "{text}");
        }
        let error = "9000000000000000000000 GB".parse::<Quantity>().unwrap_err();
        assert!(error.help_text().unwrap().contains("500m"), "{error}");
        for text in [
            "",
            ".",
            "-",
            "much",
            "1.2.3",
            "1e",
            "1e+",
            "1e5.5",
            "Gi",
            "1Gi1",
            "١",
            "1é",
            "\u{0}",
            "1e9999999",
            "8Ei",
            "1e30",
        ] {
            assert!(text.parse::<Quantity>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn rounds_up() {
        let quantity: Quantity = "1500m".parse().unwrap();
        assert_eq!((quantity.units(), quantity.millis(), quantity.is_whole()), (2, 1500, false));
        assert_eq!("1Gi".parse::<Quantity>().unwrap().units(), 1 << 30);
        assert!("1Gi".parse::<Quantity>().unwrap() > "1G".parse().unwrap());
        assert_eq!("0.1".parse::<Quantity>().unwrap(), "100m".parse().unwrap());
    }

    proptest! {
        #[test]
        fn never_panics(text in "[-+]?[0-9.]{0,50}[a-zA-Z]{0,3}[-+]?[0-9]{0,7}|\\PC{0,12}") {
            let _ = text.parse::<Quantity>();
        }

        #[test]
        fn what_is_printed_reads_back(nanos in 0..MAX) {
            let quantity = Quantity { nanos };
            prop_assert_eq!(quantity.to_string().parse::<Quantity>().unwrap(), quantity);
        }

        #[test]
        fn a_unit_is_a_thousand_of_the_smaller(number in 0u32..1_000_000) {
            prop_assert_eq!(nanos(&format!("{number}000m")), nanos(&number.to_string()));
            prop_assert_eq!(nanos(&format!("{}Ki", u64::from(number) * 1024)), nanos(&format!("{number}Mi")));
            prop_assert_eq!(nanos(&format!("{number}e3")), nanos(&format!("{number}k")));
        }
    }
}
