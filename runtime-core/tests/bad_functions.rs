//! What is wrong with a file is said: where, what was found, what would be right.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by them")]

use std::path::PathBuf;

use proptest::prelude::ProptestConfig;
use runtime_core::{Error, ErrorKind, Function};

fn error(text: &str) -> Error {
    match Function::from_yaml(text, "f.yaml").and_then(|function| {
        function.check_fields(&["nthreads"])?;
        function.validate()?;
        Ok(function)
    }) {
        Err(error) => error,
        Ok(function) => panic!("{text:?} was read as {function:?}"),
    }
}

/// `place: message` and help of the error that a text gives.
#[track_caller]
fn check(text: &str, expected: &str, help: &str) {
    let error = error(text);
    let first = error.to_string().lines().next().unwrap_or_default().to_owned();
    assert!(first.starts_with(expected), "expected {expected}\n   found {first}\n{text}");
    let found = error.help_text().unwrap_or_default();
    assert!(found.contains(help), "expected help {help}\n   found {found}\n{text}");
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

/// A file in a folder of its own, gone with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("runtime-core-{test}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, content).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn wrong_types_are_named_with_path_and_line() {
    let head = "kind: job\nmetadata:\n  name: f\nspec:\n";
    for (spec, expected, help) in [
        (
            "  replicas: three",
            r#"f.yaml:5:3: spec.replicas: expected an integer, found the text "three""#,
            "",
        ),
        ("  replicas: 1.5", "f.yaml:5:3: spec.replicas: expected an integer, found the number 1.5", ""),
        ("  image: 3", "f.yaml:5:3: spec.image: expected a text, found the integer 3", "write \"3\""),
        ("  image: true", "f.yaml:5:3: spec.image: expected a text, found true", "write \"true\""),
        ("  args: now", "f.yaml:5:3: spec.args: expected a list, found the text \"now\"", "write [now]"),
        ("  args:\n  - a\n  - [b]", "f.yaml:7:5: spec.args[1]: expected a text, found a list", ""),
        (
            "  env:\n  - name: A\n    value: 1",
            "f.yaml:7:5: spec.env[0].value: expected a text, found the integer 1",
            "write \"1\"",
        ),
        ("  env: {A: 1}", "f.yaml:5:3: spec.env: expected a list, found a mapping", "- {name: NAME"),
        ("  env:\n  - A", "f.yaml:6:5: spec.env[0]: expected a mapping, found the text \"A\"", ""),
        (
            "  resources:\n    limits:\n      memory: [1]",
            "f.yaml:7:7: spec.resources.limits.memory: expected a quantity",
            "",
        ),
        (
            "  security_context:\n    runAsUser: root",
            "f.yaml:6:5: spec.security_context.runAsUser: expected an integer, found the text",
            "",
        ),
        (
            "  security_context: 5",
            "f.yaml:5:3: spec.security_context: expected a mapping, found the integer 5",
            "",
        ),
        ("  build: code.py", "f.yaml:5:3: spec.build: expected a mapping, found the text \"code.py\"", ""),
        ("  build:\n    requirements: pandas", "f.yaml:6:5: spec.build.requirements: expected a list", ""),
        ("  disable_auto_mount: perhaps", "f.yaml:5:3: spec.disable_auto_mount: expected true or false", ""),
        (
            "  entry_points:\n    fit:\n      lineno: first",
            "f.yaml:7:7: spec.entry_points.fit.lineno: expected an integer",
            "",
        ),
    ] {
        check(&format!("{head}{spec}\n"), expected, help);
    }
    check("kind: 3", "f.yaml:1:1: kind: expected a text, found the integer 3", "");
    check("kind: job\nmetadata: []", "f.yaml:2:1: metadata: expected a mapping, found a list", "");
}

#[test]
fn what_is_no_function_is_told_what_one_looks_like() {
    let example = "metadata:\n  name: hello";
    check("", "f.yaml:1:1: is empty: expected a function", example);
    check("# nothing\n", "f.yaml:1:1: is empty", example);
    check("- a\n- b\n", "f.yaml:1:1: expected a function, found a list", example);
    check("just words\n", "f.yaml:1:1: expected a function, found the text \"just words\"", example);
    check("a: 1\n", "f.yaml:1:1: kind: is missing: this is not a function", example);
    check("metadata: {name: a}\n", "f.yaml:1:1: kind: is missing", "write `kind: local`");
    check("kind:\nspec: {}\n", "f.yaml:1:1: kind: is missing", "write `kind: local`");
    let deployment = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\n";
    check(
        deployment,
        "f.yaml:1:1: apiVersion: expected a function, found a Kubernetes object: Deployment of apps/v1",
        example,
    );
}

#[test]
fn what_is_no_yaml_is_told_where() {
    check("kind: [job\nspec: }", "f.yaml:2:", "");
    check("kind: job\n\tspec: 1", "f.yaml:1:7: not YAML", "by spaces");
    check("kind: job\nspec:\n\timage: a\n", "f.yaml:3:2: not YAML: tabs", "by spaces");
    assert!(error("kind: \"job").message().starts_with("not YAML: "));
    check("kind: job\n---\nkind: job\n", "f.yaml:3:1: several YAML", "files of their own");
    check("kind: job\n---\na: 1\n---\nb: 2\n", "f.yaml:3:1: several YAML", "files of their own");
    check("kind: job\nkind: local\n", "f.yaml:2:1: the key `kind` is there twice", "keep one");
    check("kind: job\nspec:\n  env: []\n  env: []\n", "f.yaml:4:3: the key `env` is there twice", "keep one");
    check("kind: *nowhere\n", "f.yaml:1:", "");
    check("kind: job\0", "f.yaml: not text: byte 9 is NUL", "");
}

/// Each of them would take minutes or all memory if it were read to its end.
#[test]
fn bombs_are_refused() {
    let mut laughs = "kind: job\na0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]\n".to_owned();
    for level in 1..30 {
        let items = vec![format!("*a{}", level - 1); 10].join(", ");
        laughs += &format!("a{level}: &a{level} [{items}]\n");
    }
    // Flat, and still far too much.
    let mut wide = "kind: job\na: &a [x,x,x,x,x,x,x,x,x]\n".to_owned();
    for (name, of) in ["b", "c", "d", "e"].into_iter().zip(["*a,", "*b,", "*c,", "*d,"]) {
        wide += &format!("{name}: &{name} [{}]\n", of.repeat(8));
    }
    let lists = format!("kind: job\nspec: {}{}\n", "[".repeat(100_000), "]".repeat(100_000));
    let mappings = (0..2000).fold("kind: job\n".to_owned(), |text, level| text + &" ".repeat(level) + "a:\n");
    let json = format!("{{\"kind\": {}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    for text in [&laughs, &wide, &lists, &mappings] {
        let error = error(text);
        assert!(error.message().starts_with("refused: "), "{error}");
        assert!(error.location().is_some_and(|place| place.starts_with("f.yaml:")), "{error}");
    }
    assert!(Function::from_json(&json, "f.json").unwrap_err().message().starts_with("not JSON"));
}

#[test]
fn files_that_cannot_be_functions() {
    let scratch = Scratch::new("files");
    let error = |path: PathBuf| Function::from_file(&path).unwrap_err();
    assert_eq!(error(scratch.0.join("none.yaml")).kind(), ErrorKind::NotFound);
    assert!(error(scratch.write("binary.yaml", b"\x7fELF\0\0")).message().starts_with("not text"));
    assert!(
        error(scratch.write("latin.yaml", b"kind: job # \xe9")).message().contains("byte 12 is not UTF-8")
    );
    assert!(error(scratch.write("f.toml", "")).help_text().unwrap().contains(".yaml"));
    assert!(error(scratch.write("f.py", "")).help_text().unwrap().contains("from_code"));
    let large = std::fs::File::create(scratch.0.join("large.yaml")).unwrap();
    large.set_len((64 << 20) + 1).unwrap();
    assert!(error(scratch.0.join("large.yaml")).message().contains("larger than 64 MiB"));
    let json = error(scratch.write("f.json", "{\"kind\": \"job\",\n  \"spec\": {\"image\": 3}}"));
    assert!(
        json.to_string().contains("f.json:2:12: spec.image: expected a text, found the integer 3"),
        "{json}"
    );
    let json = error(scratch.write("g.json", "{\"kind\": \"job\",\n nonsense}"));
    assert!(json.to_string().contains("g.json:2:2: not JSON: "), "{json}");
}

#[test]
fn misspelt_fields_are_refused_with_the_right_one() {
    let head = "kind: job\nmetadata:\n  name: f\n";
    for (rest, expected, meant) in [
        ("spec:\n  replcas: 2", "f.yaml:5:3: spec.replcas: unknown field", "`replicas`"),
        ("  lables: {a: b}", "f.yaml:4:3: metadata.lables: unknown field", "`labels`"),
        ("verbos: true", "f.yaml:4:1: verbos: unknown field", "`verbose`"),
        (
            "spec:\n  build:\n    requirement: [a]",
            "f.yaml:6:5: spec.build.requirement: unknown field",
            "`requirements`",
        ),
        ("spec:\n  volumeMounts: []", "f.yaml:5:3: spec.volumeMounts: unknown field", "`volume_mounts`"),
        ("spec:\n  nthread: 2", "f.yaml:5:3: spec.nthread: unknown field", "`nthreads`"),
        (
            "spec:\n  resources:\n    limts: {cpu: 1}",
            "f.yaml:6:5: spec.resources.limts: unknown field",
            "`limits`",
        ),
        (
            "spec:\n  volume_mounts:\n  - name: a\n    mount_path: /a",
            "f.yaml:7:5: spec.volume_mounts[0].mount_path: unknown field",
            "`mountPath`",
        ),
        (
            "spec:\n  env:\n  - name: A\n    valueFrom:\n      secretKeyReff: {name: a, key: b}",
            "f.yaml:8:7: spec.env[0].valueFrom.secretKeyReff: unknown field",
            "`secretKeyRef`",
        ),
    ] {
        check(&format!("{head}{rest}\n"), expected, &format!("did you mean {meant}?"));
    }
}

#[test]
fn other_unknown_fields_are_kept_and_told() {
    let text = "kind: job\nmetadata: {name: f, uid: x}\nspec:\n  foo: 1\n  nothing: null\n  max_replicas: 2\n  nthreads: 1\n  \
                resources: {limits: {memory: 512m}}\n";
    let function = Function::from_yaml(text, "f.yaml").unwrap();
    let notes = function.check_fields(&["nthreads"]).unwrap();
    assert_eq!(
        notes,
        [
            "spec.resources.limits.memory: 512m is a part of a byte (m is a thousandth); 512Mi or 512M may be meant",
            "spec.foo is not known here; it is kept and has no effect",
            "spec.max_replicas is of another kind than `job`; it is kept and has no effect",
        ]
    );
    assert_eq!(function.spec.extra["foo"], 1);
    assert!(function.to_yaml().unwrap().contains("nothing: null"));
}

#[test]
fn wrong_values_are_refused() {
    let head = "kind: job\nmetadata:\n  name: f\nspec:\n";
    for (spec, expected, help) in [
        ("  replicas: -1", "f.yaml:5:3: spec.replicas: -1 is negative", "0 or more"),
        ("  env: [{name: ''}]", "f.yaml:5:10: spec.env[0].name: \"\" is not a name", ""),
        ("  env: [{name: A=B}]", "f.yaml:5:10: spec.env[0].name: \"A=B\" is not a name", "no `=`"),
        (
            "  image_pull_policy: always",
            "f.yaml:5:3: spec.image_pull_policy: \"always\" is not known",
            "`Always`",
        ),
        (
            "  preemption_mode: forbid",
            "f.yaml:5:3: spec.preemption_mode: \"forbid\" is not known",
            "one of: allow",
        ),
        (
            "  state_thresholds: {executing: soon}",
            "f.yaml:5:22: spec.state_thresholds.executing: \"soon\"",
            "90s",
        ),
        ("  state_thresholds: {exeuting: 1h}", "f.yaml:5:22: spec.state_thresholds.exeuting", "`executing`"),
        (
            "  resources: {limits: {memory: 1 GB}}",
            "f.yaml:5:24: spec.resources.limits.memory: \"1 GB\" is not a quantity",
            "1Gi or 1G",
        ),
        (
            "  resources: {requests: {cpu: -1}}",
            "f.yaml:5:26: spec.resources.requests.cpu: \"-1\" is negative",
            "write 1",
        ),
        (
            "  resources: {limits: {gpu: 1}}",
            "f.yaml:5:24: spec.resources.limits.gpu: is not a resource",
            "nvidia.com/gpu",
        ),
        (
            "  resources: {limits: {memry: 1}}",
            "f.yaml:5:24: spec.resources.limits.memry: is not a resource",
            "`memory`",
        ),
        (
            "  resources: {limits: {nvidia.com/gpu: 0.5}}",
            "f.yaml:5:24: spec.resources.limits.nvidia.com/gpu: \"0.5\"",
            "in parts",
        ),
        (
            "  resources: {limits: {memory: 1G}, requests: {memory: 1Gi}}",
            "f.yaml:5:48: spec.resources.requests.memory: the request 1Gi is above the limit 1G of spec.resources.limits.memory",
            "lower",
        ),
        (
            "  volume_mounts: [{name: data, mountPath: /d}]",
            "f.yaml:5:20: spec.volume_mounts[0].name: there is no volume",
            "spec.volumes",
        ),
        (
            "  volumes: [{name: data}]\n  volume_mounts: [{name: dta, mountPath: /d}]",
            "f.yaml:6:20: spec.volume_mounts[0].name: there is no volume \"dta\"",
            "`data`",
        ),
        (
            "  volumes: [{name: a}, {name: a}]",
            "f.yaml:5:25: spec.volumes[1].name: there are two",
            "another name",
        ),
        ("  tolerations: [{effect: NoSchedul}]", "f.yaml:5:18: spec.tolerations[0].effect", "`NoSchedule`"),
    ] {
        check(&format!("{head}{spec}\n"), expected, help);
    }
    check(
        "kind: job\nmetadata: {name: My_Func}",
        "f.yaml:2:12: metadata.name: \"My_Func\" is not a name",
        "`my-func`",
    );
    check("kind: job\nmetadata: {}", "f.yaml:2:1: metadata.name: is missing", "name: my-function");
}

#[test]
fn scalars_are_read_as_their_users_mean_them() {
    let text = "kind: job\nverbose: yes\nspec:\n  n: n\n  nan: .nan\n  inf: -.inf\n  \
                volumes: [{name: v, secret: {secretName: s, defaultMode: 0644}}]\n";
    let function = Function::from_yaml(text, "f.yaml").unwrap();
    assert!(function.verbose);
    assert_eq!(function.spec.extra["n"], "n");
    assert_eq!(function.spec.pod.volumes[0].secret.as_ref().unwrap().default_mode, Some(0o644));
    let written = function.to_yaml().unwrap();
    assert!(written.contains(": .nan\n") && written.contains(": -.inf\n"), "{written}");
    let again = Function::from_yaml(&written, "f.yaml").unwrap();
    assert_eq!(again, function);
    // Python: {"kind": "job", ... "inf": -Infinity, "n": "n", "nan": NaN, ...}
    assert_eq!(again.hash(), "39ffe5a1c4973e5c73ffcfd3e250aee8aa01d30d");
}

#[test]
fn code_that_cannot_be_read() {
    let code = |source: &str| {
        let text =
            format!("kind: job\nmetadata:\n  name: f\nspec:\n  build:\n    functionSourceCode: {source}\n");
        Function::from_yaml(&text, "f.yaml").unwrap().code()
    };
    let error = code("'%%%'").unwrap_err();
    assert_eq!(error.location(), Some("f.yaml:6:5: spec.build.functionSourceCode"));
    assert!(error.message().starts_with("not base64"), "{error}");
    let error = code("YWL/").unwrap_err();
    assert!(error.message().contains("byte 2 is not UTF-8"), "{error}");
    for source in ["eD0x", "'eD0 x'", "eA", "eA==", "'eA\n\n      =='"] {
        assert!(code(source).unwrap().unwrap().text.starts_with('x'), "{source}");
    }
    assert_eq!(code("''").unwrap(), None);
}

proptest::proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever a file holds, the answer is a function or an error with a place.
    #[test]
    fn any_text_is_answered(
        noise in "\\PC{0,40}|[ \\n\\t:\\[\\]{}&*#!|>'\"%@`,?-]{0,30}",
        cut in 0usize..260,
        json in proptest::bool::ANY,
    ) {
        let whole = "kind: job\nmetadata: {name: f, labels: {a: b}}\nspec:\n  args: [a, 'b', \"c\\u00e9\"]\n  \
                     env:\n  - name: A\n    value: |\n      x\n  resources: &r {limits: {cpu: 1}}\n  replcas: *r\n  \
                     volumes:\n  - {name: v, secret: {secretName: s, defaultMode: 0644}}\n";
        let json_text = r#"{"kind": "job", "spec": {"v": NaN, "s": "\ud83d", "env": [{"name": "A\u00e9"}]}}"#;
        let text = if json { json_text } else { whole };
        let cut = cut.min(text.len());
        let text = format!("{}{noise}{}", &text[..cut], &text[cut..]);
        let read = if json { Function::from_json(&text, "f.json") } else { Function::from_yaml(&text, "f.yaml") };
        match read {
            Err(error) => proptest::prop_assert!(error.location().is_some_and(|place| place.starts_with("f.")), "{error}"),
            Ok(function) => {
                let _ = (function.validate(), function.check_fields(&[]), function.code(), function.hash());
                let again = Function::from_value(function.to_value()).unwrap();
                proptest::prop_assert_eq!(again, function);
            }
        }
    }
}
