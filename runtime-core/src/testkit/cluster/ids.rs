//! Uids, and names that are given.

use serde_json::{Value, json};

use super::world::World;

impl World {
    /// A number that did not come before.
    pub(super) fn number(&mut self) -> u64 {
        // The steps of the SplitMix64 generator: all of its numbers are different.
        self.numbers = self.numbers.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut number = self.numbers;
        number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        number ^ (number >> 31)
    }

    pub(super) fn uid(&mut self) -> String {
        let (high, low) = (self.number(), self.number());
        format!(
            "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
            high >> 32,
            (high >> 16) & 0xffff,
            high & 0xfff,
            0x8000 | (low >> 48 & 0x3fff),
            low & 0xffff_ffff_ffff
        )
    }

    /// The five letters at the end of generated names.
    pub(super) fn suffix(&mut self) -> String {
        const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
        let mut number = self.number();
        let mut letter = || {
            let at = usize::try_from(number % LETTERS.len() as u64).unwrap_or_default();
            number /= LETTERS.len() as u64;
            char::from(LETTERS[at])
        };
        (0..5).map(|_| letter()).collect()
    }

    /// Metadata that the server gives.
    pub(super) fn stamp_new(&mut self, value: &mut Value) {
        let (uid, now) = (self.uid(), self.clock.stamp());
        let metadata = super::object::metadata(value);
        metadata.insert("uid".to_owned(), uid.into());
        metadata.insert("creationTimestamp".to_owned(), json!(now));
    }
}
