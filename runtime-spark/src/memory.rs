//! Memory as Java's options and Kubernetes' quantities have it.

use runtime_core::{Error, Result, pod::Quantity};

/// Less than this, and Spark refuses to begin: 1.5 times what it reserves for itself.
const LEAST: u64 = 450;

const MEBIBYTE: u64 = 1 << 20;

/// Memory of Java, in mebibytes, of `512m` or `2g` as Java has it, or of `2Gi` as Kubernetes does.
///
/// # Errors
/// `Invalid`, at `place`, where it is neither.
pub(crate) fn mebibytes(text: &str, place: &str) -> Result<u64> {
    let java = [("k", 1_u64 << 10), ("m", 1 << 20), ("g", 1 << 30), ("t", 1 << 40)];
    let lower = text.strip_suffix('b').unwrap_or(text);
    let amount = java.iter().find_map(|(unit, bytes)| {
        let number: u64 = lower.strip_suffix(unit)?.parse().ok()?;
        number.checked_mul(*bytes)
    });
    let bytes = match amount {
        Some(bytes) => bytes,
        None => text.parse::<Quantity>().map(Quantity::units).map_err(|_| {
            Error::invalid(place, format!("{text:?} is no amount of memory"))
                .help("a number and a unit: 512m or 2g as Java has it, 2Gi as Kubernetes does")
        })?,
    };
    Ok(bytes / MEBIBYTE)
}

/// The same for the memory that Spark's own Java begins with.
///
/// # Errors
/// `Invalid`, at `place`, where it is no memory, or too little.
pub(crate) fn heap(text: &str, place: &str) -> Result<u64> {
    let amount = mebibytes(text, place)?;
    if amount < LEAST {
        return Err(Error::invalid(place, format!("{text:?} is less than Spark begins with, {LEAST}m"))
            .help("1g is what it takes where nothing is said"));
    }
    Ok(amount)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_to_write_it() {
        for (text, amount) in [
            ("512m", 512),
            ("2g", 2048),
            ("2gb", 2048),
            ("1t", 1 << 20),
            ("2Gi", 2048),
            ("1073741824", 1024),
            ("2G", 1907),
        ] {
            assert_eq!(mebibytes(text, "x").unwrap(), amount, "{text}");
        }
        for text in ["", "g", "1.5g", "-1g", "many"] {
            let error = mebibytes(text, "spec.driver_resources.requests.memory").unwrap_err();
            assert_eq!(error.location(), Some("spec.driver_resources.requests.memory"), "{text}");
        }
        assert!(heap("400m", "x").unwrap_err().message().contains("450m"));
    }
}
