#![no_main]

libfuzzer_sys::fuzz_target!(init: readers::limit_memory(), |data: &[u8]| readers::pairs(data));
