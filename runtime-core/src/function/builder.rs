//! Functions by methods that chain: code, packages, environment, labels.

use std::path::Path;

use k8s_openapi::api::core::v1 as core;

use super::Function;
use crate::{Result, pod::parse_env_file, yaml};

fn texts<T: Into<String>>(items: impl IntoIterator<Item = T>) -> Vec<String> {
    items.into_iter().map(Into::into).collect()
}

impl Function {
    /// Sets its project.
    #[must_use]
    pub fn with_project(mut self, project: impl Into<String>) -> Self {
        self.metadata.project = project.into();
        self
    }

    /// Carries this Python code.
    #[must_use]
    pub fn with_code(self, text: &str) -> Self {
        let name = match self.metadata.name.as_str() {
            "" => "function.py".to_owned(),
            name => format!("{name}.py"),
        };
        self.embed_code(&name, text)
    }

    /// Takes its code from an archive or a repository, fetched when a run starts.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<String>) -> Self {
        self.spec.build.source = source.into();
        self.spec.build.load_source_on_run = true;
        self
    }

    /// Sets its packages, as pip reads them.
    #[must_use]
    pub fn with_requirements<T: Into<String>>(mut self, requirements: impl IntoIterator<Item = T>) -> Self {
        self.spec.build.requirements = texts(requirements);
        self
    }

    /// Sets its image.
    #[must_use]
    pub fn with_image(mut self, image: impl Into<String>) -> Self {
        self.spec.image = image.into();
        self
    }

    /// Sets the handler where a run names none.
    #[must_use]
    pub fn with_handler(mut self, handler: impl Into<String>) -> Self {
        self.spec.default_handler = handler.into();
        self
    }

    /// Sets its program or file.
    #[must_use]
    pub fn with_command(mut self, command: impl Into<String>) -> Self {
        self.spec.command = command.into();
        self
    }

    /// Sets the arguments of its program.
    #[must_use]
    pub fn with_args<T: Into<String>>(mut self, args: impl IntoIterator<Item = T>) -> Self {
        self.spec.args = texts(args);
        self
    }

    /// Sets its working directory.
    #[must_use]
    pub fn with_workdir(mut self, workdir: impl Into<String>) -> Self {
        self.spec.workdir = workdir.into();
        self
    }

    /// Sets a label.
    #[must_use]
    pub fn with_label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.labels.insert(name.into(), value.into());
        self
    }

    /// Sets labels; the others stay.
    #[must_use]
    pub fn with_labels<N: Into<String>, V: Into<String>>(
        mut self,
        labels: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        self.metadata.labels.extend(labels.into_iter().map(|(name, value)| (name.into(), value.into())));
        self
    }

    /// Sets annotations; the others stay.
    #[must_use]
    pub fn with_annotations<N: Into<String>, V: Into<String>>(
        mut self,
        annotations: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        self.metadata
            .annotations
            .extend(annotations.into_iter().map(|(name, value)| (name.into(), value.into())));
        self
    }

    /// Sets an environment variable, in place of one of that name.
    #[must_use]
    pub fn set_env(self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.set_env_var(core::EnvVar { name: name.into(), value: Some(value.into()), value_from: None })
    }

    /// Sets environment variables, each in place of one of its name.
    #[must_use]
    pub fn set_envs<N: Into<String>, V: Into<String>>(
        self,
        variables: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        variables.into_iter().fold(self, |function, (name, value)| function.set_env(name, value))
    }

    /// Sets the environment variables of a `.env` file; see [`parse_env_file`] for what may stand in it.
    ///
    /// # Errors
    /// Where the file cannot be read, or a line of it is wrong.
    pub fn set_envs_file(self, path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let text = yaml::text_of(path)?;
        Ok(self.set_envs(parse_env_file(&text, &path.display().to_string())?))
    }

    /// Sets an environment variable to a key of a secret, in place of one of that name. Its value is looked up when
    /// a process starts, and is no part of the function.
    #[must_use]
    pub fn set_env_from_secret(
        self,
        name: impl Into<String>,
        secret: impl Into<String>,
        key: impl Into<String>,
    ) -> Self {
        let selector = core::SecretKeySelector { name: secret.into(), key: key.into(), optional: None };
        let source = core::EnvVarSource { secret_key_ref: Some(selector), ..core::EnvVarSource::default() };
        self.set_env_var(core::EnvVar { name: name.into(), value: None, value_from: Some(source) })
    }

    /// Sets an environment variable of any source, in place of those of that name.
    #[must_use]
    pub fn set_env_var(mut self, variable: core::EnvVar) -> Self {
        let env = &mut self.spec.pod.env;
        match env.iter().position(|other| other.name == variable.name) {
            None => env.push(variable),
            Some(first) => {
                let mut index = 0;
                env.retain(|other| {
                    index += 1;
                    index <= first + 1 || other.name != variable.name
                });
                env[first] = variable;
            }
        }
        self
    }
}
