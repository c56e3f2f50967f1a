//! A pipe that all processes of a run hold: it ends when the last of them is gone, whoever started it.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::Command,
};

use tokio::sync::mpsc;

use super::{Suite, soon};

/// The reading end of a pipe with a name.
pub(super) struct Witness {
    path: PathBuf,
    lines: mpsc::UnboundedReceiver<String>,
}

impl Witness {
    pub(super) fn new(suite: &Suite<'_>) -> Self {
        let path = suite.path("witness");
        let made = Command::new("mkfifo").arg(&path).status();
        assert!(made.as_ref().is_ok_and(|status| status.success()), "mkfifo {}: {made:?}", path.display());
        let (sender, lines) = mpsc::unbounded_channel();
        let own = path.clone();
        // A thread of its own: it waits for a writer that, where the target fails, never comes.
        std::thread::spawn(move || {
            let Ok(file) = std::fs::File::open(&own) else { return };
            let mut reader = BufReader::new(file);
            let mut line = String::new();
            while reader.read_line(&mut line).is_ok_and(|count| count > 0) {
                let _ = sender.send(line.trim_end().to_owned());
                line.clear();
            }
        });
        Self { path, lines }
    }

    /// A line of shell: from here on the script, and whatever it starts, holds the pipe as descriptor 9.
    pub(super) fn held(&self) -> String {
        format!("exec 9>'{}'\n", self.path.display())
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Waits until this was written into the pipe.
    pub(super) async fn says(&mut self, text: &str) {
        loop {
            match soon(&format!("{text:?} in the pipe"), self.lines.recv()).await {
                Some(line) if line == text => return,
                Some(_) => {}
                None => panic!("all processes are gone, and none has said {text:?}"),
            }
        }
    }

    /// Waits until nobody holds it any more; what was said meanwhile.
    pub(super) async fn deserted(mut self, what: &str) -> Vec<String> {
        let mut said = Vec::new();
        while let Some(line) =
            soon(&format!("{what}: nothing of the run may be left"), self.lines.recv()).await
        {
            said.push(line);
        }
        said
    }
}
