//! What a function is.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{
    Build, EntryPoint,
    fields::{Fields, fields, put_extra},
};
use crate::{Result, pod::PodSpec};

fields! {
    /// What a function is.
    pub struct Spec {
        /// The program or file.
        command: String = "command",
        /// Its arguments.
        args: Vec<String> = "args",
        /// The image.
        image: String = "image",
        /// `pass`: the command is run as it is; empty: as Python code.
        mode: String = "mode",
        /// The handler where a run names none.
        default_handler: String = "default_handler",
        /// Working directory.
        workdir: String = "workdir",
        /// Folders for `sys.path`, separated by `:`.
        pythonpath: String = "pythonpath",
        /// What it does, in one line.
        description: String = "description",
        /// Its handlers, by name.
        entry_points: BTreeMap<String, EntryPoint> = "entry_points",
        /// Whether it goes without the volumes that a cluster mounts by itself.
        disable_auto_mount: bool = "disable_auto_mount",
        /// Whether it may go without resources where defaults are set.
        allow_empty_resources: bool = "allow_empty_resources",
        /// The folder into which the source is cloned.
        clone_target_dir: String = "clone_target_dir",
    }
    and {
        /// Code and packages.
        build: Build,
        /// The attributes that all kinds which run as pods share; they stand in `spec` itself.
        pod: PodSpec,
        /// The fields of a kind, and those that are not known; those that are null are left out.
        extra: Map<String, Value>,
    }
}

impl Spec {
    pub(super) fn read(mut from: Fields<'_>) -> Result<Self> {
        let mut spec = Self::take(&mut from)?;
        spec.build = Build::read(from.inner("build")?)?;
        spec.pod = PodSpec::read(&mut from)?;
        spec.extra = from.rest();
        Ok(spec)
    }

    pub(super) fn write(&self, but: Option<&Self>) -> Map<String, Value> {
        let mut map = Map::new();
        self.put(&mut map, but);
        let build = self.build.write(but.map(|but| &but.build));
        if !build.is_empty() {
            map.insert("build".to_owned(), Value::Object(build));
        }
        self.pod.write(&mut map, but.map(|but| &but.pod));
        put_extra(&mut map, &self.extra, but.map(|but| &but.extra));
        map
    }
}
