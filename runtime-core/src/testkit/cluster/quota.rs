//! Quotas.
use serde_json::Value;

use super::{call::Call, status::Refusal};

impl Call<'_> {
    pub(super) fn admit(&mut self, _: &Value) -> Result<(), Refusal> {
        Ok(())
    }
}
