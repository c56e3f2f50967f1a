//! Building an environment: once, whole or not at all.

use std::{
    fs, io,
    io::Write as _,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::SystemTime,
};

use jiff::Timestamp;
use runtime_core::{Error, ErrorKind, Result, plan::PythonEnvironment};

use super::{
    Environment, Environments, Key, MARKER, Progress, child,
    failure::{explain, mask},
    known::write_atomically,
    lock::Hold,
    lock_path,
    shelf::{Marker, size_of},
    tool::{self, Tool},
    verdict, verdict_path,
};

impl Environments {
    /// The environment: as it is where it is ready, else built now. However many ask at once, in whichever
    /// processes, one builds it and the others wait. A build that is dropped or killed on its way leaves nothing
    /// that would be taken for an environment.
    ///
    /// # Errors
    /// `Environment` where packages could not be installed, with the requirement and what the installer said;
    /// otherwise as [`Self::check`], or when the disk refuses.
    pub async fn build(
        &self,
        wanted: &PythonEnvironment,
        progress: impl Fn(Progress) + Send + Sync,
    ) -> Result<Environment> {
        let (this, asked) = (self.clone(), wanted.clone());
        let key = blocking(move || this.key(&asked)).await?;
        if let Some(environment) = self.ready(&key) {
            return Ok(environment);
        }
        let envs = self.envs();
        let mut builder = fs::DirBuilder::new();
        builder
            .recursive(true)
            .mode(0o755)
            .create(&envs)
            .map_err(|source| Error::io("create the folder for environments", &envs, source))?;
        let dir = envs.join(&key.hash);
        let lock = lock_path(&dir);
        let hold = match Hold::try_alone(&lock, true)? {
            Some(hold) => hold,
            None => {
                let since = SystemTime::now();
                progress(Progress::Step { what: "waiting for another build of this environment".to_owned() });
                let hold = Hold::alone(&lock).await?;
                if let Some(error) = verdict::after(&verdict_path(&dir), since) {
                    return Err(error);
                }
                hold
            }
        };
        if let Some(environment) = self.ready(&key) {
            return Ok(environment);
        }
        let built = self.make(&key, &dir, &hold, &progress).await;
        if let Err(error) = &built {
            drop(remove(dir.clone()).await);
            verdict::leave(&verdict_path(&dir), error);
            drop(fs::remove_file(&lock));
        }
        built?;
        self.ready(&key).ok_or_else(|| Error::internal("an environment is gone right after it was built"))
    }

    async fn make(
        &self,
        key: &Key,
        dir: &Path,
        hold: &Hold,
        progress: &(impl Fn(Progress) + Send + Sync),
    ) -> Result<()> {
        // What is there without a marker was left by a build that was killed.
        remove(dir.to_owned()).await?;
        drop(fs::remove_file(verdict_path(dir)));
        let tool = match Tool::uv() {
            Some(tool) => tool,
            None => {
                Tool::pip(&child::run(tool::pip_version(&key.interpreter), hold, same, &|_| ()).await?.lines)
            }
        };
        let lines = &key.requirements.lines;
        let python = format!("Python {}", key.interpreter);
        progress(Progress::Step {
            what: format!("creating an environment on {python} with {}", tool.name()),
        });
        let created = child::run(tool.create(&key.interpreter, dir), hold, same, progress).await?;
        if !created.status.success() {
            return Err(explain("the virtual environment could not be created", &created.lines, &[]));
        }
        progress(Progress::Step { what: format!("installing {}", summary(lines)) });
        let file = dir.join("requirements.txt");
        write_private(&file, &lines.join("\n")).map_err(|source| Error::io("write", &file, source))?;
        let mut install = tool.install(&key.interpreter, dir, &file, self.base.as_deref());
        if let Tool::Uv(_) = tool {
            // Without pip there is nothing to be read, and that is no error.
            let asked = child::run(tool::pip_configuration(&key.interpreter), hold, same, &|_| ()).await?;
            install.envs(tool::for_uv(&asked.lines));
        }
        let installed = child::run(install, hold, |line| without_file(&line, &file, lines), progress).await?;
        if !installed.status.success() {
            return Err(explain("the packages could not be installed", &installed.lines, lines));
        }
        drop(fs::remove_file(&file));
        let (key_interpreter, tool, dir) = (key.interpreter.clone(), tool.name(), dir.to_owned());
        let requirements = lines.iter().map(|line| mask(line)).collect();
        blocking(move || {
            // On the disk before it is said to be there: thousands of files are best written out together.
            #[cfg(target_os = "linux")]
            fs::File::open(&dir)
                .and_then(|dir| rustix::fs::syncfs(dir).map_err(io::Error::from))
                .map_err(|source| Error::io("write", &dir, source))?;
            let (created, size) = (Timestamp::now(), size_of(&dir));
            let marker =
                Marker { requirements, interpreter: key_interpreter, tool: tool.to_owned(), created, size };
            let file = dir.join(MARKER);
            let text = serde_json::to_vec_pretty(&marker).map_err(io::Error::from);
            text.and_then(|text| write_atomically(&file, &text))
                .map_err(|source| Error::io("write", &file, source))
        })
        .await
    }
}

/// The requirements may hold credentials of an index: nobody else reads them, and the file goes after the install.
fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.write_all(b"\n")
}

async fn remove(dir: PathBuf) -> Result<()> {
    blocking(move || super::shelf::remove_tree(&dir)).await
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|source| {
        Error::new(ErrorKind::Internal, "a task on environments did not end").source(source)
    })?
}

fn same(line: String) -> String {
    line
}

/// pip names requirements by lines of our file, which nobody knows: what stands there is put instead.
fn without_file(line: &str, file: &Path, lines: &[String]) -> String {
    let mut text = line.to_owned();
    let file = file.display();
    if !text.contains(&file.to_string()) {
        return text;
    }
    for (index, requirement) in lines.iter().enumerate() {
        let here = format!("-r {file} (line {})", index + 1);
        text = text.replace(&format!(" (from {here})"), "").replace(&format!("->{here}"), "");
        text = text
            .replace(&here, &mask(requirement))
            .replace(&format!(" (from line {} of {file})", index + 1), "");
    }
    text
}

/// Some requirements, for people.
fn summary(lines: &[String]) -> String {
    const NAMED: usize = 5;
    let named: Vec<String> = lines.iter().take(NAMED).map(|line| mask(line)).collect();
    match lines.len().saturating_sub(NAMED) {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_file_is_not_shown() {
        let lines = ["a==1".to_owned(), "b @ https://me:pass@h/b.whl".to_owned()];
        for (said, shown) in [
            ("Collecting a==1 (from -r /e/r.txt (line 1))", "Collecting a==1"),
            ("Collecting c (from a==1->-r /e/r.txt (line 1))", "Collecting c (from a==1)"),
            (
                "Cannot install -r /e/r.txt (line 2) and a==1",
                "Cannot install b @ https://***@h/b.whl and a==1",
            ),
            ("Invalid requirement: 'a=1' (from line 1 of /e/r.txt)", "Invalid requirement: 'a=1'"),
            ("-r /other/r.txt (line 1)", "-r /other/r.txt (line 1)"),
        ] {
            assert_eq!(without_file(said, Path::new("/e/r.txt"), &lines), shown);
        }
    }
}
