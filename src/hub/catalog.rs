//! What a hub has: its catalogue, or what lies in its folders.

use std::{
    collections::BTreeMap,
    fs,
    path::{Component, Path},
};

use runtime_core::{Error, Function, Result, naming, serde_json, yaml};
use serde::Serialize;
use serde_json::{Map, Value};

use super::reference::{LATEST, is_tag};

/// The largest catalogue that is read.
pub(crate) const LARGEST: u64 = 64 << 20;

/// A function in a hub.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Item {
    /// The hub.
    pub source: String,
    /// Its name.
    pub name: String,
    /// The version that is `latest`.
    pub version: String,
    /// Its kind, where that is told.
    pub kind: String,
    /// What it does, in one line.
    pub description: String,
    /// Where a catalogue lists it.
    pub categories: Vec<String>,
    /// Its tags and versions, and to which version each points.
    pub tags: BTreeMap<String, String>,
    /// Where each tag's `function.yaml` and code are, seen from the hub's root.
    #[serde(skip)]
    pub(crate) places: BTreeMap<String, ItemPlace>,
}

/// The files of one version of an item.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ItemPlace {
    pub(crate) function: String,
    /// The code beside it, where it is told.
    pub(crate) code: Option<String>,
}

/// What a hub has: items, and others that are left out.
pub(crate) type Items = (Vec<Item>, Vec<LeftOut>);

/// Something that should be an item.
#[derive(Debug)]
pub(crate) struct LeftOut {
    /// Its name, as far as it has one.
    pub(crate) name: String,
    /// Why it is left out, as it is told to the user.
    pub(crate) why: String,
}

/// The items of a catalogue, whose folders lie below `base`, and what is wrong with some.
///
/// # Errors
/// `Invalid` where the text is no catalogue at all.
pub(crate) fn parse(text: &[u8], place: &str, base: &str) -> Result<Items> {
    let wrong = |why: String| {
        Error::invalid(place, why).help("a catalogue is a JSON object: name, then tag, then what the item is")
    };
    let catalog: Map<String, Value> =
        serde_json::from_slice(text).map_err(|error| wrong(format!("this is no catalogue: {error}")))?;
    let (mut items, mut left_out) = (Vec::new(), Vec::new());
    for (key, tags) in &catalog {
        match item(key, tags, base) {
            Ok(item) => items.push(item),
            Err(why) => left_out.push(LeftOut {
                name: naming::normalize(key),
                why: format!("{place}: the item {key:?} is left out: {why}"),
            }),
        }
    }
    Ok((items, left_out))
}

fn item(key: &str, tags: &Value, base: &str) -> std::result::Result<Item, String> {
    let tags = tags.as_object().ok_or("it has no tags")?;
    let folder = key.replace('-', "_");
    let name = naming::normalize(key);
    if name.is_empty() || !is_tag(&folder) {
        return Err("no name can be made of it".to_owned());
    }
    let mut item = Item { name, ..Item::default() };
    for (tag, details) in tags.iter().filter(|(tag, _)| is_tag(tag)) {
        let Some(details) = details.as_object() else { continue };
        let version = text(details, "version");
        // A version's own folder never changes; `latest` may, while it is read.
        let at = if tags.contains_key(&version) && is_tag(&version) { &version } else { tag };
        let asset =
            |name: &str| details.get("assets").and_then(|assets| assets.get(name)).and_then(Value::as_str);
        let function = asset("function").unwrap_or("src/function.yaml");
        if !is_inside(function) {
            return Err(format!("its file {function:?} is elsewhere"));
        }
        let code = asset("source").filter(|code| is_inside(code));
        let within = |file: &str| format!("{base}{folder}/{at}/{file}");
        let place = ItemPlace { function: within(function), code: code.map(within) };
        item.places.insert(tag.clone(), place);
        item.tags.insert(tag.clone(), if version.is_empty() { tag.clone() } else { version });
    }
    let newest = tags.get(LATEST).or_else(|| tags.values().next()).and_then(Value::as_object);
    describe(&mut item, newest.ok_or("it has no tags")?);
    if item.tags.is_empty() {
        return Err("it has no tags".to_owned());
    }
    Ok(item)
}

/// Takes over what an `item.yaml` says.
fn describe(item: &mut Item, details: &Map<String, Value>) {
    item.version = text(details, "version");
    item.description = text(details, "description");
    item.kind = details
        .get("spec")
        .and_then(|spec| spec.get("kind"))
        .and_then(Value::as_str)
        .unwrap_or("")
        .to_owned();
    let categories = details.get("categories").and_then(Value::as_array).into_iter().flatten();
    item.categories = categories.filter_map(Value::as_str).map(str::to_owned).collect();
}

fn text(map: &Map<String, Value>, key: &str) -> String {
    match map.get(key) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => String::new(),
    }
}

fn is_inside(path: &str) -> bool {
    let path = Path::new(path);
    path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
        && path.components().count() > 0
}

/// The items of a folder with one folder each: `NAME/function.yaml`, and `NAME/item.yaml` where there is one.
///
/// # Errors
/// When the folder cannot be read.
pub(crate) fn scan(root: &Path) -> Result<Items> {
    let mut names: Vec<_> = fs::read_dir(root)
        .map_err(|error| Error::io("read", root, error))?
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| !name.starts_with('.') && root.join(name).join("function.yaml").is_file())
        .collect();
    names.sort();
    let (mut items, mut left_out) = (Vec::new(), Vec::new());
    for folder in names {
        match plain(root, &folder) {
            Ok(item) => items.push(item),
            Err(error) => {
                let place = error.location().map(|place| format!("{place}: ")).unwrap_or_default();
                let why = format!("the item {folder:?} is left out: {place}{}", error.message());
                left_out.push(LeftOut { name: naming::normalize(&folder), why });
            }
        }
    }
    Ok((items, left_out))
}

fn plain(root: &Path, folder: &str) -> Result<Item> {
    let file = root.join(folder).join("item.yaml");
    let mut item = Item { name: naming::normalize(folder), ..Item::default() };
    if item.name.is_empty() {
        return Err(Error::invalid(folder, "no name can be made of it"));
    }
    let mut code = None;
    if file.exists() {
        let details: Map<String, Value> =
            yaml::from_str(&yaml::text_of(&file)?, &file.display().to_string())?;
        describe(&mut item, &details);
        let filename = details.get("spec").and_then(|spec| spec.get("filename")).and_then(Value::as_str);
        code = filename.filter(|name| is_inside(name)).map(|name| format!("{folder}/{name}"));
    }
    if item.kind.is_empty() || item.description.is_empty() {
        let function = Function::from_file(root.join(folder).join("function.yaml"))?;
        let or = |known: &mut String, found: String| {
            if known.is_empty() {
                *known = found;
            }
        };
        or(&mut item.kind, function.kind);
        or(&mut item.description, function.spec.description);
        if item.categories.is_empty() {
            item.categories = function.metadata.categories;
        }
    }
    let place = ItemPlace { function: format!("{folder}/function.yaml"), code };
    for tag in [LATEST, &item.version] {
        if is_tag(tag) {
            item.places.insert(tag.to_owned(), place.clone());
            item.tags.insert(tag.to_owned(), item.version.clone());
        }
    }
    Ok(item)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_catalogue_of_mlrun() {
        let text = br#"{"tf2_serving": {
            "latest": {"version": "1.1.0", "description": "d", "categories": ["a", 3], "spec": {"kind": "serving"}},
            "1.1.0": {"version": "1.1.0", "assets": {"function": "src/function.yaml", "source": "src/x.py"}},
            "0.9.0": {"version": "0.9.0"}
        }, "bad": 3, "worse": {"latest": {"assets": {"function": "../../etc/passwd"}}}}"#;
        let (items, notes) = parse(text, "catalog.json", "functions/master/").unwrap();
        let [item] = &items[..] else { panic!("{items:?}") };
        assert_eq!(
            (item.name.as_str(), item.version.as_str(), item.kind.as_str()),
            ("tf2-serving", "1.1.0", "serving")
        );
        assert_eq!(item.categories, ["a"]);
        // `latest` is read from the folder of its version, which never changes.
        assert_eq!(item.places["latest"].function, "functions/master/tf2_serving/1.1.0/src/function.yaml");
        assert_eq!(item.tags["0.9.0"], "0.9.0");
        assert!(notes.len() == 2 && notes[1].why.contains("elsewhere"), "{notes:?}");
        assert!(parse(b"[1]", "catalog.json", "").unwrap_err().to_string().contains("no catalogue"));
    }

    fn json() -> impl Strategy<Value = Value> {
        let word = prop::sample::select(vec![
            "latest", "1.0", "../x", "/etc", "version", "assets", "function", "source", "", "é",
        ]);
        let leaf = prop_oneof![
            word.clone().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            Just(Value::Null),
        ];
        leaf.prop_recursive(5, 64, 6, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::vec((word.clone(), inner), 0..6).prop_map(|pairs| {
                    Value::Object(pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
                }),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_catalogue_names_files_below_its_base(catalog in json()) {
            if let Ok((items, _)) = parse(catalog.to_string().as_bytes(), "c", "base/") {
                for place in items.iter().flat_map(|item| item.places.values()) {
                    for file in [Some(&place.function), place.code.as_ref()].into_iter().flatten() {
                        prop_assert!(file.starts_with("base/") && is_inside(file), "{file}");
                    }
                }
            }
        }

        #[test]
        fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(&bytes, "c", "");
        }
    }
}
