//! One process of a run: started below a supervisor, followed, stopped.

pub(crate) mod follow;
pub(crate) mod limits;
pub(crate) mod state_file;
pub(crate) mod strays;
pub(crate) mod supervisor;
pub(crate) mod tail;
