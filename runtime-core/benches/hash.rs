//! What a function's hash costs, beside its floor: SHA-1 over the very text that the hash is made of.
//!
//! `cargo bench -p runtime-core --bench hash`

#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark")]

use std::{hint::black_box, time::Duration};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use runtime_core::Function;
use sha1::{Digest, Sha1};

/// A function whose document is about 1 KB: code, packages, environment, resources.
fn build() -> Function {
    Function::new("job", "train")
        .with_project("demo")
        .with_code("def fit(context, depth: int = 3):\n    context.log_result('depth', depth)\n    # é\n    # One tree is enough for a first look; the forest comes later, with the columns that matter.\n    model = train(context.get_input('data'), depth)\n    context.log_model('model', body=model, framework='sklearn')\n    return model.score\n")
        .with_handler("fit")
        .with_image("mlrun/mlrun")
        .with_requirements(["scikit-learn==1.5.2", "pandas>=2", "pyarrow"])
        .with_labels([("owner", "me"), ("team", "research")])
        .set_envs([("MODE", "fast"), ("THREADS", "4"), ("DATA", "s3://bucket/data.parquet")])
        .with_limits(Some("2Gi"), Some("1500m"), None, None)
        .unwrap()
        .mount_pvc("claim", "/data")
}

fn stored() -> Function {
    Function::from_json(&build().to_value().to_string(), "function.json").unwrap()
}

fn hashes(criterion: &mut Criterion) {
    let stored = stored();
    let text = stored.to_value().to_string();
    let built = {
        let mut built = stored.clone();
        built.spec.description = "changed since it was read".to_owned();
        built
    };
    let new = build();
    let mut group = criterion.benchmark_group("hash");
    group.warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    group.throughput(Throughput::Bytes(text.len() as u64));
    group.bench_function("floor: SHA-1 of the text", |b| {
        b.iter(|| Sha1::digest(black_box(text.as_bytes())));
    });
    group.bench_function("a function as it was read", |b| b.iter(|| black_box(&stored).hash()));
    group.bench_function("a function that was built", |b| b.iter(|| black_box(&new).hash()));
    group.bench_function("a function that was changed", |b| b.iter(|| black_box(&built).hash()));
    group.finish();
}

criterion_group!(benches, hashes);
criterion_main!(benches);
