//! What must hold of whatever is read, one file for each kind of input. The fuzz targets in `fuzz/` ask it of inputs
//! that nobody wrote, the test `fuzz` of those that are kept there.
#![allow(dead_code, reason = "each fuzz target asks for one of them")]
#![allow(clippy::unwrap_used, clippy::panic)]

pub(crate) mod archive;
pub(crate) mod code;
pub(crate) mod function_yaml;
pub(crate) mod hub_catalogue;
pub(crate) mod param_file;
pub(crate) mod quantity;
pub(crate) mod scratch;
pub(crate) mod stop_condition;

use runtimes::{Error, ErrorKind};

/// A refusal is of use: it is the input's fault, says where, in a message that fits on a screen and cannot change
/// what the terminal shows.
#[track_caller]
pub(crate) fn is_of_use(error: &Error) {
    let shown = error.to_string();
    assert_ne!(error.kind(), ErrorKind::Internal, "{shown}");
    assert!(error.location().is_some_and(|place| !place.is_empty()), "it does not say where: {shown}");
    is_readable(error);
}

/// As [`is_of_use`], where it is clear what is meant without a place.
#[track_caller]
pub(crate) fn is_readable(error: &Error) {
    let shown = error.to_string();
    assert_ne!(error.kind(), ErrorKind::Internal, "{shown}");
    assert!(!error.message().trim().is_empty(), "it says nothing: {shown:?}");
    assert!(shown.chars().count() < 4000, "{} characters: {shown}", shown.chars().count());
    let unprintable = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    assert!(!shown.contains(unprintable), "it would change the terminal: {shown:?}");
}

/// The parts of an input: what stands between lines of `%%%`.
pub(crate) fn parts(input: &[u8]) -> Vec<&[u8]> {
    const BETWEEN: &[u8] = b"\n%%%\n";
    let (mut parts, mut rest) = (Vec::new(), input);
    while let Some(at) = rest.windows(BETWEEN.len()).position(|window| window == BETWEEN) {
        parts.push(&rest[..at]);
        rest = &rest[at + BETWEEN.len()..];
    }
    parts.push(rest);
    parts
}
