//! Functions: versions by hash, tags, and the rule that what a run needs stays.

use super::{advance, create, function, ok, record, refused, uid};
use crate::{
    ErrorKind, Function, RunState, Store,
    store::{FunctionRecord, Version},
};

fn tag(tag: &str) -> Version {
    Version::Tag(tag.to_owned())
}

async fn put(store: &dyn Store, function: &Function, tag: Option<&str>) -> String {
    ok("put_function", store.put_function(function, tag).await)
}

async fn get(store: &dyn Store, version: &Version) -> Option<FunctionRecord> {
    ok(format!("get_function of {version:?}"), store.get_function("demo", "train", version).await)
}

async fn hash_of(store: &dyn Store, version: &Version) -> Option<String> {
    get(store, version).await.map(|record| record.function.metadata.hash)
}

pub(super) async fn versions_and_tags(store: &dyn Store) {
    assert_eq!(get(store, &Version::default()).await, None, "an unknown function is None, not an error");
    let first = function("demo", "train", "a.py");
    let a = put(store, &first, Some("v1")).await;
    assert_eq!(a, first.hash(), "put_function returns the function's own hash");
    let stored = get(store, &tag("v1")).await.map(|record| record.function);
    let mut expected = first.clone();
    expected.metadata.hash.clone_from(&a);
    expected.metadata.tag = "v1".to_owned();
    assert_eq!(stored, Some(expected), "the stored function, with its hash and the tag that was asked for");

    let b = put(store, &function("demo", "train", "b.py"), None).await;
    assert_ne!(a, b, "changed content is another version");
    assert_eq!(hash_of(store, &Version::default()).await.as_ref(), Some(&b), "`latest` is the newest");
    assert_eq!(hash_of(store, &tag("v1")).await.as_ref(), Some(&a), "`v1` stays where it was");
    assert_eq!(hash_of(store, &tag("v2")).await, None, "an unknown tag is None");

    let before = get(store, &tag("v1")).await;
    assert_eq!(put(store, &first, Some("v1")).await, a, "the same content is the same version");
    let after = get(store, &tag("v1")).await;
    if let (Some(before), Some(after)) = (&before, &after) {
        assert_eq!(after.created, before.created, "a version that is stored again keeps when it was created");
        assert!(after.updated >= before.updated, "a version that is stored again is updated");
        assert_eq!(after.tags, ["latest", "v1"], "`latest` moves with every put_function; tags are sorted");
    }
    let all = ok("list_functions", store.list_functions(Some("demo"), true).await);
    assert_eq!(all.len(), 2, "storing the same content again makes no version");

    let tagged = ok("tag_function", store.tag_function("demo", "train", &b, "prod").await);
    assert!(tagged, "tag_function says that there is such a version");
    assert_eq!(
        hash_of(store, &tag("prod")).await.as_ref(),
        Some(&b),
        "tag_function lets a tag point at a version"
    );
    assert_eq!(
        hash_of(store, &Version::default()).await.as_ref(),
        Some(&a),
        "tag_function leaves `latest` alone"
    );
    ok("tag_function", store.tag_function("demo", "train", &b, "latest").await);
    assert_eq!(
        hash_of(store, &Version::default()).await.as_ref(),
        Some(&b),
        "tag_function moves `latest` where asked"
    );
    let unknown = ok("tag_function", store.tag_function("demo", "train", &"0".repeat(40), "prod").await);
    assert!(!unknown, "tag_function says that there is no such version");
    assert_eq!(hash_of(store, &tag("prod")).await.as_ref(), Some(&b), "and changes nothing then");

    put(store, &function("demo", "train", "b.py"), Some("v1")).await;
    assert_eq!(hash_of(store, &tag("v1")).await, Some(b), "a tag moves to what was stored under it last");
    let nameless = store.put_function(&function("demo", "", "a.py"), None).await;
    refused("put_function of a function without a name", ErrorKind::Invalid, "metadata.name", nameless);
}

pub(super) async fn found_by_hash(store: &dyn Store) {
    let mut hashes = Vec::new();
    // Seventeen hashes: two of them begin with the same digit.
    for n in 0..17 {
        hashes.push(put(store, &function("demo", "train", &format!("{n}.py")), None).await);
    }
    hashes.sort();
    for hash in &hashes {
        let found = get(store, &Version::Hash(hash.clone())).await;
        assert_eq!(
            found.map(|record| record.function.metadata.hash).as_ref(),
            Some(hash),
            "a version by its hash"
        );
        let unique = (1..=hash.len())
            .map(|end| &hash[..end])
            .find(|prefix| hashes.iter().filter(|other| other.starts_with(prefix)).count() == 1);
        let prefix = unique.unwrap_or(hash);
        let found = hash_of(store, &Version::Hash(prefix.to_owned())).await;
        assert_eq!(found.as_ref(), Some(hash), "a version by the beginning of its hash, {prefix:?}");
    }
    let twice = hashes.windows(2).find(|pair| pair[0][..1] == pair[1][..1]);
    if let Some([one, other]) = twice {
        let version = Version::Hash(one[..1].to_owned());
        for hash in [one, other] {
            let result = store.get_function("demo", "train", &version).await;
            refused("get_function by an ambiguous beginning", ErrorKind::Invalid, hash, result);
        }
    }
    assert_eq!(hash_of(store, &Version::Hash("zz".to_owned())).await, None, "an unknown hash is None");
    assert_eq!(
        hash_of(store, &Version::Hash("%".to_owned())).await,
        None,
        "a hash's beginning is not a pattern"
    );
    let elsewhere = store.get_function("other", "train", &Version::Hash(hashes[0].clone())).await;
    assert_eq!(ok("get_function", elsewhere), None, "a hash counts in its own project");
}

pub(super) async fn listed(store: &dyn Store) {
    let a = put(store, &function("demo", "train", "a.py"), None).await;
    let b = put(store, &function("demo", "train", "b.py"), Some("v1")).await;
    let c = put(store, &function("other", "score", "c.py"), None).await;
    let list = async |project: Option<&str>, all| -> Vec<String> {
        let listed = ok("list_functions", store.list_functions(project, all).await);
        listed.into_iter().map(|record| record.function.metadata.hash).collect()
    };
    assert_eq!(
        list(None, true).await,
        [&c, &b, &a].map(String::clone),
        "list_functions of all projects and versions, newest first"
    );
    assert_eq!(list(None, false).await, [&c, &b].map(String::clone), "list_functions of tagged versions");
    assert_eq!(list(Some("demo"), true).await, [&b, &a].map(String::clone), "list_functions of a project");
    assert_eq!(
        list(Some("demo"), false).await,
        [&b].map(String::clone),
        "list_functions of a project's tagged versions"
    );
    assert!(list(Some("none"), true).await.is_empty(), "list_functions of an unknown project");
    let listed = ok("list_functions", store.list_functions(Some("demo"), true).await);
    let tags: Vec<&[String]> = listed.iter().map(|record| &record.tags[..]).collect();
    assert_eq!(
        tags,
        [&["latest".to_owned(), "v1".to_owned()][..], &[]],
        "each version is listed with its tags"
    );
}

pub(super) async fn deleted_unless_needed(store: &dyn Store) {
    for (project, name) in [("demo", "train"), ("demo", "train-more"), ("other", "train")] {
        put(store, &function(project, name, "a.py"), None).await;
        put(store, &function(project, name, "b.py"), Some("v1")).await;
    }
    let run = create(store, record(1)).await;
    let early = store.delete_function("demo", "train").await;
    refused("delete_function of what an active run needs", ErrorKind::Conflict, &uid(1), early);
    assert!(
        get(store, &tag("v1")).await.is_some(),
        "a refused delete_function must leave the versions alone"
    );
    let free = ok("delete_function", store.delete_function("demo", "train-more").await);
    assert_eq!(free, 2, "a function that no run needs is deleted, whatever runs need others");
    advance(store, run, RunState::Completed).await;
    let count = ok("delete_function", store.delete_function("demo", "train").await);
    assert_eq!(count, 2, "delete_function says how many versions there were");
    assert_eq!(get(store, &tag("v1")).await, None, "the tags of a deleted function are gone");
    let none = ok("delete_function", store.delete_function("demo", "train").await);
    assert_eq!(none, 0, "delete_function of what is not there");
    let other = ok("list_functions", store.list_functions(None, true).await);
    assert_eq!(other.len(), 2, "functions of the same name in other projects stay");
}

pub(super) async fn versions_deleted(store: &dyn Store) {
    let mut hashes = Vec::new();
    for file in ["a.py", "b.py", "c.py"] {
        hashes.push(put(store, &function("demo", "train", file), Some("v1")).await);
    }
    let [a, b, c] = &hashes[..] else { return };
    ok("tag_function", store.tag_function("demo", "train", a, "prod").await);
    let delete = async |version: &Version| store.delete_version("demo", "train", version).await;
    let by_hash = |hash: &String| Version::Hash(hash.clone());

    assert!(ok("delete_version of a tag", delete(&tag("v1")).await), "says that there was such a tag");
    assert_eq!(hash_of(store, &tag("v1")).await, None, "the tag is gone");
    assert_eq!(hash_of(store, &by_hash(c)).await.as_ref(), Some(c), "the version stays");
    assert!(!ok("delete_version of a tag", delete(&tag("v1")).await), "says that there is no such tag");
    assert!(
        !ok("delete_version", delete(&by_hash(&"0".repeat(40))).await),
        "says that there is no such version"
    );
    assert!(
        !ok("delete_version", store.delete_version("other", "train", &by_hash(a)).await),
        "of this project only"
    );

    let mut needs = record(1);
    needs.run_mut().spec.function = format!("demo/train@{c}");
    let run = create(store, needs).await;
    refused(
        "delete_version of what an active run needs",
        ErrorKind::Conflict,
        &uid(1),
        delete(&by_hash(c)).await,
    );
    assert_eq!(
        hash_of(store, &Version::default()).await.as_ref(),
        Some(c),
        "a refused delete_version changes nothing"
    );
    assert!(ok("delete_version", delete(&by_hash(a)).await), "a version that no run needs is deleted");
    assert_eq!(hash_of(store, &tag("prod")).await, None, "its tags go with it");
    assert_eq!(hash_of(store, &Version::default()).await.as_ref(), Some(c), "`latest` stays where it was");
    advance(store, run, RunState::Completed).await;
    assert!(ok("delete_version", delete(&by_hash(c)).await), "a version that no active run needs is deleted");
    assert_eq!(
        hash_of(store, &Version::default()).await.as_ref(),
        Some(b),
        "`latest` points at the newest other one"
    );
    assert!(ok("delete_version", delete(&by_hash(b)).await), "the last version is deleted");
    assert!(ok("list_functions", store.list_functions(None, true).await).is_empty(), "nothing is left of it");
}
