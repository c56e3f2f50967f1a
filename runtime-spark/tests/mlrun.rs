//! The objects that MLRun sent for the same functions mean the same as those that are rendered here, but for the differences
//! that the README lists.

#[test]
fn the_same_objects_as_mlrun() {
    runtime_core::testkit::mlrun_conformance(runtime_spark::KIND, env!("CARGO_MANIFEST_DIR").as_ref());
}
