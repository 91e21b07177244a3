//! Writes the image that an input of a target of ext stands for, so that other tools can look at it:
//! `cargo run --no-default-features --example image TARGET INPUT IMAGE`.

use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [target, input, output] = args.as_slice() else {
        eprintln!("usage: image TARGET INPUT IMAGE");
        return ExitCode::from(2);
    };
    let image = std::fs::read(input).map(|data| nomount_fuzz::ext_image(target, &data));
    match image.map(|image| image.map(|image| std::fs::write(output, image))) {
        Ok(Some(Ok(()))) => ExitCode::SUCCESS,
        Ok(None) => {
            eprintln!("{input}: too short, or {target} is no target of ext");
            ExitCode::FAILURE
        }
        Ok(Some(Err(error))) | Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
