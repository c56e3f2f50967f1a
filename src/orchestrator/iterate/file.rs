//! Files of parameters: plain ones, and tables of hyper-parameters.

use std::path::{Path, PathBuf};

use runtime_core::{
    Error, ErrorKind, Result, Run,
    run::hyper::Strategy,
    serde_json::{self, Map, Value},
    yaml,
};

/// Annotation on a run: the file that its hyper-parameters come from.
const PARAM_FILE: &str = "runtimes/param-file";

/// What a file of parameters holds.
#[derive(Clone, Debug, PartialEq)]
pub enum ParamFile {
    /// Names and values, for one run.
    Parameters(Map<String, Value>),
    /// Names and lists of values to try: each value of the mapping is a list.
    Lists(Map<String, Value>),
    /// Rows, one for each iteration, as the columns of their table.
    Rows(Map<String, Value>),
}

impl ParamFile {
    /// Reads a file by its ending. `.csv`: rows below a line of names. `.json`, `.yaml`: a list of mappings is rows, a
    /// mapping of lists is lists to try, any other mapping is parameters.
    ///
    /// # Errors
    /// Where it cannot be read, or holds something else: file, line or row, and what would be right.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let place = path.display().to_string();
        let text = yaml::text_of(path)?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        match ending.to_ascii_lowercase().as_str() {
            "csv" => csv(text, &place),
            "json" => {
                let value = serde_json::from_str(text).map_err(|error| {
                    let message = error.to_string();
                    let message = message.split(" at line ").next().unwrap_or_default();
                    let place = format!("{place}:{}:{}", error.line(), error.column());
                    Error::invalid(place, format!("not JSON: {message}"))
                })?;
                of_value(value, &place)
            }
            "yaml" | "yml" => of_value(yaml::read(text, &place)?, &place),
            _ => of_value(yaml::read(text, &place)?, &place).map_err(|error| {
                error.help("it was read as YAML; the name of another form ends in .csv or .json")
            }),
        }
    }
}

fn of_value(value: Value, place: &str) -> Result<ParamFile> {
    let wrong = |message: String| {
        Error::invalid(place, message).help(
            "write one `name: value` a line for one run; lists of values, or a list of rows, for iterations",
        )
    };
    if let Some(number) = yaml::non_finite(&value) {
        return Err(Error::invalid(place, format!("{number} cannot be a parameter"))
            .help("write it as a text, such as \"nan\": a handler that asks for a float gets one"));
    }
    match value {
        Value::Object(map) if map.is_empty() => Ok(ParamFile::Parameters(map)),
        Value::Object(map) if map.values().all(Value::is_array) => {
            let empty = map.iter().find(|(_, values)| values.as_array().is_some_and(Vec::is_empty));
            match empty {
                Some((name, _)) => Err(Error::invalid(place, format!("`{name}` has no value to try"))
                    .help("write at least one: [0.1, 0.01]")),
                None => Ok(ParamFile::Lists(map)),
            }
        }
        Value::Object(map) => Ok(ParamFile::Parameters(map)),
        Value::Array(rows) if rows.is_empty() => Err(wrong("there is no row in it".to_owned())),
        Value::Array(rows) => {
            let mut maps = Vec::new();
            for (index, row) in rows.into_iter().enumerate() {
                match row {
                    Value::Object(map) => maps.push(map),
                    other => {
                        let found = yaml::kind_of(&other);
                        return Err(wrong(format!("row {} is no mapping, but {found}", index + 1)));
                    }
                }
            }
            columns(maps, place).map(ParamFile::Rows)
        }
        Value::Null => {
            Err(wrong("a parameter file holds names and values; this one holds nothing".to_owned()))
        }
        other => {
            let found = yaml::kind_of(&other);
            Err(wrong(format!("a parameter file holds names and values; this one holds {found}")))
        }
    }
}

/// Rows with the same names, as columns.
fn columns(rows: Vec<Map<String, Value>>, place: &str) -> Result<Map<String, Value>> {
    let mut columns: Map<String, Value> = Map::new();
    let names: Vec<String> = rows.first().map(|row| row.keys().cloned().collect()).unwrap_or_default();
    for name in &names {
        columns.insert(name.clone(), Value::Array(Vec::new()));
    }
    for (index, mut row) in rows.into_iter().enumerate() {
        for name in &names {
            let value = row.remove(name).ok_or_else(|| {
                Error::invalid(place, format!("row {} has no `{name}`, which the first row has", index + 1))
                    .help("give every row the same names; `null` is a value, too")
            })?;
            if let Some(Value::Array(column)) = columns.get_mut(name) {
                column.push(value);
            }
        }
        if let Some(name) = row.keys().next() {
            return Err(Error::invalid(
                place,
                format!("row {} has `{name}`, which the first row has not", index + 1),
            )
            .help("give every row the same names; `null` is a value, too"));
        }
    }
    Ok(columns)
}

fn csv(text: &str, place: &str) -> Result<ParamFile> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(text.as_bytes());
    let wrong = |error: csv::Error| {
        let line = error.position().map_or(1, csv::Position::line);
        let message = match error.kind() {
            csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
                format!("it has {len} values, and there are {expected_len} names")
            }
            _ => error.to_string(),
        };
        Error::invalid(format!("{place}:{line}"), message)
            .help("a line of names, then a line of values a run")
    };
    let names: Vec<String> = reader.headers().map_err(wrong)?.iter().map(str::to_owned).collect();
    if let Some(name) = names.iter().find(|name| name.is_empty()) {
        return Err(Error::invalid(format!("{place}:1"), format!("{name:?} is no name of a parameter"))
            .help("the first line names the parameters: lr,depth"));
    }
    let mut rows = Vec::new();
    for row in reader.into_records() {
        rows.push(row.map_err(wrong)?);
    }
    if let Some(line) = open_quote(text, &names, rows.last()) {
        return Err(Error::invalid(format!("{place}:{line}"), "a quote is opened here, and not closed")
            .help("close it, or write \"\" for a quote within quotes"));
    }
    let mut columns: Vec<Vec<Value>> = vec![Vec::new(); names.len()];
    for row in &rows {
        columns.iter_mut().zip(row).for_each(|(column, text)| column.push(scalar(text)));
    }
    if columns.first().is_none_or(Vec::is_empty) {
        return Err(
            Error::invalid(place, "there is no row below the names").help("one line for each iteration")
        );
    }
    let mut map = Map::new();
    for (name, column) in names.into_iter().zip(columns) {
        if map.insert(name.clone(), Value::Array(column)).is_some() {
            return Err(Error::invalid(format!("{place}:1"), format!("`{name}` stands there twice"))
                .help("give each column a name of its own"));
        }
    }
    Ok(ParamFile::Rows(map))
}

/// The line of a quote that is not closed: the reader takes all lines below for what is quoted.
fn open_quote(text: &str, names: &[String], last: Option<&csv::StringRecord>) -> Option<u64> {
    let odd = text.matches('"').count() % 2 == 1;
    let lines = |value: &str| value.contains('\n');
    match last {
        None if odd && names.iter().any(|name| lines(name)) => Some(1),
        Some(row) if odd && row.iter().any(lines) => Some(row.position().map_or(1, csv::Position::line)),
        _ => None,
    }
}

/// A number, a truth value or nothing where it is one; otherwise text.
fn scalar(text: &str) -> Value {
    match serde_json::from_str(text) {
        Ok(value @ (Value::Number(_) | Value::Bool(_) | Value::Null)) => value,
        _ if text.is_empty() => Value::Null,
        _ => match text {
            "True" => Value::Bool(true),
            "False" => Value::Bool(false),
            _ => Value::from(text),
        },
    }
}

/// Reads the run's `param_file` into its hyper-parameters, and notes where they came from.
pub(super) fn take(run: &mut Run, folder: &Path) -> Result<()> {
    let options = &mut run.spec.hyper_param_options;
    let Some(file) = options.param_file.clone() else { return Ok(()) };
    // The check of the spec says that there is one of the two too many.
    if !run.spec.hyperparams.is_empty() {
        return Ok(());
    }
    let under = |error: Error| error.context("field", "hyper_param_options.param_file");
    let path = local(&file, folder).map_err(under)?;
    let (table, rows) = match ParamFile::read(&path).map_err(under)? {
        ParamFile::Lists(lists) => (lists, false),
        ParamFile::Rows(columns) => (columns, true),
        ParamFile::Parameters(_) => {
            return Err(under(
                Error::invalid(path.display().to_string(), "there are no lists of values in it")
                    .help("write lists, such as `lr: [0.1, 0.01]`, or rows"),
            ));
        }
    };
    if rows && !matches!(options.strategy, None | Some(Strategy::List)) {
        return Err(under(
            Error::invalid(path.display().to_string(), "a file of rows says what each iteration is given")
                .help("leave the strategy out; a file of lists (json, yaml) is for `grid` and `random`"),
        ));
    }
    if rows {
        options.strategy = Some(Strategy::List);
    }
    options.param_file = None;
    run.spec.hyperparams = table;
    run.metadata.annotations.insert(PARAM_FILE.to_owned(), path.display().to_string());
    Ok(())
}

fn local(file: &str, folder: &Path) -> Result<PathBuf> {
    match file.split_once("://") {
        None => Ok(folder.join(file)),
        Some(("file", path)) => Ok(PathBuf::from(path)),
        Some((scheme, _)) => Err(Error::new(
            ErrorKind::Unsupported,
            format!("a parameter file cannot be read from {scheme}://"),
        )
        .help("download it first, and name the file")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use runtime_core::serde_json::json;

    fn read(name: &str, text: &str) -> Result<ParamFile> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        ParamFile::read(path)
    }

    fn object(value: Value) -> Map<String, Value> {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn each_form_is_told_apart() {
        let rows =
            ParamFile::Rows(object(json!({"lr": [0.1, 1], "name": ["adam", null], "ok": [true, false]})));
        assert_eq!(read("p.csv", "lr, name,ok\n0.1,adam,True\n1,,false\n").unwrap(), rows);
        let text = r#"[{"lr": 0.1, "name": "adam", "ok": true}, {"name": null, "ok": false, "lr": 1}]"#;
        assert_eq!(read("p.json", text).unwrap(), rows);
        assert_eq!(
            read("p.yaml", "a: [1, 2]\nb: [x]\n").unwrap(),
            ParamFile::Lists(object(json!({"a": [1, 2], "b": ["x"]})))
        );
        assert_eq!(
            read("p.yaml", "a: [1, 2]\nb: x\n").unwrap(),
            ParamFile::Parameters(object(json!({"a": [1, 2], "b": "x"})))
        );
        // As programs on Windows begin a file, and quotes over several lines.
        assert_eq!(
            read("p.csv", "\u{feff}a,b\n1,\"x\ny\"\n2,5\"\n").unwrap(),
            ParamFile::Rows(object(json!({"a": [1, 2], "b": ["x\ny", "5\""]})))
        );
    }

    #[test]
    fn what_is_wrong_has_a_place() {
        for (name, text, part) in [
            ("p.csv", "a,b\n1,2\n3\n", "p.csv:3: it has 1 values, and there are 2 names"),
            ("p.csv", "a,b\n", "no row below the names"),
            ("p.csv", "a,a\n1,2\n", "`a` stands there twice"),
            ("p.csv", "", "no row below"),
            ("p.json", "{\n  \"a\": ]", "p.json:2:8: not JSON: expected value"),
            ("p.json", "[{\"a\": 1}, {\"b\": 1}]", "row 2 has no `a`"),
            ("p.json", "[{\"a\": 1}, {\"a\": 1, \"b\": 1}]", "row 2 has `b`"),
            ("p.json", "[1]", "row 1 is no mapping"),
            ("p.csv", "a,b\n1,\"x\n2,3\n", "p.csv:2: a quote is opened here, and not closed"),
            ("p.csv", "a,\"b\n1,2\n", "p.csv:1: a quote is opened here"),
            ("p.json", "{\"a\": [1], \"b\": []}", "`b` has no value to try"),
            ("p.yaml", "lr: [1, {a: [.nan]}]\n", "NaN cannot be a parameter"),
            ("p.yaml", "lr: -.inf\n", "-Infinity cannot be a parameter"),
            ("p.txt", "a,b\n1,2\n", "it was read as YAML"),
            ("p.yaml", "", "holds nothing"),
            ("p.yaml", "- 1\n", "row 1 is no mapping"),
        ] {
            let error = read(name, text).unwrap_err().to_string();
            assert!(error.contains(part), "{part:?} in {error}");
        }
    }

    #[test]
    fn a_table_goes_onto_the_run() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("p.csv"), "a\n1\n2\n").unwrap();
        let mut run = Run::default();
        run.spec.hyper_param_options.param_file = Some("p.csv".to_owned());
        let mut random = run.clone();
        take(&mut run, folder.path()).unwrap();
        assert_eq!(Value::Object(run.spec.hyperparams), json!({"a": [1, 2]}));
        assert_eq!(run.spec.hyper_param_options.strategy, Some(Strategy::List));
        random.spec.hyper_param_options.strategy = Some(Strategy::Random);
        assert!(take(&mut random, folder.path()).unwrap_err().to_string().contains("leave the strategy out"));
        random.spec.hyper_param_options.param_file = Some("s3://bucket/p.csv".to_owned());
        assert!(take(&mut random, folder.path()).unwrap_err().to_string().contains("download it first"));
    }
}
