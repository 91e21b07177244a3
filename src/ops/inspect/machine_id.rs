//! machine-id(5): whether clones of an image will be told apart.

use super::reader::{Reader, known};
use serde::Serialize;

/// The state of /etc/machine-id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", content = "id", rename_all = "lowercase")]
pub enum MachineId {
    /// No file: systemd makes one, where it can write.
    Missing,
    /// An empty file, as an image should have: the first boot makes an id.
    Empty,
    /// The word `uninitialized`: the first boot makes an id, and knows that it is the first.
    Uninitialized,
    /// An id. Copies of the image have the same one.
    Set(String),
    /// Something else, or what cannot be read.
    Invalid,
}

/// Looks at the file.
pub(super) fn machine_id(reader: &mut Reader<'_>) -> MachineId {
    let path = known("/etc/machine-id");
    let Some(bytes) = reader.bytes(&path) else {
        return if reader.stat(&path).is_some() { MachineId::Invalid } else { MachineId::Missing };
    };
    let text = bytes.trim_ascii();
    match text {
        b"" => MachineId::Empty,
        b"uninitialized" => MachineId::Uninitialized,
        _ if text.len() == 32 && text.iter().all(u8::is_ascii_hexdigit) => {
            MachineId::Set(String::from_utf8_lossy(text).into_owned())
        }
        _ => MachineId::Invalid,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::memtree::MemTree;

    #[test]
    fn the_states_of_the_file() {
        let id = "0123456789abcdef0123456789abcdef";
        for (text, wanted) in [
            ("", MachineId::Empty),
            ("\n", MachineId::Empty),
            ("uninitialized\n", MachineId::Uninitialized),
            (&format!("{id}\n"), MachineId::Set(id.to_owned())),
            ("0123", MachineId::Invalid),
        ] {
            let mut tree = MemTree::new();
            tree.file("/etc/machine-id", text);
            assert_eq!(machine_id(&mut Reader::new(&tree)), wanted, "{text:?}");
        }
        let mut tree = MemTree::new();
        tree.link("/etc/machine-id", "../run/machine-id");
        assert_eq!(machine_id(&mut Reader::new(&tree)), MachineId::Missing);
        tree.dir("/run/machine-id");
        assert_eq!(machine_id(&mut Reader::new(&tree)), MachineId::Invalid);
    }
}
