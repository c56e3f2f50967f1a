//! Where a function's code and packages come from.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::fields::{Fields, fields, put_extra};
use crate::Result;

fields! {
    /// Code and packages, and how an image is made of them.
    pub struct Build {
        /// The code, base64.
        function_source_code: String = "functionSourceCode",
        /// The file that the code came from.
        origin_filename: String = "origin_filename",
        /// Where the code came from, such as a commit.
        code_origin: String = "code_origin",
        /// An archive or repository with the code: a path or URL.
        source: String = "source",
        /// The folder in the image into which the source goes.
        source_code_target_dir: String = "source_code_target_dir",
        /// Whether the source is fetched when a run starts, not when the image is built.
        load_source_on_run: bool = "load_source_on_run",
        /// Packages, as pip reads them.
        requirements: Vec<String> = "requirements",
        /// Commands that are run while the image is built.
        commands: Vec<String> = "commands",
        /// The image to build on.
        base_image: String = "base_image",
        /// The image to build.
        image: String = "image",
        /// The registry that keeps the image.
        registry: String = "registry",
        /// The secret with the registry's credentials.
        secret: String = "secret",
        /// Lines added to the Dockerfile: the field `extra`.
        dockerfile_extra: String = "extra",
        /// Arguments of the program that builds.
        extra_args: String = "extra_args",
        /// Environment of the build.
        builder_env: BTreeMap<String, String> = "builder_env",
        /// Whether an image is built when the function is deployed.
        auto_build: bool = "auto_build",
        /// Whether the image gets MLRun.
        with_mlrun: bool = "with_mlrun",
        /// How the code is fetched: Nuclio's name for it.
        code_entry_type: String = "codeEntryType",
        /// What Nuclio needs to fetch the code.
        code_entry_attributes: Map<String, Value> = "codeEntryAttributes",
        /// The pod that builds or built the image.
        build_pod: String = "build_pod",
    }
    and {
        /// Fields that are not known here, kept; those that are null are left out.
        extra: Map<String, Value>,
    }
}

impl Build {
    pub(super) fn read(mut from: Fields<'_>) -> Result<Self> {
        let mut build = Self::take(&mut from)?;
        build.extra = from.rest();
        Ok(build)
    }

    pub(super) fn write(&self, but: Option<&Self>) -> Map<String, Value> {
        let mut map = Map::new();
        self.put(&mut map, but);
        put_extra(&mut map, &self.extra, but.map(|but| &but.extra));
        map
    }
}
