//! What a test does to the server and its nodes, beside what clients do.

use super::{server::FakeCluster, world::Signal};

impl FakeCluster {
    /// Ends all watches, as servers do from time to time.
    pub fn drop_watches(&self) {
        self.world().signal(&Signal::End);
    }

    /// The connections of all watches break.
    pub fn break_watches(&self) {
        self.world().signal(&Signal::Broken);
    }

    /// All watches are told that they fell behind (410), and end.
    pub fn expire_watches(&self) {
        self.world().signal(&Signal::Expired);
    }

    /// Sends a bookmark to all watches that want them.
    pub fn bookmark(&self) {
        let mut world = self.world();
        let version = world.version;
        world.signal(&Signal::Bookmark(version));
    }

    /// Forgets what was: watches and pages of lists that begin in the past get 410.
    pub fn compact(&self) {
        let mut world = self.world();
        let version = world.version;
        world.pages.clear();
        for table in &mut world.tables {
            table.history.clear();
            table.since = version;
        }
    }

    /// The server cannot be reached any more: all watches break, all requests fail.
    pub fn stop(&self) {
        let mut world = self.world();
        world.faults.down = true;
        world.signal(&Signal::Broken);
    }

    /// It can be reached again, and has all that it had.
    pub fn start(&self) {
        self.world().faults.down = false;
    }

    /// Stops and starts it. Watches cannot be taken up where they were, but begin anew.
    pub fn restart(&self) {
        self.stop();
        self.compact();
        self.start();
    }

    /// So many changes of each resource are known to watches that begin in the past; 4096 unless told otherwise.
    pub fn keep_history(&self, changes: usize) {
        self.world().history = changes;
    }

    /// A node is not heard of any more: its pods are not ready, and after five minutes they are to be deleted, which
    /// nobody there does. Their logs cannot be read.
    pub fn lose_node(&self, name: &str) {
        self.world().lose_node(name);
        self.settle();
    }

    /// A node that was lost is back.
    pub fn find_node(&self, name: &str) {
        self.world().find_node(name);
        self.settle();
    }
}
