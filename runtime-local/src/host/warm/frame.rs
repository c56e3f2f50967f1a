//! Frames to a template: four bytes of length, big-endian, a letter, and what belongs to it. Open files travel along.
//! A template answers in lines.

use std::{
    io::{self, IoSlice},
    mem::MaybeUninit,
    os::{fd::BorrowedFd, unix::ffi::OsStrExt},
    path::Path,
};

use runtime_core::serde_json;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use serde::Serialize;
use tokio::{
    io::{AsyncWriteExt, Interest},
    net::unix::OwnedWriteHalf,
};

/// Load this code: the first frame.
pub(super) fn load(load: &impl Serialize) -> io::Result<Vec<u8>> {
    Ok([b"L", serde_json::to_vec(load)?.as_slice()].concat())
}

/// Forget this run, unless it has begun.
pub(super) fn cancel(id: &str) -> io::Result<Vec<u8>> {
    named(b'C', id)
}

/// Start a run. `given` says whether its handler is given anything, `spec` is what the agent knows of it; both are
/// read by the run alone.
pub(super) fn start(
    reuse: bool,
    id: &str,
    workdir: &Path,
    given: bool,
    spec: &impl Serialize,
    env: impl IntoIterator<Item = (String, String)>,
) -> io::Result<Vec<u8>> {
    let mut frame = named(if reuse { b'R' } else { b'F' }, id)?;
    frame.extend_from_slice(workdir.as_os_str().as_bytes());
    frame.extend_from_slice(if given { b"\x001\0" } else { b"\0\0" });
    serde_json::to_writer(&mut frame, spec)?;
    for (name, value) in env {
        frame.push(0);
        frame.extend_from_slice(name.as_bytes());
        frame.push(b'=');
        frame.extend_from_slice(value.as_bytes());
    }
    Ok(frame)
}

fn named(letter: u8, id: &str) -> io::Result<Vec<u8>> {
    let length = u8::try_from(id.len()).map_err(io::Error::other)?;
    Ok([&[letter, length], id.as_bytes()].concat())
}

/// Sends a frame, with these open files.
pub(super) async fn send(
    socket: &mut OwnedWriteHalf,
    frame: &[u8],
    files: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let length = u32::try_from(frame.len()).map_err(io::Error::other)?;
    let bytes = [&length.to_be_bytes()[..], frame].concat();
    let sent = if files.is_empty() {
        0
    } else {
        let stream = socket.as_ref();
        stream
            .async_io(Interest::WRITABLE, || {
                let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
                let mut control = SendAncillaryBuffer::new(&mut space);
                if !control.push(SendAncillaryMessage::ScmRights(files)) {
                    return Err(io::Error::other("too many files for one frame"));
                }
                Ok(sendmsg(stream, &[IoSlice::new(&bytes)], &mut control, SendFlags::NOSIGNAL)?)
            })
            .await?
    };
    socket.write_all(&bytes[sent..]).await
}
