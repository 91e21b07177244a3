#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| (nomount_fuzz::target("tar_in").body)(data));
