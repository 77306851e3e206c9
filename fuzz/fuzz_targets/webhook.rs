//! Any bytes as the body of a notification.
#![no_main]

#[path = "../../tests/properties/webhook.rs"]
mod webhook;

libfuzzer_sys::fuzz_target!(|body: &[u8]| webhook::check(body));
