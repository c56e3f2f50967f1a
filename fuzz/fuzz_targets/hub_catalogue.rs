#![no_main]

#[path = "../../tests/fuzz/mod.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|input: &[u8]| checks::hub_catalogue::check(input));
