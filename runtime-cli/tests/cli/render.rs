//! `render`: what a cluster would get, and that nothing else happens.

use runtimes::core::serde_json::{self, Value, json};

use super::fixture::{Done, Folder};

const CODE: &str = "def fit(context, depth: int = 3):\n    return depth\n";

fn function(spec: &Value) -> String {
    let mut spec = spec.clone();
    spec["command"] = "train.py".into();
    json!({"kind": "job", "metadata": {"name": "train", "project": "demo"}, "spec": spec}).to_string()
}

/// The objects, as a program gets them, but for those that all runs share.
fn objects(folder: &Folder, args: &str) -> Vec<Value> {
    let objects = folder.run(&format!("{args} -o json")).ok().json();
    let of_run = |object: &&Value| object["metadata"]["labels"].get("runtimes/shared").is_none();
    objects.as_array().unwrap().iter().filter(of_run).cloned().collect()
}

#[test]
fn a_python_file_is_a_job_that_carries_it() {
    let folder = Folder::with("train.py", CODE);
    let objects = objects(&folder, "render train.py --kind job --handler fit -p depth=5 --image me/it:1");
    let [job] = objects.as_slice() else { panic!("one object: {objects:#?}") };
    assert_eq!([&job["apiVersion"], &job["kind"]], [&json!("batch/v1"), &json!("Job")]);
    let container = &job["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["image"], "me/it:1");
    let env = container["env"].as_array().unwrap();
    let value = |name: &str| env.iter().find(|it| it["name"] == name).unwrap()["value"].as_str().unwrap();
    assert!(!value("MLRUN_EXEC_CODE").is_empty());
    let config: Value = serde_json::from_str(value("MLRUN_EXEC_CONFIG")).unwrap();
    assert_eq!(config["spec"]["parameters"]["depth"], 5);
    assert!(!folder.path(".runtimes").exists(), "looking records nothing");
}

#[test]
fn as_mlrun_with_a_context_and_a_run() {
    let folder = Folder::with("f.json", function(&json!({"image": "mlrun/mlrun"})));
    folder.write("c.json", r#"{"namespace": "ml", "config": {"images_registry": "quay.io/"}}"#);
    let run = json!({"metadata": {"uid": "c0ffee", "name": "train-fit", "project": "demo"}, "spec": {"handler": "m.fit"}});
    folder.write("r.json", run.to_string());
    let objects = objects(&folder, "render --style mlrun f.json c.json r.json");
    let [pod] = objects.as_slice() else { panic!("one object: {objects:#?}") };
    // The address says what it is.
    assert!(pod.get("kind").is_none() && pod["spec"].get("containers").is_some(), "{pod:#}");
    assert_eq!([&pod["metadata"]["namespace"], &pod["metadata"]["labels"]["mlrun/uid"]], ["ml", "c0ffee"]);
    assert_eq!(pod["spec"]["containers"][0]["image"], "quay.io/mlrun/mlrun:1.8.0");
}

#[test]
fn deploying_is_building_its_image() {
    let spec = json!({"build": {"requirements": ["pandas"], "image": "me/it:1"}});
    let folder = Folder::with("f.json", function(&spec));
    folder.write("c.json", "{}");
    for args in ["render f.json --deploy", "render f.json c.json"] {
        let objects = objects(&folder, args);
        assert_eq!(objects[0]["metadata"]["labels"]["mlrun/class"], "build", "{args}");
    }
    let run = folder.run("render f.json c.json --name n");
    run.code(2).says(&["f.json:", "spec.image: is missing", "--auto-build"]);
}

#[test]
fn values_of_secrets_are_not_shown_to_people() {
    let spec = json!({"env": [{"name": "V3IO_ACCESS_KEY", "value": "k3y-0f-joe"}, {"name": "V3IO_USERNAME", "value": "joe"}]});
    let folder = Folder::with("f.json", function(&spec));
    let done = folder.run("render f.json");
    assert!(done.ok().stdout.contains("(not shown)") && !done.stdout.contains("k3y-0f-joe"), "{done:#?}");
    assert!(objects(&folder, "render f.json").iter().any(|it| it["stringData"]["accessKey"] == "k3y-0f-joe"));
}

#[test]
fn a_policy_of_the_function_makes_its_pod_again() {
    let spec = json!({"retry": {"count": 1}});
    let folder = Folder::with("f.json", function(&spec));
    let policy =
        |folder: &Folder| objects(folder, "render f.json")[0]["spec"].get("podFailurePolicy").is_some();
    assert!(policy(&folder));
    folder.write("f.json", function(&json!({})));
    assert!(!policy(&folder));
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    let folder = Folder::with("ok.json", function(&json!({"command": "train.py"})));
    folder.write("c.json", "{}");
    for (name, text) in [("train.py", CODE), ("text.yaml", "kind: [job\nname: }")] {
        folder.write(name, text);
    }
    for (name, spec) in [
        ("wrapper", json!({"wrapper": "deployment"})),
        ("field", json!({"wraper": "pod"})),
        ("quantity", json!({"resources": {"limits": {"memory": "2Gigs"}}})),
        ("image", json!({"image": "a b"})),
        ("pass", json!({"mode": "pass", "command": "echo"})),
    ] {
        folder.write(&format!("{name}.json"), function(&spec));
    }
    folder.write("kind.json", function(&json!({})).replace("\"job\"", "\"jobb\""));
    folder.write("name.json", function(&json!({})).replace("train", "My Train"));
    folder.write("wrong.json", r#"{"namespace": "A b"}"#);
    folder.write("field-of-c.json", r#"{"namspace": "a"}"#);
    folder.write("uid.json", r#"{"metadata": {"uid": "../x"}}"#);
    for (args, parts) in [
        ("nothing.yaml", ["there is no file nothing.yaml", ""]),
        ("text.yaml", ["text.yaml:2:", "not YAML"]),
        ("kind.json", ["kind.json:", "did you mean `job`?"]),
        ("ok.json --kind local", ["kind `local` do not run on a cluster", "kind: job"]),
        ("wrapper.json", ["spec.wrapper: \"deployment\"", "`pod`"]),
        ("field.json", ["spec.wraper", "did you mean `wrapper`?"]),
        ("quantity.json", ["spec.resources.limits.memory", "\"2Gigs\""]),
        ("pass.json --handler f", ["run.spec.handler", "mode: pass"]),
        ("name.json", ["metadata.name: \"My Train\"", "`my-train`"]),
        ("ok.json --name A_b", ["--name: \"A_b\"", "`a-b`"]),
        ("image.json", ["spec.image", "REGISTRY/NAME:TAG"]),
        ("ok.json c.json", ["nothing to build", "add a file of it, or --name"]),
        ("ok.json wrong.json --name n", ["wrong.json: context.namespace: \"A b\"", "`a-b`"]),
        ("ok.json field-of-c.json", ["field-of-c.json: context.namspace", "`namespace`"]),
        ("ok.json c.json uid.json", ["uid.json: run.metadata.uid: \"../x\"", ""]),
    ] {
        let done = folder.run(&format!("render {args}"));
        done.code(2).says(&["error: "]).says(&parts);
        assert_eq!(done.stdout, "", "{args}: {done:#?}");
    }
    folder.run("render ok.json").ok().says(&["train.py must be in the image"]);
}

#[test]
fn where_a_run_goes_is_checked_first() {
    let folder = Folder::with("f.py", "print('here')\n");
    folder.run("run f.py --on moon").code(2).says(&["'moon'", "host, kubernetes"]);
    folder.run("run f.py --on kubernetes").code(2).says(&["`local` do not run on a cluster", "--kind job"]);
    let run = "run f.py --kind job --image python:3 --on kubernetes";
    let config = "{apiVersion: v1, kind: Config, current-context: dead, users: [{name: u, user: {token: s3cr3t}}], \
                  clusters: [{name: c, cluster: {server: 'http://127.0.0.1:1'}}], \
                  contexts: [{name: dead, context: {cluster: c, user: u}}]}";
    folder.write("kubeconfig", config);
    folder.write("broken", "clusters: [{name: c\nusers: [{user: {token: s3cr3t}}]\n");
    let at = |file: &str, args: &str| {
        let mut command = folder.command(args.split(' '));
        Done::of(command.env("KUBECONFIG", folder.path(file)).output().unwrap())
    };
    at("kubeconfig", run)
        .code(1)
        .says(&["http://127.0.0.1:1 (context dead) does not answer", "kubectl version"]);
    at("kubeconfig", &format!("{run} --context other"))
        .code(2)
        .says(&["no context \"other\"", "contexts: dead"]);
    at("kubeconfig", &format!("{run} --namespace A_b")).code(2).says(&["\"A_b\" is not a name"]);
    let broken = at("broken", run);
    broken.code(1).says(&["kubeconfig", "set KUBECONFIG"]);
    assert!(!broken.stderr.contains("s3cr3t"), "{broken:#?}");
    let runs = folder.run("runs").stdout.clone();
    assert!(!runs.contains("f "), "nothing was recorded: {runs}");
    assert!(folder.run("run f.py --kind job --on host").ok().stdout.contains("here"));
}
