//! A Jupyter notebook as the code of a function: its code cells, as far as annotations let them, without magics.

use std::path::Path;

use serde_json::Value;

use super::{
    Function,
    regions::{self, Cell},
};
use crate::{
    Error, Result, naming,
    pod::parse_env_file,
    python::{self, PlainCell},
};

/// Tags of cells that are no code of a function.
const IGNORED: [&str; 2] = ["mlrun-ignore", "nuclio-ignore"];

/// A code cell.
struct CodeCell {
    /// Which cell of the notebook it is, from 1.
    number: usize,
    text: String,
}

/// Embeds the code of a notebook, and takes over what its `%nuclio` lines set. `path` is the file that the text is of.
pub(super) fn embed(mut function: Function, name: &str, text: &str, path: &Path) -> Result<Function> {
    let origin = path.display().to_string();
    let cells = code_cells(text, &origin)?;
    let place = |cell: &CodeCell, line: usize| format!("{origin}: cell {}, line {line}", cell.number);
    let lines: Vec<Cell<'_>> =
        cells.iter().map(|cell| Cell { lines: cell.text.lines().collect(), can_be_ignored: true }).collect();
    let selected =
        regions::select(&lines, &function.metadata.name, |cell, line| place(&cells[cell], line + 1))?;

    let mut code = String::new();
    for ((cell, lines), selected) in cells.iter().zip(&lines).zip(selected) {
        let kept: Vec<&str> = lines
            .lines
            .iter()
            .zip(selected)
            .map(|(line, selected)| if selected { *line } else { "" })
            .collect();
        let PlainCell { code: plain, nuclio } = python::plain(&kept.join("\n"), |line| place(cell, line))?;
        for (command, further) in nuclio {
            function =
                apply(function, &command, &further, path).map_err(|error| error.under(&place(cell, 1)))?;
        }
        let plain = plain.trim_end();
        if !plain.trim().is_empty() {
            // The lines below have the numbers that they have in the cell.
            code.push_str(&format!("# %% cell {}\n{plain}\n\n", cell.number));
        }
    }
    if code.is_empty() {
        return Err(Error::invalid(origin, "the notebook has no code for a function")
            .help("cells marked with `# mlrun: ignore`, magics, and what is outside of start-code and end-code do not count"));
    }
    code.truncate(code.trim_end().len() + 1);
    Ok(function.embed_code(name, &code))
}

fn code_cells(text: &str, origin: &str) -> Result<Vec<CodeCell>> {
    const CONVERT: &str = "`jupyter nbconvert --to notebook` writes it in the format of today";
    let document: Value = serde_json::from_str(text).map_err(|error| {
        let message = error.to_string();
        let message = message.split(" at line ").next().unwrap_or_default();
        let place = format!("{origin}:{}:{}", error.line(), error.column());
        Error::invalid(place, format!("not a notebook: {message}"))
            .help("a notebook is a JSON file; save it again in Jupyter")
    })?;
    let language = ["/metadata/language_info/name", "/metadata/kernelspec/language"]
        .iter()
        .find_map(|pointer| document.pointer(pointer)?.as_str());
    if let Some(language) = language.filter(|language| !language.to_lowercase().ends_with("python")) {
        return Err(Error::invalid(origin, format!("the notebook is in {language}"))
            .help("functions are made of notebooks in Python"));
    }
    let Some(cells) = document.get("cells").and_then(Value::as_array) else {
        return Err(Error::invalid(origin, "not a notebook: it has no list `cells`").help(CONVERT));
    };
    let mut code = Vec::new();
    for (index, cell) in cells.iter().enumerate() {
        let number = index + 1;
        let wrong =
            |what: &str| Error::invalid(format!("{origin}: cell {number}"), what.to_owned()).help(CONVERT);
        let Some(kind) = cell.get("cell_type").and_then(Value::as_str) else {
            return Err(wrong("it has no `cell_type`: expected code, markdown or raw"));
        };
        let tags = cell.pointer("/metadata/tags").and_then(Value::as_array);
        let ignored =
            tags.is_some_and(|tags| tags.iter().filter_map(Value::as_str).any(|tag| IGNORED.contains(&tag)));
        if kind != "code" || ignored {
            continue;
        }
        let text = match cell.get("source") {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Array(lines)) => {
                let lines: Option<Vec<&str>> = lines.iter().map(Value::as_str).collect();
                lines.ok_or_else(|| wrong("its `source` is a list of other things than texts"))?.concat()
            }
            _ => return Err(wrong("it has no `source`: expected a text, or a list of lines")),
        };
        code.push(CodeCell { number, text });
    }
    Ok(code)
}

/// What `%nuclio COMMAND` sets, as MLRun takes it over.
fn apply(mut function: Function, line: &str, further: &[String], path: &Path) -> Result<Function> {
    let (command, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let mut rest = rest.trim();
    if matches!(command, "env" | "cmd") {
        if ["--local-only", "-l"].iter().any(|flag| rest.split_whitespace().next() == Some(*flag)) {
            return Ok(function);
        }
        for flag in ["--config-only", "-c"] {
            rest = rest.strip_prefix(flag).map_or(rest, str::trim_start);
        }
    }
    let lines = std::iter::once(rest).chain(further.iter().map(String::as_str));
    for line in lines.map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        function = match command {
            "env" => env(function, line)?,
            "cmd" => cmd(function, line),
            "config" => config(function, line)?,
            "env_file" => function.set_envs_file(path.parent().unwrap_or(Path::new("")).join(line))?,
            // What is done with a notebook, and not with its function.
            "build" | "deploy" | "show" | "help" | "export" | "add" => function,
            _ => {
                return Err(Error::invalid(format!("%nuclio {command}"), "is not known here")
                    .help("env, env_file, cmd and config are known"));
            }
        };
    }
    Ok(function)
}

fn env(function: Function, line: &str) -> Result<Function> {
    let wrong = |message: String| Error::invalid("%nuclio env", message);
    let Some((name, value)) = line.split_once('=').filter(|(name, _)| !name.trim().is_empty()) else {
        return Err(wrong(format!("{line:?} is not of the form NAME=VALUE")));
    };
    let (name, value) = (name.trim(), value.trim());
    // What a variable holds on the machine that reads the notebook must not end up in what is stored.
    let refers = |(at, _): (usize, &str)| {
        value[at + 1..].starts_with(|c: char| c == '{' || c == '_' || c.is_ascii_alphabetic())
    };
    if value.match_indices('$').any(refers) {
        return Err(wrong(format!("{name} is set to a variable of this machine")).help(format!(
            "write the value itself, or leave it out here and give it to a run: --env {name}=..."
        )));
    }
    let text = format!("{name}={value}");
    Ok(function.set_envs(parse_env_file(&text, "").map_err(|error| wrong(error.message().to_owned()))?))
}

/// Packages that are installed become requirements; any other command is one of the image's build.
fn cmd(mut function: Function, line: &str) -> Function {
    let words: Vec<&str> = line.split_whitespace().collect();
    let packages = match words.as_slice() {
        ["pip" | "pip3", "install", packages @ ..]
        | ["python" | "python3", "-m", "pip", "install", packages @ ..] => packages,
        _ => &[],
    };
    let plain = |word: &&str| !word.starts_with('-') && !word.contains(['$', ';', '&', '|', '\'', '"', '/']);
    let build = &mut function.spec.build;
    if packages.is_empty() || !packages.iter().all(plain) {
        build.commands.push(line.to_owned());
        return function;
    }
    for package in packages {
        if !build.requirements.iter().any(|known| known == package) {
            build.requirements.push((*package).to_owned());
        }
    }
    function
}

/// `spec.build.baseImage = "python"`: JSON at a path of the function as Nuclio has it.
fn config(mut function: Function, line: &str) -> Result<Function> {
    let wrong = |message: String| {
        Error::invalid("%nuclio config", message).help("write it so: spec.build.baseImage = \"python:3.12\"")
    };
    let (key, value) = line.split_once('=').ok_or_else(|| wrong(format!("{line:?} sets nothing")))?;
    let (key, adds) = match key.trim_end().strip_suffix('+') {
        Some(key) => (key.trim(), true),
        None => (key.trim(), false),
    };
    let value: Value = serde_json::from_str(value.trim())
        .map_err(|error| wrong(format!("what {key} is set to is not JSON: {error}")))?;
    match (key, value) {
        ("kind", Value::String(kind)) => function.kind = kind.to_lowercase(),
        ("metadata.name", Value::String(name)) => function.metadata.name = naming::normalize(&name),
        ("spec.image", Value::String(image)) => function.spec.image = image,
        ("spec.build.baseImage" | "spec.build.base_image", Value::String(image)) => {
            function.spec.build.base_image = image;
        }
        ("spec.build.commands", value) => {
            let commands = match value {
                Value::Array(items) => items,
                one => vec![one],
            };
            if !adds {
                function.spec.build.commands.clear();
            }
            for command in commands {
                let Value::String(command) = command else {
                    return Err(wrong("a command is a text".to_owned()));
                };
                function = cmd(function, &command);
            }
        }
        // Nuclio's own settings, by their path: where MLRun keeps them.
        (key, value) => {
            let config =
                function.spec.extra.entry("config").or_insert_with(|| Value::Object(Default::default()));
            if let Value::Object(config) = config {
                config.insert(key.to_owned(), value);
            }
        }
    }
    Ok(function)
}
