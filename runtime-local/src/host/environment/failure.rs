//! From what an installer printed to what was wrong.

use runtime_core::{Error, ErrorKind};

/// How many lines of the installer an error shows.
const SHOWN: usize = 6;

/// Hides credentials in addresses: `https://user:pass@host` becomes `https://***@host`.
pub fn mask(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        out.push_str(before);
        let end = after.find(|c: char| c == '/' || c.is_whitespace() || matches!(c, '"' | '\'' | '<' | '>'));
        let authority = &after[..end.unwrap_or(after.len())];
        rest = after;
        if let Some(user) = authority.rfind('@') {
            // A bare user name of ssh is no secret; a bare one of https is often a token.
            if !before.ends_with("ssh://") || authority[..user].contains(':') {
                out.push_str("***");
                rest = &after[user..];
            }
        }
    }
    out.push_str(rest);
    out
}

/// The error of a failed install. `lines` are the last ones that the installer printed.
pub(super) fn explain(what: &str, lines: &[String], requirements: &[String]) -> Error {
    let lines: Vec<&str> = lines.iter().map(|line| line.trim_end()).filter(|line| meaningful(line)).collect();
    let all = lines.join("\n");
    let unreachable = UNREACHABLE.iter().any(|sign| all.contains(sign));
    let help = if unreachable { Some(REACH.to_owned()) } else { help(&all) };
    let cause = cause(&lines);
    let message = match cause {
        _ if unreachable => format!("{what}: an address could not be reached"),
        Some(cause) => format!("{what}: {cause}"),
        None => what.to_owned(),
    };
    let mut error = Error::new(ErrorKind::Environment, message).operation("environment.build");
    if let Some(named) = requirements.iter().find(|requirement| names(requirement, cause.unwrap_or(&all))) {
        error = error.context("requirement", mask(named));
    }
    // Where it is known what to do, only what belongs to it; else the last lines, for people to judge.
    let shown: Vec<&str> = if help.is_some() && cause.is_some() {
        lines.iter().copied().filter(|line| DETAILS.iter().any(|detail| line.contains(detail))).collect()
    } else {
        lines.iter().copied().filter(|line| cause.is_none_or(|cause| !line.ends_with(cause))).collect()
    };
    for line in &shown[shown.len().saturating_sub(SHOWN)..] {
        error = error.context("installer", line.trim());
    }
    if unreachable {
        error = error.temporary();
    }
    match help {
        Some(help) => error.help(help),
        None => error,
    }
}

/// Parts of lines that say more than the line that says what was wrong.
const DETAILS: [&str; 7] = [
    "cause: ",
    "And because",
    " depends on ",
    "The user requested",
    "Hint: ",
    "fatal: ",
    "requires a different Python",
];

/// Signs that it was the network, whatever is said at the end.
const UNREACHABLE: [&str; 8] = [
    "NewConnectionError",
    "Temporary failure in name resolution",
    "Max retries exceeded",
    "ReadTimeoutError",
    "dns error",
    "Connection refused",
    "Could not resolve host",
    "Failed to connect to",
];

const REACH: &str =
    "check the network, the addresses in the requirements, and pip's settings (`pip config list`)";

fn help(all: &str) -> Option<String> {
    let has = |text: &str| all.contains(text);
    if has("No space left on device") {
        return Some("free some space on that file system, then try again".to_owned());
    }
    if has("ensurepip is not available") || has("No module named venv") || has("No module named ensurepip") {
        return Some(
            "this Python comes without `venv`: apt install python3-venv, or put `uv` on PATH, or set RUNTIMES_PYTHON to another Python"
                .to_owned(),
        );
    }
    if has("requires a different Python") {
        return Some(
            "a version of it needs another Python: choose another version, or set RUNTIMES_PYTHON".to_owned(),
        );
    }
    if has("ResolutionImpossible") || has("And because you require") || has("conflicting dependencies") {
        return Some("these requirements exclude each other: loosen the version of one of them".to_owned());
    }
    if has("No matching distribution found")
        || has("was not found in the package registry")
        || has("there is no version of")
    {
        let known = all
            .split_once("(from versions: ")
            .and_then(|(_, rest)| rest.split_once(')'))
            .map(|(list, _)| list);
        return Some(match known {
            Some(list) if list != "none" => {
                let list: Vec<&str> = list.rsplit(", ").take(5).collect();
                format!("the newest versions that there are: {}", list.join(", "))
            }
            _ if has("Requires-Python") => {
                "its versions need another Python: set RUNTIMES_PYTHON to the path of one".to_owned()
            }
            _ => "check how the package is spelt, and that it is offered for this Python".to_owned(),
        });
    }
    if has("Invalid requirement") {
        return Some("write a requirement as `name`, `name==1.2` or `name>=1,<2`".to_owned());
    }
    None
}

/// The line that says what was wrong: the last that claims to.
fn cause<'a>(lines: &[&'a str]) -> Option<&'a str> {
    const VAGUE: [&str; 5] = [
        "ResolutionImpossible",
        "subprocess-exited-with-error",
        "metadata-generation-failed",
        "exit code",
        "Failed to build",
    ];
    let claims = || {
        lines.iter().rev().filter_map(|line| {
            let line = line.trim_start();
            ["ERROR: ", "error: ", "Error: ", "\u{d7} "].iter().find_map(|start| line.strip_prefix(start))
        })
    };
    claims()
        .find(|line| !VAGUE.iter().any(|vague| line.contains(vague)))
        .or_else(|| claims().next())
        .map(str::trim)
}

/// Whether a line is worth showing.
fn meaningful(line: &str) -> bool {
    const NOISE: [&str; 5] =
        ["[notice]", "note: This", "hint: See above", "\u{2570}\u{2500}> See", "[end of output]"];
    let line = line.trim();
    !(line.is_empty() || NOISE.iter().any(|noise| line.starts_with(noise)))
}

/// Whether a text names the package of a requirement.
fn names(requirement: &str, text: &str) -> bool {
    let end = requirement.find(|c: char| !(c.is_alphanumeric() || matches!(c, '-' | '_' | '.')));
    let package = &requirement[..end.unwrap_or(requirement.len())];
    !package.is_empty()
        && !requirement.starts_with(['-', '/', '.'])
        && text.split(|c: char| !(c.is_alphanumeric() || matches!(c, '-' | '_' | '.'))).any(|word| {
            let word = word.trim_end_matches('.');
            word.eq_ignore_ascii_case(package)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_masked() {
        for (text, masked) in [
            ("Looking in https://me:s3cret@host/simple", "Looking in https://***@host/simple"),
            ("a https://tok@h b http://u:p@h2/x", "a https://***@h b http://***@h2/x"),
            ("https://u:p@ss@host/x", "https://***@host/x"),
            ("git+ssh://git@github.com/a/b@v1", "git+ssh://git@github.com/a/b@v1"),
            ("https://host/a@b", "https://host/a@b"),
            ("nothing", "nothing"),
        ] {
            assert_eq!(mask(text), masked);
        }
    }

    fn explained(lines: &[&str], requirements: &[&str]) -> String {
        let own = |list: &[&str]| list.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
        explain("the packages could not be installed", &own(lines), &own(requirements)).to_string()
    }

    #[test]
    fn says_which_requirement_and_what_there_is() {
        let error = explained(
            &[
                "ERROR: Could not find a version that satisfies the requirement six==99 (from versions: 1.15.0, 1.16.0)",
                "ERROR: No matching distribution found for six==99",
                "",
                "[notice] A new release of pip is available",
            ],
            &["numpy", "six==99"],
        );
        assert!(
            error.starts_with(
                "the packages could not be installed: No matching distribution found for six==99\n"
            ),
            "{error}"
        );
        assert!(error.contains("requirement: six==99"), "{error}");
        assert!(error.contains("help: the newest versions that there are: 1.16.0, 1.15.0"), "{error}");
    }

    #[test]
    fn tells_a_dead_network_from_a_wrong_name() {
        let lines = [
            "WARNING: Retrying after connection broken by 'NewConnectionError(...)': /simple/six/",
            "ERROR: No matching distribution found for six",
        ];
        let own: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        let error = explain("x", &own, &["six".to_owned()]);
        assert_eq!(error.status(), runtime_core::ErrorStatus::Temporary);
        assert!(error.to_string().contains("an address could not be reached"), "{error}");
    }

    #[test]
    fn vague_lines_give_way_to_clear_ones() {
        let error = explained(
            &[
                "fatal: no compiler",
                "error: command 'gcc' failed",
                "ERROR: Failed to build installable wheels",
                "error: subprocess-exited-with-error",
            ],
            &["thing"],
        );
        assert!(error.starts_with("the packages could not be installed: command 'gcc' failed"), "{error}");
        assert!(error.contains("installer: fatal: no compiler\n"), "{error}");
    }

    #[test]
    fn a_python_without_venv() {
        let error = explained(
            &["The virtual environment was not created successfully because ensurepip is not available."],
            &[],
        );
        assert!(error.contains("apt install python3-venv"), "{error}");
    }
}
