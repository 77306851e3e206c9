//! Any bytes as a connection list, and as the places at which it is split.
#![no_main]

#[path = "../../tests/properties/connz.rs"]
mod connz;

libfuzzer_sys::fuzz_target!(|input: &[u8]| connz::check(input));
