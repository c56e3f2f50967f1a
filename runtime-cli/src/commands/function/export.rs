//! `function export`: a function as a file that can be run, here or by MLRun.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use runtimes::{Error, ErrorKind, Function, Result};

use super::named;
use crate::{
    home::Home,
    output::{Format, data},
};

const EXAMPLES: &str = "\
Examples:
  runtimes function export train > function.yaml      all in one file: the same function, the same hash
  runtimes function export train --dir train          train/function.yaml, and train/train.py beside it
  runtimes function export train --code               the code alone
  runtimes function export train.ipynb --code         a notebook as Python

In a folder the code is a file of its own, to be changed: function.yaml names it in `spec.command`, and it is
taken in again when the function is run.";

/// Write a function as a file
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The function: a file, or a stored one
    function: String,
    /// Into this folder: function.yaml, and the code beside it
    #[arg(long, value_name = "DIR", conflicts_with_all = ["code", "output"])]
    dir: Option<PathBuf>,
    /// The code alone
    #[arg(long, conflicts_with = "output")]
    code: bool,
    /// Over files that are there
    #[arg(long, requires = "dir")]
    force: bool,
    /// The form of the output
    #[arg(short, long, value_parser = ["yaml", "json"], default_value = "yaml", value_name = "FORMAT")]
    output: String,
}

impl Args {
    pub(super) fn format(&self) -> Format {
        // YAML is what is printed, but an error is for people unless JSON was asked for.
        if self.output == "json" { Format::Json } else { Format::Table }
    }
}

pub(super) async fn execute(args: &Args, home: &Home) -> Result<String> {
    let function = named(&args.function, home).await?.function;
    if args.code {
        return match function.code()? {
            Some(code) => Ok(code.text),
            None => {
                Err(Error::not_found(format!("the function `{}` carries no code", function.metadata.name))
                    .help("its command is run as it is, or its code is fetched from its source"))
            }
        };
    }
    match &args.dir {
        Some(dir) => into_folder(function, dir, args.force),
        None if args.output == "json" => data(&function, Format::Json),
        None => function.to_yaml(),
    }
}

fn into_folder(mut function: Function, dir: &Path, force: bool) -> Result<String> {
    let code = function.code()?;
    let mut files = Vec::new();
    if let Some(code) = code {
        // Where it came from may be a path on another machine.
        let name = Path::new(&code.name).file_name().unwrap_or_default().to_string_lossy().into_owned();
        function.spec.command.clone_from(&name);
        function.spec.build.function_source_code.clear();
        files.push((dir.join(name), code.text));
        // It is another document now: one that leads to its code.
        function.metadata.tag.clear();
        function.metadata.hash = function.hash();
    }
    files.push((dir.join("function.yaml"), function.to_yaml()?));
    if !force && let Some((there, _)) = files.iter().find(|(path, _)| path.exists()) {
        return Err(Error::new(ErrorKind::AlreadyExists, format!("{} is there already", there.display()))
            .help("name another folder, or write over it with --force"));
    }
    fs::create_dir_all(dir).map_err(|error| Error::io("create", dir, error))?;
    let mut said = String::new();
    for (path, text) in files {
        write(&path, &text).map_err(|error| Error::io("write", &path, error))?;
        said += &format!("{}\n", path.display());
    }
    Ok(said)
}

/// Writes a file whole, or not at all.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let part = path.with_added_extension("part");
    let mut file = fs::File::create(&part)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&part, path)
}
