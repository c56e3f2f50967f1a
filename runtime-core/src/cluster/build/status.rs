//! Pure: what was seen of a build -> its state, the image's digest, or why there is none.

use crate::{
    RunState,
    run::{Cause, Reason, Report, Verdict, observe_main},
    target::Observation,
};

/// How much of what was printed goes into a cause.
const LINES: usize = 12;

/// What is true of a run that builds this image: where it ended well, the report has the results `image`, with its digest, and
/// `digest`.
pub fn observe(image: &str, seen: &Observation) -> Verdict {
    let mut verdict = observe_main(seen);
    let said = seen.said.as_deref().unwrap_or_default();
    let ended = verdict.cause.as_ref().map(|cause| cause.reason);
    match (verdict.state, ended) {
        (RunState::Completed, _) => match digest(said) {
            Some(digest) => verdict.report = Some(report(image, digest)),
            None => {
                let message = format!("the builder ended well, and did not say the digest of {image}");
                let cause = Cause::new(Reason::BuildFailed, message)
                    .help("its log says what it did; check the builder's image and `build.extra_args`");
                (verdict.state, verdict.cause) = (RunState::Error, Some(cause));
            }
        },
        (RunState::Error, Some(Reason::ExitCode)) => {
            verdict.cause = Some(cause(image, said, verdict.exit_code));
        }
        _ => {}
    }
    verdict
}

fn digest(said: &str) -> Option<&str> {
    let digest = said.trim();
    let hex = digest.strip_prefix("sha256:")?;
    (hex.len() == 64 && hex.chars().all(|c| c.is_ascii_hexdigit())).then_some(digest)
}

/// The image by its digest: what is run is what was built.
fn report(image: &str, digest: &str) -> Report {
    // A colon behind the last slash is that of a tag, another one that of a port.
    let (begin, name) = image.rsplit_once('/').map_or(("", image), |(begin, name)| (begin, name));
    let name = name.split(['@', ':']).next().unwrap_or(name);
    let begin = if begin.is_empty() { String::new() } else { format!("{begin}/") };
    let mut report = Report { state: "completed".to_owned(), ..Report::default() };
    report.results.insert("image".to_owned(), format!("{begin}{name}@{digest}").into());
    report.results.insert("digest".to_owned(), digest.into());
    report
}

/// Why it failed, by the last lines of its log.
fn cause(image: &str, said: &str, code: Option<i32>) -> Cause {
    let (mut what, step) = (last_error(said), step(said));
    if let Some(line) = said.lines().find(|line| line.starts_with("[rootlesskit:")) {
        line.clone_into(&mut what);
    }
    let has = |words: &[&str]| words.iter().any(|word| what.contains(word));
    let pushes = has(&["failed to push", "error pushing image", "push permissions", "exporting to image"]);
    let message = |begin: &str| match what.as_str() {
        "" => format!("{begin}: exit code {}", code.unwrap_or_default()),
        what => format!("{begin}: {what}"),
    };
    if pushes {
        return Cause::new(Reason::ImagePush, message(&format!("the registry does not take {image}"))).help(
            "check its name, and `build.secret`: a secret of the type kubernetes.io/dockerconfigjson with an account \
             that may push there; for a registry without TLS, `httpdb.builder.insecure_push_registry_mode: enabled`",
        );
    }
    if has(&["failed to resolve source metadata", "failed to load metadata", "retrieving image"])
        || step.contains("[internal] load metadata for")
        || (step.is_empty() && has(&["pull access denied", "docker.io"]))
    {
        return Cause::new(Reason::BuildFailed, message("the image to build on cannot be pulled")).help(
            "check `build.base_image`, and that the builder reaches its registry; for a private one, `build.secret`",
        );
    }
    if has(&[
        "failed to fetch remote",
        "failed to load cache key: invalid response",
        "getting source context",
    ]) {
        return Cause::new(Reason::BuildFailed, message("the source cannot be fetched")).help(
            "check `build.source`: its address, its branch, and that it can be read; for a private repository put \
             GIT_TOKEN into the project's secret",
        );
    }
    if has(&["could not connect to", "newuidmap", "newgidmap", "fork/exec /proc/self/exe"])
        || said.contains("[rootlesskit:")
    {
        return Cause::new(Reason::BuildFailed, message("BuildKit cannot start without root here")).help(
            "the node must allow user namespaces, and the namespace pods with `seccompProfile: Unconfined`; or build \
             with Kaniko: `--builder kaniko`",
        );
    }
    let mut text = message("a step of the build failed");
    if !step.is_empty() {
        text = format!("{text}\n{step}");
    }
    Cause::new(Reason::BuildFailed, text).help(
        "correct it in `build.commands`, `build.requirements` or `build.extra`; programs that it calls must be in \
         `build.base_image`",
    )
}

/// What the builder said last of what went wrong.
fn last_error(said: &str) -> String {
    let lines = said.lines().rev().map(str::trim).filter(|line| !line.is_empty());
    let mut lines = lines.map(|line| {
        let line = line.strip_prefix("error: ").unwrap_or(line);
        line.strip_prefix("failed to solve: ").unwrap_or(line).to_owned()
    });
    let last = lines.next().unwrap_or_default();
    last.chars().take(600).collect()
}

/// What the step printed that failed: BuildKit says it again between two rules.
fn step(said: &str) -> String {
    let lines: Vec<&str> = said.lines().collect();
    let is_rule = |line: &&str| line.len() >= 6 && line.chars().all(|c| c == '-');
    let begin = lines.iter().position(|line| line.starts_with(" > ["));
    let printed: Vec<&str> = match begin {
        Some(begin) => lines[begin..].iter().take_while(|line| !is_rule(line)).copied().collect(),
        // Kaniko prints it, and then what is wrong.
        None if said.contains("error building image") => {
            lines.iter().rev().skip(1).take(LINES).rev().copied().collect()
        }
        None => Vec::new(),
    };
    let first = printed.first().copied().unwrap_or_default();
    let rest = printed.get(1..).unwrap_or_default();
    let rest = &rest[rest.len().saturating_sub(LINES)..];
    [first]
        .iter()
        .chain(rest)
        .map(|line| format!("  {}", line.trim()))
        .collect::<Vec<_>>()
        .join("\n")
        .trim_end()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        plan::Role,
        target::{Exit, Part, Phase},
    };

    fn seen(code: i32, said: &str) -> Observation {
        let part = Part { name: "main".into(), role: Role::Main, phase: Phase::Ended(Exit::Code(code)) };
        Observation { parts: vec![part], said: Some(said.to_owned()), ended: true, ..Observation::default() }
    }

    const STEP: &str = "#8 0.312 ERROR: No matching distribution found for nosuch\n#8 ERROR: process \"/bin/sh -c x\" did \
        not complete successfully: exit code: 1\n------\n > [2/2] RUN python -m pip install nosuch:\n#8 0.312 ERROR: No \
        matching distribution found for nosuch\n------\nDockerfile:2\n--------------------\n   1 |     FROM a\n   2 | \
        >>> RUN x\n--------------------\nerror: failed to solve: process \"/bin/sh -c x\" did not complete \
        successfully: exit code: 1\n";

    #[test]
    fn the_image_is_named_by_its_digest() {
        let digest = format!("sha256:{}", "ab".repeat(32));
        for (image, is) in [("r:5000/a/f:1", "r:5000/a/f"), ("f", "f"), ("a/f", "a/f")] {
            let verdict = observe(image, &seen(0, &format!("{digest}\n")));
            assert_eq!(verdict.state, RunState::Completed);
            let results = verdict.report.unwrap().results;
            assert_eq!(results["image"], format!("{is}@{digest}"));
            assert_eq!(results["digest"], digest);
        }
        let verdict = observe("f", &seen(0, "sha256:1"));
        assert_eq!((verdict.state, verdict.cause.unwrap().reason), (RunState::Error, Reason::BuildFailed));
    }

    #[test]
    fn what_failed_is_named() {
        for (said, reason, words) in [
            (
                STEP,
                Reason::BuildFailed,
                "[2/2] RUN python -m pip install nosuch:\n  #8 0.312 ERROR: No matching distribution",
            ),
            (
                "error: failed to solve: failed to push r/f:1: unexpected status: 401 Unauthorized",
                Reason::ImagePush,
                "401",
            ),
            (
                "error: failed to solve: a: failed to resolve source metadata for docker.io/library/a: not found",
                Reason::BuildFailed,
                "to build on",
            ),
            (
                "error: failed to solve: failed to fetch remote https://h/r.git: exit status 128",
                Reason::BuildFailed,
                "the source",
            ),
            (
                "[rootlesskit:parent] error: failed to start the child: fork/exec /proc/self/exe: operation not permitted",
                Reason::BuildFailed,
                "without root",
            ),
            (
                "error checking push permissions -- make sure you entered the correct tag name: UNAUTHORIZED",
                Reason::ImagePush,
                "UNAUTHORIZED",
            ),
            (
                "ERROR: No such package\nerror building image: error building stage: failed to execute command: exit status 1",
                Reason::BuildFailed,
                "No such package",
            ),
            ("", Reason::BuildFailed, "exit code 1"),
        ] {
            let verdict = observe("r/f:1", &seen(1, said));
            let cause = verdict.cause.unwrap();
            assert_eq!((verdict.state, cause.reason), (RunState::Error, reason), "{said}");
            assert!(cause.message.contains(words), "{}", cause.message);
            assert!(cause.help.is_some());
        }
    }
}
