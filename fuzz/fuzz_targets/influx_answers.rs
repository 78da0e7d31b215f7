#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fieldbeat::fuzz::run("influx_answers", data));
