//! What the container starts, and where it finds its code.

use std::path::Path;

use k8s_openapi::{
    api::core::v1::{ConfigMap, ConfigMapVolumeSource, Volume, VolumeMount},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use super::{CODE_DIR, Carry};
use crate::{
    Error, ErrorKind, Function, Result, Run,
    cluster::MAX_VARIABLE,
    plan::{
        host::{fill, handler},
        program::Mode,
    },
};

/// The name of its volume.
const CODE_VOLUME: &str = "runtimes-code";
/// How much a config map may hold, less room for the rest of the object.
const MAX_CONFIG_MAP: usize = (1 << 20) - 16 * 1024;

/// What a container starts.
#[derive(Default)]
pub(super) struct Command {
    /// The program; empty: the image's own.
    pub(super) command: Vec<String>,
    /// Its arguments.
    pub(super) args: Vec<String>,
    /// The code, base64, where it is given as a variable.
    pub(super) code: Option<String>,
    /// The code, where it is given as a file: its name and its text.
    pub(super) file: Option<(String, String)>,
    /// The working directory.
    pub(super) workdir: Option<String>,
}

/// What MLRun starts for the run.
pub(super) fn of_mlrun(function: &Function, run: &Run, mode: Mode) -> Result<Command> {
    let spec = &function.spec;
    let build = &spec.build;
    check_handler(run, mode)?;
    let handler = handler(function, run).filter(|_| mode == Mode::Agent);
    let has_code = !build.function_source_code.is_empty();
    let archive = (build.load_source_on_run && !build.source.is_empty()).then_some(build.source.as_str());
    if has_code && archive.is_some() {
        return Err(Error::invalid(
            "spec.build.source",
            "the function carries its code, and has a source as well",
        )
        .help("keep one of `build.functionSourceCode` and `build.source`"));
    }
    let workdir = workdir(function, archive.is_some());
    if !has_code && archive.is_none() && mode == Mode::Pass {
        return passed(function, run, workdir);
    }
    let (code, file) = if has_code { carried(function, Carry::Variable)? } else { (None, None) };
    let mut args: Vec<String> =
        ["run", "--name", run.metadata.name.as_str(), "--from-env"].map(str::to_owned).into();
    let mut option = |name: &str, value: &str| {
        if !value.is_empty() {
            args.extend([name.to_owned(), value.to_owned()]);
        }
    };
    option("--handler", handler.unwrap_or_default());
    option("--mode", &spec.mode);
    option("--origin-file", &build.origin_filename);
    if let Some(archive) = archive {
        option("--source", archive);
        option("--workdir", &spec.workdir);
    }
    match &file {
        Some((name, _)) => args.push(format!("{CODE_DIR}/{name}")),
        None if !spec.command.is_empty() => args.push(spec.command.clone()),
        // Arguments come behind a program; this one stands for the code.
        None if !spec.args.is_empty() => args.push("*".to_owned()),
        None => {}
    }
    args.extend(spec.args.iter().cloned());
    Ok(Command { command: vec!["mlrun".to_owned()], args, code, file, workdir })
}

/// A command that is passed as it is calls nothing in it.
///
/// # Errors
/// `Invalid`, where the run names a handler of one.
pub fn check_handler(run: &Run, mode: Mode) -> Result<()> {
    if mode == Mode::Pass && !run.spec.handler.is_empty() {
        return Err(Error::invalid("run.spec.handler", "a command that is passed as it is has no handler")
            .help("leave the handler out, or `mode: pass`"));
    }
    Ok(())
}

/// The command as it stands, with the run's parameters in it.
pub(super) fn passed(function: &Function, run: &Run, workdir: Option<String>) -> Result<Command> {
    let spec = &function.spec;
    let command = fill(&spec.command, 0, run).map_err(|error| error.at("spec.command"))?;
    let args = spec.args.iter().enumerate().map(|(index, arg)| fill(arg, index, run));
    let command = if command.is_empty() { Vec::new() } else { vec![command] };
    Ok(Command { command, args: args.collect::<Result<_>>()?, workdir, ..Command::default() })
}

/// The function's code: as it is where it may be in a variable and fits into one, else as a file.
#[allow(clippy::type_complexity, reason = "one or the other")]
pub(super) fn carried(
    function: &Function,
    carry: Carry,
) -> Result<(Option<String>, Option<(String, String)>)> {
    let encoded = &function.spec.build.function_source_code;
    if carry == Carry::Variable && encoded.len() + "MLRUN_EXEC_CODE=".len() <= MAX_VARIABLE {
        return Ok((Some(encoded.clone()), None));
    }
    let Some(code) = function.code()? else { return Ok((None, None)) };
    if code.text.len() > MAX_CONFIG_MAP {
        return Err(Error::new(
            ErrorKind::Invalid,
            format!("the code has {} bytes, and a cluster keeps at most {MAX_CONFIG_MAP} of them", code.text.len()),
        )
        .at("spec.build.functionSourceCode")
        .help("put it into an archive or a repository (`build.source`, `load_source_on_run: true`), or into the image"));
    }
    let name = Path::new(&code.name).file_name().unwrap_or_default().to_string_lossy();
    let right = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let name = name.chars().map(|c| if right(c) { c } else { '_' }).collect();
    Ok((None, Some((name, code.text))))
}

/// The working directory: below the source where that is in the image. Where it is fetched at the start, what fetches
/// it goes there.
pub(super) fn workdir(function: &Function, fetched: bool) -> Option<String> {
    let workdir = function.spec.workdir.as_str();
    let root = function.spec.build.source_code_target_dir.as_str();
    if fetched {
        return None;
    }
    if workdir.starts_with('/') || root.is_empty() {
        return (!workdir.is_empty()).then(|| workdir.to_owned());
    }
    let inside = workdir.strip_prefix("./").unwrap_or(workdir);
    Some(format!("{}/{inside}", root.trim_end_matches('/')))
}

/// The config map with the code, its volume, and where it is mounted.
pub(super) fn code_file(
    (name, text): (String, String),
    metadata: ObjectMeta,
) -> (ConfigMap, Volume, VolumeMount) {
    let source = ConfigMapVolumeSource {
        name: metadata.name.clone().unwrap_or_default(),
        ..ConfigMapVolumeSource::default()
    };
    let volume = Volume { name: CODE_VOLUME.to_owned(), config_map: Some(source), ..Volume::default() };
    let mount = VolumeMount {
        name: CODE_VOLUME.to_owned(),
        mount_path: CODE_DIR.to_owned(),
        read_only: Some(true),
        ..VolumeMount::default()
    };
    let map = ConfigMap { metadata, data: Some([(name, text)].into()), ..ConfigMap::default() };
    (map, volume, mount)
}
