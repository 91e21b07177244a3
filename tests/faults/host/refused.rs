//! What is refused leaves everything as it was, the length too.

use super::files::{Files, template};
use crate::common::{run, text};
use nomount_kit::require;

/// The image was made longer first, and looked at then.
#[test]
fn an_image_that_mkfs_refuses_does_not_become_longer() {
    if !require(super::TOOLS) {
        return;
    }
    let template = template();
    let files = Files::of(template.path(), &["small.img"]);
    let before = files.names();
    let image = text(&files.path("small.img"));
    let refused = run(["mkfs", "-t", "ext4", "--format", "raw", &image, "64M"]);
    assert_eq!(refused.code, Some(3), "{refused:?}");
    assert_eq!(files.names(), before);
    let forced = run(["mkfs", "-t", "ext4", "--force", "--format", "raw", &image, "64M"]);
    assert_eq!(forced.code, Some(0), "{forced:?}");
    assert_eq!(files.path("small.img").metadata().unwrap().len(), 64 << 20);
}
