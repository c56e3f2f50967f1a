//! Frames between the target and a template: four bytes of length, big-endian, then JSON. Open files travel along.

use std::{
    io::{self, IoSlice},
    mem::MaybeUninit,
    os::fd::BorrowedFd,
};

use runtime_core::serde_json::{self, Value};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use serde::Serialize;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, Interest},
    net::unix::{OwnedReadHalf, OwnedWriteHalf},
};

/// A frame from a template is a line or two; anything larger is not one.
const LARGEST: u32 = 16 * 1024 * 1024;

/// Sends a frame, with these open files.
pub(super) async fn send(
    socket: &mut OwnedWriteHalf,
    frame: &impl Serialize,
    files: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let body = serde_json::to_vec(frame)?;
    let length = u32::try_from(body.len()).map_err(io::Error::other)?;
    let bytes = [&length.to_be_bytes()[..], &body].concat();
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

/// The next frame; `None` at the end.
pub(super) async fn receive(socket: &mut OwnedReadHalf) -> io::Result<Option<Value>> {
    let mut length = [0; 4];
    match socket.read_exact(&mut length).await {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let length = u32::from_be_bytes(length);
    if length > LARGEST {
        return Err(io::Error::other("a frame of that length is none"));
    }
    let mut body = vec![0; length as usize];
    socket.read_exact(&mut body).await?;
    Ok(Some(serde_json::from_slice(&body)?))
}
