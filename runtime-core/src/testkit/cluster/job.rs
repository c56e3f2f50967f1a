//! The controller of jobs.
use super::{object::Key, world::World};

impl World {
    pub(super) fn job(&mut self, _: &Key) {}
}
