//! Repositories, through the program `git`: its own helpers know credentials, proxies and keys.

use std::{path::Path, process::Stdio};

use base64::{Engine, engine::general_purpose::STANDARD};
use runtime_core::{Error, ErrorKind, Result, Secret};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::Command;
use url::Url;

use super::{Progress, address::mask};

/// A repository, its credentials apart.
#[derive(Clone)]
pub(crate) struct Repository {
    /// As git reads it, without credentials.
    pub(crate) url: String,
    /// `USER:PASSWORD` from the address.
    credentials: Option<Secret>,
}

impl PartialEq for Repository {
    fn eq(&self, other: &Self) -> bool {
        self.url == other.url
    }
}

impl std::fmt::Debug for Repository {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.url)
    }
}

/// The variables by which git names the repository to its hooks.
pub(super) const OF_A_HOOK: [&str; 5] =
    ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR"];

/// What git gives as the password where an address has a token alone, as MLRun does.
const TOKEN_ALONE: &str = "x-oauth-basic";

impl Repository {
    /// The repository that an address names; `None` where it names none. `git://` is fetched by https, as MLRun does.
    ///
    /// # Errors
    /// `Invalid` where it begins as one and is none.
    pub(crate) fn parse(address: &str) -> Result<Option<Self>> {
        let wrong = |why: String| {
            Error::invalid(mask(address), format!("this is no address of a repository: {why}"))
                .help("write git://HOST/OWNER/REPOSITORY.git, git+ssh://, git+https:// or git+file:///PATH")
        };
        let plain = match address.split_once("://") {
            Some(("git", rest)) => format!("https://{rest}"),
            Some(("git+https" | "git+http" | "git+ssh" | "git+file", _)) => {
                address["git+".len()..].to_owned()
            }
            Some(("ssh", _)) => address.to_owned(),
            Some(("https" | "http" | "file", rest)) if rest.trim_end_matches('/').ends_with(".git") => {
                address.to_owned()
            }
            Some(_) => return Ok(None),
            // As git itself writes it: USER@HOST:PATH.
            None => match address.split_once(':') {
                Some((host, path)) if host.contains('@') && !host.contains('/') && !path.is_empty() => {
                    if host.starts_with('-') {
                        return Err(wrong("it begins with `-`".to_owned()));
                    }
                    return Ok(Some(Self { url: address.to_owned(), credentials: None }));
                }
                _ => return Ok(None),
            },
        };
        let mut url = Url::parse(&plain).map_err(|error| wrong(error.to_string()))?;
        let empty = url.path().trim_matches('/').is_empty();
        if empty || (url.scheme() != "file" && url.host_str().is_none_or(|host| host.starts_with('-'))) {
            return Err(wrong("the host or the path is missing".to_owned()));
        }
        let mut credentials = None;
        if url.scheme().starts_with("http") && !url.username().is_empty() {
            let user = decoded(url.username());
            let password = url.password().map_or_else(|| TOKEN_ALONE.to_owned(), decoded);
            credentials = Some(Secret::new(format!("{user}:{password}")));
            let _ = url.set_username("");
            let _ = url.set_password(None);
        }
        Ok(Some(Self { url: url.to_string(), credentials }))
    }

    /// Whether the address itself carries a password or a token.
    pub(crate) fn has_credentials(&self) -> bool {
        self.credentials.is_some()
    }

    /// The commit to which a branch, a tag or a commit points now.
    ///
    /// # Errors
    /// `NotFound` where there is none of that name; `Unavailable` where the repository cannot be reached.
    pub(crate) async fn resolve(&self, reference: &str) -> Result<String> {
        if is_commit(reference) {
            return Ok(reference.to_owned());
        }
        let mut args = vec!["ls-remote", "--", &self.url];
        let name = reference.strip_prefix("refs/heads/").or_else(|| reference.strip_prefix("refs/tags/"));
        let name = name.unwrap_or(reference);
        let patterns =
            [format!("refs/heads/{name}"), format!("refs/tags/{name}^{{}}"), format!("refs/tags/{name}")];
        match reference {
            "" => args.push("HEAD"),
            _ => args.extend(patterns.iter().map(String::as_str)),
        }
        let listed = self.git(&args, None).await?;
        let found = |wanted: &str| {
            let mut lines = listed.lines().filter_map(|line| line.split_once('\t'));
            lines.find(|(_, name)| *name == wanted).map(|(commit, _)| commit.to_owned())
        };
        let commit = match reference {
            "" => found("HEAD"),
            _ => patterns
                .iter()
                .filter(|pattern| pattern.starts_with(reference) || name == reference)
                .find_map(|pattern| found(pattern)),
        };
        commit.filter(|commit| is_commit(commit)).ok_or_else(|| {
            let what = if reference.is_empty() {
                "has no commits".to_owned()
            } else {
                format!("has no branch or tag {reference:?}")
            };
            Error::not_found(format!("{} {what}", self.shown()))
                .help("check the name; a commit is written with all its 40 digits")
        })
    }

    /// Puts a commit into a new folder.
    ///
    /// # Errors
    /// As [`Self::resolve`]; then the folder may be half full.
    pub(crate) async fn checkout(
        &self,
        reference: &str,
        commit: &str,
        to: &Path,
        progress: Progress<'_>,
    ) -> Result<()> {
        progress(&format!("fetching {} at {}", self.shown(), &commit[..12.min(commit.len())]));
        let folder = to.display().to_string();
        self.git(&["init", "--quiet", "--template=", "--", &folder], None).await?;
        let shallow = ["fetch", "--quiet", "--depth=1", "--no-tags", "--", &self.url, commit];
        if let Err(error) = self.git(&shallow, Some(to)).await {
            if error.kind() == ErrorKind::Unavailable {
                return Err(error);
            }
            // Old servers give no commit by its name: then by its branch or tag, or all there is.
            let all = ["fetch", "--quiet", "--tags", "--", &self.url, "+refs/heads/*:refs/remotes/origin/*"];
            let by_name = ["fetch", "--quiet", "--depth=1", "--", &self.url, reference];
            let named = !reference.is_empty() && !is_commit(reference);
            if !(named && self.git(&by_name, Some(to)).await.is_ok() && self.has(to, commit).await) {
                self.git(&all, Some(to)).await?;
                if !self.has(to, commit).await {
                    return Err(Error::not_found(format!("{} has no commit {commit}", self.shown())));
                }
            }
        }
        self.git(&["checkout", "--quiet", "--detach", commit], Some(to)).await?;
        if to.join(".gitmodules").is_file() {
            progress("fetching submodules");
            let submodules = ["submodule", "--quiet", "update", "--init", "--recursive", "--depth=1"];
            self.git(&submodules, Some(to)).await?;
        }
        Ok(())
    }

    async fn has(&self, folder: &Path, commit: &str) -> bool {
        self.git(&["cat-file", "-e", &format!("{commit}^{{commit}}")], Some(folder)).await.is_ok()
    }

    /// The address as it may be shown.
    pub(crate) fn shown(&self) -> String {
        mask(&self.url)
    }

    /// Runs git, and returns what it printed. Dropping the future kills it and all that it started.
    async fn git(&self, args: &[&str], folder: Option<&Path>) -> Result<String> {
        let mut command = Command::new("git");
        command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        self.environment(&mut command);
        if let Some(folder) = folder {
            command.current_dir(folder);
        }
        command.process_group(0).kill_on_drop(true);
        let child = command.spawn().map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => {
                Error::new(ErrorKind::Unsupported, "there is no program `git` on PATH")
                    .help("install git: repositories are fetched with it")
            }
            _ => Error::io("start", "git", error),
        })?;
        let group = Group(child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)));
        let output = child.wait_with_output().await.map_err(|error| Error::io("wait for", "git", error))?;
        group.ended();
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(self.explain(&String::from_utf8_lossy(&output.stderr)))
    }

    /// Credentials go by the environment, which nobody else reads: arguments are in every list of processes.
    fn environment(&self, command: &mut Command) {
        // Where this runs below a hook of git, these name the repository of the hook.
        for name in OF_A_HOOK {
            command.env_remove(name);
        }
        command.env("GIT_TERMINAL_PROMPT", "0").env("LC_ALL", "C").env("GIT_ADVICE", "0");
        let mut config = vec![
            ("core.hooksPath".to_owned(), "/dev/null".to_owned()),
            ("protocol.ext.allow".to_owned(), "never".to_owned()),
            ("gc.auto".to_owned(), "0".to_owned()),
        ];
        if let (Some(credentials), Ok(url)) = (&self.credentials, Url::parse(&self.url)) {
            let key = format!("http.{}/.extraHeader", url.origin().ascii_serialization());
            config.push((key, format!("Authorization: Basic {}", STANDARD.encode(credentials.expose()))));
        }
        let first: usize =
            std::env::var("GIT_CONFIG_COUNT").ok().and_then(|count| count.parse().ok()).unwrap_or(0);
        command.env("GIT_CONFIG_COUNT", (first + config.len()).to_string());
        for (index, (key, value)) in config.into_iter().enumerate() {
            command.env(format!("GIT_CONFIG_KEY_{}", first + index), key);
            command.env(format!("GIT_CONFIG_VALUE_{}", first + index), value);
        }
    }

    /// From what git printed to what was wrong.
    fn explain(&self, stderr: &str) -> Error {
        const UNREACHABLE: [&str; 8] = [
            "Could not resolve host",
            "Failed to connect",
            "Couldn't connect",
            "Connection refused",
            "Connection timed out",
            "Network is unreachable",
            "Could not resolve hostname",
            "Temporary failure in name resolution",
        ];
        const NO_ACCESS: [&str; 4] = [
            "could not read Username",
            "Authentication failed",
            "Permission denied (",
            "terminal prompts disabled",
        ];
        let lines: Vec<String> =
            stderr.lines().map(|line| self.hidden(line.trim())).filter(|line| !line.is_empty()).collect();
        let has = |signs: &[&str]| signs.iter().any(|sign| lines.iter().any(|line| line.contains(sign)));
        let place = self.shown();
        if has(&UNREACHABLE) {
            return Error::new(ErrorKind::Unavailable, format!("{place} cannot be reached"))
                .help("check the network and the address");
        }
        if has(&NO_ACCESS) {
            return Error::new(
                ErrorKind::PermissionDenied,
                format!("{place} is not there, or asks who you are"),
            )
            .help("check the address; git's own credential helper or an ssh key gives it credentials");
        }
        if has(&["does not appear to be a git repository", "not found", "does not exist"]) {
            return Error::not_found(format!("there is no repository {place}"));
        }
        let said = lines.iter().find(|line| line.starts_with("fatal: ")).or(lines.last());
        let said = said.map_or("it failed", |line| line.trim_start_matches("fatal: "));
        Error::new(ErrorKind::Io, format!("git cannot fetch {place}: {said}"))
    }

    /// A line without credentials, also where git repeats them by themselves.
    fn hidden(&self, line: &str) -> String {
        let mut line = mask(line);
        if let Some(credentials) = &self.credentials {
            for part in credentials.expose().split(':').filter(|part| part.len() > 3 && *part != TOKEN_ALONE)
            {
                line = line.replace(part, "***");
            }
        }
        line
    }
}

/// Kills a process group when it is dropped, unless its leader has ended.
struct Group(Option<Pid>);

impl Group {
    fn ended(mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(pid) = self.0 {
            // That it is gone already is as well.
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}

/// Whether a text is a whole commit hash (SHA-1 or SHA-256).
pub(crate) fn is_commit(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// What percent signs stand for.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let code = after.get(..2).and_then(|code| std::str::from_utf8(code).ok());
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(byte) if *first == b'%' => {
                bytes.push(byte);
                rest = &after[2..];
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
