//! Writing to stdout and stderr where the reader may go away.

use std::io::{self, Write};

use runtimes::{Error, Result};

/// Whether somebody still reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reader {
    There,
    Gone,
}

/// Writes all of it to stdout. A reader that has gone (`| head`) is no error; a full disk is one.
pub(crate) fn stdout(bytes: &[u8]) -> Result<Reader> {
    let mut out = io::stdout().lock();
    reader(out.write_all(bytes).and_then(|()| out.flush()))
}

/// Writes all of it to stderr, as far as that is possible: there is no better place to complain.
pub(crate) fn stderr(bytes: &[u8]) {
    let _ = io::stderr().lock().write_all(bytes);
}

fn reader(written: io::Result<()>) -> Result<Reader> {
    match written {
        Ok(()) => Ok(Reader::There),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Reader::Gone),
        Err(error) => Err(Error::io("write to", "stdout", error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_left_is_no_error() {
        assert_eq!(reader(Err(io::ErrorKind::BrokenPipe.into())).unwrap(), Reader::Gone);
        assert!(reader(Err(io::ErrorKind::StorageFull.into())).is_err());
    }
}
