//! What is made of each function in `inputs`: on this machine, on a cluster, and there as MLRun would.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

use runtime_core::{
    Error, Function, Registry, Run, agent,
    cluster::{Cluster, MAX_VARIABLE, Style},
    plan::{ClusterPlan, Manifest},
    serde_json::{self, Value, json},
    yaml,
};

/// An input has a function, what was asked of its run (`null`: its image is built), and what there is beside.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    function: Value,
    #[serde(default = "empty")]
    run: Value,
    #[serde(default = "empty")]
    context: Value,
}

fn empty() -> Value {
    json!({})
}

fn run_of(function: &Function, spec: &Value) -> Run {
    let mut run = Run::default();
    run.metadata.uid = "0123456789abcdef0123456789abcdef".to_owned();
    run.metadata.name = function.metadata.name.clone();
    run.metadata.project = "demo".to_owned();
    run.spec = yaml::from_value(spec, "run").unwrap();
    run
}

fn rendered(input: &Input, style: Style) -> Result<Value, Error> {
    let function = Function::from_value(input.function.clone())?;
    let registry = Registry::linked()?;
    let kind = registry.get(&function.kind)?;
    function.validate()?;
    function.check_fields(kind.fields())?;
    let cluster = Cluster::read(&input.context, style)?;
    let plan = match &input.run {
        Value::Null => kind.deploy(&function, &cluster)?,
        spec => kind.render(&function, &run_of(&function, spec), &cluster)?,
    };
    // The agent is the same for all; its version is not.
    let objects: Vec<_> = plan.objects.iter().filter(|object| !object.is_shared()).cloned().collect();
    let text = serde_json::to_string(&ClusterPlan { objects, ..plan }).unwrap();
    Ok(serde_json::from_str(&text.replace(agent::version(), "VERSION")).unwrap())
}

#[test]
fn objects() {
    // The kind is there because this names its crate.
    assert_eq!(runtime_job::KIND, "job");
    insta::glob!("inputs/*.yaml", |path| {
        let text = std::fs::read_to_string(path).unwrap();
        let input: Input = yaml::from_str(&text, "input.yaml").unwrap();
        let shown = |plan| match plan {
            Ok(plan) => plan,
            Err(error) => json!(Error::to_string(&error)),
        };
        // An image is built in one of two ways.
        let plan = match &input.run {
            Value::Null => json!({
                "buildkit": shown(rendered(&built_by(&input, "buildkit"), Style::Native)),
                "kaniko": shown(rendered(&built_by(&input, "kaniko"), Style::Native)),
            }),
            _ => shown(rendered(&input, Style::Native)),
        };
        match plan {
            Value::String(error) => insta::assert_snapshot!(error),
            plan => insta::assert_json_snapshot!(plan),
        }
    });
}

fn built_by(input: &Input, builder: &str) -> Input {
    let mut context = input.context.clone();
    if !context["config"].is_object() {
        context["config"] = json!({});
    }
    context["config"]["httpdb.builder.builder"] = json!(builder);
    Input { function: input.function.clone(), run: Value::Null, context }
}

/// What an image is made of says which one it is: its tag, and the run that builds it.
#[test]
fn the_same_content_is_the_same_image() {
    let registry = Registry::linked().unwrap();
    let kind = registry.get("job").unwrap();
    let image = |change: &dyn Fn(&mut Function)| {
        let mut function =
            Function::new("job", "f").with_code("def fit(): pass\n").with_requirements(["pandas"]);
        function.spec.build.registry = "r.io".to_owned();
        function.spec.image = "python:3.12".to_owned();
        change(&mut function);
        kind.image(&function, &Cluster::default()).unwrap()
    };
    let first = image(&|_| {}).unwrap();
    assert_eq!(first.base, "python:3.12");
    assert_eq!(first.name, format!("r.io/func-default-f:{}", &first.key[..12]));
    // Code does not go into the image, and a function that was built knows what it was built on.
    let same: [&dyn Fn(&mut Function); 3] = [
        &|function| function.spec.build.function_source_code = "eA==".to_owned(),
        &|function| {
            function.spec.build.base_image =
                std::mem::replace(&mut function.spec.image, "r.io/x@sha256:1".to_owned());
        },
        &|function| function.spec.default_handler = "fit".to_owned(),
    ];
    for change in same {
        assert_eq!(image(change).unwrap().key, first.key);
    }
    let other: [&dyn Fn(&mut Function); 4] = [
        &|function| function.spec.build.requirements.push("numpy".to_owned()),
        &|function| function.spec.image = "python:3.13".to_owned(),
        &|function| function.spec.build.registry = "s.io".to_owned(),
        &|function| function.spec.build.commands = function.spec.build.requirements.split_off(0),
    ];
    for change in other {
        assert_ne!(image(change).unwrap().key, first.key);
    }
    assert_eq!(
        image(&|function| function.spec.build.requirements.clear()),
        None,
        "there is nothing to build"
    );
    let fetched: &dyn Fn(&mut Function) = &|function| {
        function.spec.build.requirements.clear();
        function.spec.build.source = "git://h/o/r#main".to_owned();
        function.spec.build.load_source_on_run = true;
    };
    assert_eq!(image(fetched), None, "the source is fetched when it runs");
}

#[test]
fn mlrun_has_a_bare_pod() {
    let input = json!({"kind": "job", "metadata": {"name": "f"}, "spec": {"command": "a.py", "service_account": "me"}});
    let input = Input { function: input, run: json!({}), context: json!({}) };
    let (native, mlrun) = (rendered(&input, Style::Native).unwrap(), rendered(&input, Style::Mlrun).unwrap());
    assert_eq!((&native["objects"][0]["kind"], &mlrun["objects"][0]["kind"]), (&json!("Job"), &json!("Pod")));
    assert_eq!(native["objects"][0]["spec"]["template"]["spec"]["serviceAccountName"], "me");
    assert_eq!(mlrun["objects"][0]["spec"]["serviceAccount"], "me");
    // The same again is created once: all names follow from the run and the attempt.
    assert_eq!(native, rendered(&input, Style::Native).unwrap());
}

#[test]
fn large_code_is_a_file_and_code_that_is_too_large_is_refused() {
    let function = |bytes: usize| {
        let code = format!("import os\n# {}\n", "x".repeat(bytes));
        Function::new("job", "large").embed_code("my file.py", &code)
    };
    let render = |function: &Function| {
        let registry = Registry::linked().unwrap();
        let run = run_of(function, &json!({}));
        registry.get("job").unwrap().render(function, &run, &Cluster::default())
    };
    let plan = render(&function(MAX_VARIABLE)).unwrap();
    let [shared, Manifest::ConfigMap(map), Manifest::Job(job)] = plan.objects.as_slice() else {
        panic!("the agent, a config map, then the job: {} objects", plan.objects.len());
    };
    assert!(shared.is_shared());
    let (file, text) = map.data.as_ref().unwrap().first_key_value().unwrap();
    assert_eq!((file.as_str(), text.len()), ("my_file.py", MAX_VARIABLE + 13));
    let pod = job.spec.as_ref().unwrap().template.spec.as_ref().unwrap();
    let container = &pod.containers[0];
    assert!(container.args.as_ref().unwrap()[1].contains(r#""path":"/runtimes/code/my_file.py""#));
    assert_eq!(container.volume_mounts.as_ref().unwrap()[0].mount_path, "/runtimes/code");
    let source = pod.volumes.as_ref().unwrap()[0].config_map.as_ref().unwrap();
    assert_eq!(source.name, map.metadata.name.clone().unwrap());
    assert!(container.env.as_ref().unwrap().iter().all(|variable| variable.name != "MLRUN_EXEC_CODE"));

    let error = render(&function(1 << 20)).unwrap_err();
    assert_eq!(error.location(), Some("spec.build.functionSourceCode"));
    assert!(error.help_text().unwrap().contains("load_source_on_run"));
}

#[test]
fn an_access_key_is_in_a_secret_and_nowhere_else() {
    let function = Function::new("job", "f")
        .with_command("a.py")
        .set_env("V3IO_USERNAME", "joe")
        .set_env("V3IO_ACCESS_KEY", "k3y-0f-joe");
    let run = run_of(&function, &json!({}));
    let plan =
        Registry::linked().unwrap().get("job").unwrap().render(&function, &run, &Cluster::default()).unwrap();
    let [_, Manifest::Secret(secret), job @ Manifest::Job(_)] = plan.objects.as_slice() else {
        panic!("the agent, a secret, then the job: {} objects", plan.objects.len());
    };
    assert_eq!(secret.string_data.as_ref().unwrap()["accessKey"], "k3y-0f-joe");
    assert!(!format!("{plan:?}").contains("k3y-0f-joe"));
    assert!(!serde_json::to_string(job).unwrap().contains("k3y-0f-joe"));
}
