//! `kill -9` while functions are pushed and pulled and archives are unpacked: nothing half-written is ever seen, and
//! nothing that was acknowledged is missing. `RUNTIMES_TEST_KILLS` says how often.

use std::{
    env, fs,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use runtimes::{
    Function,
    core::{serde_json, yaml},
    hub::{Hub, Push},
    source::Sources,
};

use crate::{
    hub::{square, team},
    scene::{Scene, quiet},
};

/// The folder in which the other process works.
const WORK: &str = "RUNTIMES_TEST_ELSEWHERE";

/// The files of each archive.
const FILES: usize = 60;

/// In a process that the test below started: pushes, pulls and unpacks for ever. Elsewhere: nothing.
#[test]
fn worker() {
    let Ok(folder) = env::var(WORK) else { return };
    let folder = PathBuf::from(folder);
    let hub = Hub::open(folder.join("home")).unwrap().with_lockfile(folder.join("runtimes.lock"));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    println!("\n@begin");
    for round in 0.. {
        let comment = format!("{} {round}", std::process::id());
        let pushed = hub.push(&square(&comment), &folder, "team", &Push::default()).unwrap();
        println!("\n@pushed {}", pushed.version);
        let pulled = runtime.block_on(hub.pull("hub://team/square-it", true, &quiet)).unwrap();
        println!("\n@pulled {}", pulled.pin.version);
        let sources = Sources::new(folder.join("home"));
        let archive = archive(&folder, &comment);
        let prepared = runtime.block_on(sources.prepare(&archive, &folder, &quiet)).unwrap();
        println!("\n@unpacked {}", prepared.path.display());
    }
}

/// An archive that nobody has seen.
fn archive(folder: &Path, comment: &str) -> String {
    let name = format!("{}.tar", comment.replace(' ', "-"));
    let mut tar = tar::Builder::new(fs::File::create(folder.join(&name)).unwrap());
    for n in 0..FILES {
        let mut header = tar::Header::new_gnu();
        header.set_size(comment.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, format!("d{}/f{n}", n % 7), comment.as_bytes()).unwrap();
    }
    tar.finish().unwrap();
    name
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_half_written_is_seen() {
    let kills = env::var("RUNTIMES_TEST_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(30);
    let scene = team().await;
    let (mut pushed, mut pulled) = (None, None);
    for round in 0..kills {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["kill::worker", "--exact", "--nocapture", "--test-threads=1"])
            .env(WORK, scene.path("."))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut rest = String::new();
        // After it said so many things.
        while rest.lines().filter(|line| line.starts_with('@')).count() <= usize::try_from(round % 5).unwrap()
        {
            assert_ne!(lines.read_line(&mut rest).unwrap(), 0, "the other process ended");
        }
        // At any moment: spread evenly, not the same in two rounds.
        std::thread::sleep(Duration::from_micros(u64::from(round * 7919 % 60_000u32)));
        child.kill().unwrap();
        child.wait().unwrap();
        lines.read_to_string(&mut rest).unwrap();
        for line in rest.lines() {
            match line.split_once(' ') {
                Some(("@pushed", version)) => pushed = Some(version.to_owned()),
                Some(("@pulled", version)) => pulled = Some(version.to_owned()),
                _ => {}
            }
        }
        is_whole(&scene, pushed.as_deref(), pulled.as_deref()).await;
    }
    assert!(pushed.is_some() && pulled.is_some(), "it was always killed too early");
}

async fn is_whole(scene: &Scene, pushed: Option<&str>, pulled: Option<&str>) {
    let hub = scene.hub();
    let listing = hub.list(None, &quiet).await.unwrap();
    assert!(listing.notes.is_empty(), "{:?}", listing.notes);
    if let Some(item) = listing.items.first() {
        assert!(
            pushed.is_none_or(|version| item.tags.contains_key(version)),
            "{pushed:?} of {:?}",
            item.tags
        );
        for tag in item.tags.keys() {
            let imported = hub.latest(&format!("hub://square-it:{tag}"), &quiet).await.unwrap();
            assert!(imported.function.code().unwrap().is_some());
        }
    }
    // As those see it who do not read the catalogue.
    for folder in entries(&scene.path("team/functions/master/square_it")) {
        Function::from_file(folder.join("src/function.yaml")).unwrap();
        let item = fs::read_to_string(folder.join("src/item.yaml")).unwrap();
        let item: serde_json::Value = yaml::from_str(&item, "item.yaml").unwrap();
        assert_eq!(item["name"], "square-it");
    }
    let pins = hub.pins().unwrap();
    if let Some(version) = pulled {
        assert!(order(&pins[0].version) >= order(version), "{version} was pulled, {:?} is pinned", pins[0]);
        hub.import("hub://team/square-it", &quiet).await.unwrap();
    }
    for tree in entries(&scene.path("home/sources"))
        .into_iter()
        .filter(|path| path.is_dir() && path.extension().is_none())
    {
        let files: Vec<_> = entries(&tree).iter().flat_map(|folder| entries(folder)).collect();
        assert_eq!(files.len(), FILES, "{}", tree.display());
        assert!(files.iter().all(|file| fs::metadata(file).unwrap().len() > 0));
    }
}

fn order(version: &str) -> u64 {
    version.rsplit('.').next().unwrap().parse().unwrap()
}

/// The paths in a folder, but for hidden ones.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let shown = entries.filter(|entry| !entry.file_name().to_string_lossy().starts_with('.'));
    shown.map(|entry| entry.path()).collect()
}
