//! TCP ports for the services of a run.

use std::{collections::BTreeMap, fs, net::TcpListener, path::Path};

use runtime_core::{Error, Result, serde_json};

use super::layout::write_atomically;

/// Free ports for these names; those chosen before, where `file` has them.
pub(crate) fn choose(names: &[String], file: &Path) -> Result<BTreeMap<String, u16>> {
    if let Ok(kept) = fs::read(file)
        && let Ok(ports) = serde_json::from_slice::<BTreeMap<String, u16>>(&kept)
    {
        return Ok(ports);
    }
    // All stay open until all are chosen, so that none is chosen twice.
    let listeners: Vec<_> = names
        .iter()
        .map(|_| {
            TcpListener::bind(("127.0.0.1", 0))
                .and_then(|listener| Ok((listener.local_addr()?.port(), listener)))
        })
        .collect::<std::io::Result<_>>()
        .map_err(|error| Error::io("find a free port on", "127.0.0.1", error))?;
    let ports: BTreeMap<_, _> = names.iter().cloned().zip(listeners.iter().map(|(port, _)| *port)).collect();
    let text = serde_json::to_vec(&ports)
        .map_err(|error| Error::internal("ports cannot be written").source(error))?;
    write_atomically(file, &text)?;
    Ok(ports)
}
