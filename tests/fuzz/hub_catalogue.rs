//! A hub of anybody. The parts of an input are its `catalog.json` (without one it is a hub of folders), an `item.yaml`,
//! a `function.yaml`, the code beside it, and the `runtimes.lock` of who pulls.

use std::{collections::BTreeSet, path::Path, sync::LazyLock};

use runtimes::{
    Result,
    hub::{Hub, HubSource, Imported},
};
use tokio::runtime::{Builder, Runtime};

/// What lies beside the hub, and must not be found through it.
const OUTSIDE: &str = "kind: local\nmetadata: {name: outside}\nspec: {image: nobodys-business}\n";

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Builder::new_current_thread().build().unwrap());

/// Each item that is listed has a name and tags, and what is imported of it comes from the hub's own folder.
pub(crate) fn check(input: &[u8]) {
    let scene = super::scratch::folder();
    write(scene.path(), &super::parts(input));
    let home = scene.path().join("home");
    let hub = Hub::open(&home).unwrap().with_lockfile(scene.path().join("runtimes.lock"));
    RUNTIME.block_on(async {
        if let Err(error) = hub.pins() {
            super::is_of_use(&error);
        }
        let listing = match hub.list(Some("team"), &|_| {}).await {
            Ok(listing) => listing,
            Err(error) => return super::is_of_use(&error),
        };
        for note in &listing.notes {
            assert!(!note.contains(|c: char| c.is_control() && c != '\n'), "{note:?}");
        }
        for item in listing.items.iter().take(4) {
            assert!(!item.name.is_empty() && !item.tags.is_empty() && item.source == "team", "{item:?}");
            for tag in item.tags.keys().take(4) {
                let address = format!("hub://team/{}:{tag}", item.name);
                is_sound(hub.import(&address, &|_| {}).await, input);
            }
        }
        is_sound(hub.pull("hub://team/describe", false, &|_| {}).await, input);
    });
    let left: BTreeSet<_> =
        scene.path().read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
    let known = ["home", "runtimes.lock", "runtimes.lock.lock", "outside", "team"];
    assert!(left.iter().all(|name| known.iter().any(|known| name == known)), "{left:?}");
}

fn write(scene: &Path, parts: &[&[u8]]) {
    let part = |at: usize| parts.get(at).copied().unwrap_or_default();
    let team = scene.join("team");
    let folders = match part(0).is_empty() {
        true => vec![team.join("describe")],
        false => {
            super::scratch::write(&team.join("functions/master/catalog.json"), part(0));
            let item = team.join("functions/master/describe");
            vec![item.join("latest"), item.join("1.0.0")]
        }
    };
    for folder in folders {
        super::scratch::write(&folder.join("item.yaml"), part(1));
        super::scratch::write(&folder.join("function.yaml"), part(2));
        super::scratch::write(&folder.join("src/function.yaml"), part(2));
        super::scratch::write(&folder.join("src/describe.py"), part(3));
        super::scratch::write(&folder.join("describe.py"), part(3));
    }
    for file in ["function.yaml", "describe.py", "describe/function.yaml"] {
        super::scratch::write(&scene.join("outside").join(file), OUTSIDE.as_bytes());
    }
    if !part(4).is_empty() {
        super::scratch::write(&scene.join("runtimes.lock"), part(4));
    }
    let hub = HubSource::new("team", "team");
    let text = format!("sources:\n- {{name: {}, path: {}}}\n", hub.name, hub.path);
    super::scratch::write(&scene.join("home/hub.yaml"), text.as_bytes());
}

fn is_sound(imported: Result<Imported>, input: &[u8]) {
    const SECRET: &str = "nobodys-business";
    let written = String::from_utf8_lossy(input);
    match imported {
        Ok(imported) => {
            let yaml = imported.function.to_yaml().unwrap();
            let code = imported.function.code().ok().flatten().map(|code| code.text).unwrap_or_default();
            let found = yaml.contains(SECRET) || code.contains(SECRET);
            assert!(!found || written.contains(SECRET), "it was read from outside:\n{yaml}\n{code}");
        }
        Err(error) => super::is_readable(&error),
    }
}
