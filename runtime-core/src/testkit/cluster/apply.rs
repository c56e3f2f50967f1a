//! Server-side apply.
use super::{
    call::{Answer, Call},
    status::Refusal,
};

impl Call<'_> {
    pub(super) fn apply(&mut self, _status: bool) -> Result<Answer, Refusal> {
        Err(Refusal::unknown())
    }
}
