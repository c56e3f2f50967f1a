//! Which kinds there are: those that were linked, and those that were registered by hand.

use std::{collections::BTreeMap, sync::Arc};

use crate::{Error, ErrorKind, Result, Runtime, error::did_you_mean};

/// A kind that announces itself when its crate is linked:
/// `inventory::submit! { Registration(|| Arc::new(MyKind)) }`.
pub struct Registration(pub fn() -> Arc<dyn Runtime>);

inventory::collect!(Registration);

/// The kinds by name, sorted.
#[derive(Clone, Default)]
pub struct Registry {
    kinds: BTreeMap<&'static str, Arc<dyn Runtime>>,
}

impl Registry {
    /// No kinds at all.
    pub fn new() -> Self {
        Self::default()
    }

    /// The kinds of all linked crates.
    ///
    /// A crate that nothing names is dropped by the linker, and its kinds with it: name it, or use [`Self::register`].
    ///
    /// # Errors
    /// `AlreadyExists` where two crates claim one kind.
    pub fn linked() -> Result<Self> {
        let mut registry = Self::new();
        for Registration(make) in inventory::iter::<Registration> {
            registry.register(make())?;
        }
        Ok(registry)
    }

    /// Adds a kind.
    ///
    /// # Errors
    /// `AlreadyExists` where that kind is taken.
    pub fn register(&mut self, runtime: Arc<dyn Runtime>) -> Result<()> {
        let kind = runtime.kind();
        if self.kinds.contains_key(kind) {
            return Err(Error::new(
                ErrorKind::AlreadyExists,
                format!("two crates register the kind `{kind}`"),
            )
            .help("link one of them only"));
        }
        self.kinds.insert(kind, runtime);
        Ok(())
    }

    /// The kind of this name.
    ///
    /// # Errors
    /// `Unsupported`, listing the kinds that are there.
    pub fn get(&self, kind: &str) -> Result<&Arc<dyn Runtime>> {
        self.kinds.get(kind).ok_or_else(|| {
            let mut help = match did_you_mean(kind, self.kinds.keys().copied()) {
                Some(close) => format!("did you mean `{close}`? "),
                None => String::new(),
            };
            help += &format!("kinds in this build: {}", self.names().collect::<Vec<_>>().join(", "));
            Error::new(ErrorKind::Unsupported, format!("unknown kind `{kind}`")).at("kind").help(help)
        })
    }

    /// The names of the kinds, sorted.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.kinds.keys().copied()
    }

    /// The kinds, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<dyn Runtime>> {
        self.kinds.values()
    }
}
