//! What rendering costs: a SparkApplication in both styles, and beside it what sending adds, its JSON.
//!
//! `cargo bench -p runtime-spark --bench render`

#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark")]

use std::{hint::black_box, time::Duration};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use runtime_core::{
    Function, Registry, Run,
    cluster::{Cluster, Style},
    serde_json::{self, json},
};

/// As users have them: code, environment, a secret, requests and limits, settings, a volume, a node's label.
fn function() -> Function {
    let mut function = Function::new("spark", "train")
        .with_project("demo")
        .embed_code(
            "train.py",
            "def fit(context, spark, depth: int = 3):\n    return spark.range(depth).count()\n",
        )
        .with_handler("fit")
        .with_image("mlrun/spark-app")
        .set_envs([("MODE", "fast"), ("THREADS", "4"), ("DATA", "s3://bucket/data.parquet")])
        .set_env_from_secret("TOKEN", "tokens", "hub")
        .with_replicas(4)
        .mount_pvc("claim", "/data");
    function.spec.pod.node_selector.insert("zone".to_owned(), "a".to_owned());
    for part in ["driver_resources", "executor_resources"] {
        let resources = json!({"requests": {"cpu": "1", "memory": "2g"}, "limits": {"cpu": "2"}});
        function.spec.extra.insert(part.to_owned(), resources);
    }
    function.spec.extra.insert("spark_conf".to_owned(), json!({"spark.sql.shuffle.partitions": 8}));
    function
}

fn run(function: &Function) -> Run {
    let mut run = Run::default();
    run.metadata.uid = "0123456789abcdef0123456789abcdef".to_owned();
    run.metadata.name = "train-fit".to_owned();
    run.metadata.project = "demo".to_owned();
    run.spec.function = function.uri();
    run.spec.parameters.insert("depth".to_owned(), json!(4));
    run
}

fn renders(criterion: &mut Criterion) {
    // The kind is there because this names its crate.
    let registry = Registry::linked().unwrap();
    let kind = registry.get(runtime_spark::KIND).unwrap();
    let function = function();
    let run = run(&function);
    let mut group = criterion.benchmark_group("render");
    group.warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(2));
    group.throughput(Throughput::Elements(1));
    for (name, style) in [("as MLRun has it", Style::Mlrun), ("our own", Style::Native)] {
        let cluster = Cluster::read(&json!({}), style).unwrap();
        group.bench_function(name, |b| {
            b.iter(|| kind.render(black_box(&function), black_box(&run), &cluster).unwrap());
        });
        let plan = kind.render(&function, &run, &cluster).unwrap();
        group.bench_function(format!("its JSON: {name}"), |b| {
            b.iter(|| serde_json::to_vec(black_box(&plan.objects)).unwrap());
        });
    }
    group.finish();
}

criterion_group!(benches, renders);
criterion_main!(benches);
