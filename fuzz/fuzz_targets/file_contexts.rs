#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| (nomount_fuzz::target("file_contexts").body)(data));
