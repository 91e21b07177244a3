//! Small disks from which cloud-init configures a guest: NoCloud and config-drive, each a FAT filesystem with a label.

use crate::error::{Error, ErrorKind, Result};
use crate::ops::customize::check_hostname;
use crate::tree::Time;
use nomount_block::Memory;
use nomount_fat::{Attrs, Filesystem, Options};
use serde::Serialize;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

/// The most bytes that all files together have: what cloud-init reads is a few KiB, with a large archive a few MiB.
const MAX_CONTENTS: u64 = 64 << 20;
/// The smallest filesystem that is made, in bytes.
const MIN_SIZE: u64 = 1 << 20;
/// Room for tables, directories and the ends of clusters: a part of the contents, and so much more.
const OVERHEAD: u64 = 256 << 10;

/// What the guest looks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SeedKind {
    /// Label `CIDATA`, files `user-data`, `meta-data` and others in the root directory.
    #[serde(rename = "nocloud")]
    NoCloud,
    /// Label `CONFIG-2`, files below `openstack/latest`.
    ConfigDrive,
}

impl SeedKind {
    fn label(self) -> &'static str {
        match self {
            Self::NoCloud => "CIDATA",
            // The lower case that OpenStack writes cannot be a label of FAT; cloud-init knows both.
            Self::ConfigDrive => "CONFIG-2",
        }
    }
}

/// What a guest is to be told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SeedRequest {
    /// What cloud-init does: a `#cloud-config`, a script, or another of its formats.
    pub user_data: Option<Vec<u8>>,
    /// What is known of the machine, instead of instance id and host name: YAML, for a config-drive JSON.
    pub meta_data: Option<Vec<u8>>,
    /// By what cloud-init tells whether it has done its work already; by default made of the contents.
    pub instance_id: Option<String>,
    /// The name of the guest.
    pub hostname: Option<String>,
    /// Network configuration: YAML, for a config-drive OpenStack's JSON.
    pub network_config: Option<Vec<u8>>,
    /// The same as user-data, from whoever provides the machine; for a config-drive JSON.
    pub vendor_data: Option<Vec<u8>>,
}

/// A disk that was made.
#[derive(Debug)]
pub struct Seed {
    /// All its bytes.
    pub image: Vec<u8>,
    /// What it is.
    pub facts: SeedFacts,
}

/// What a disk is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SeedFacts {
    /// What the guest looks for.
    #[serde(rename = "type")]
    pub kind: SeedKind,
    /// Its label.
    pub label: &'static str,
    /// Its size in bytes.
    pub size: u64,
    /// By what cloud-init tells whether it has done its work already; none where the meta-data says it.
    pub instance_id: Option<String>,
    /// The files in it.
    pub files: Vec<SeedFile>,
    /// What is to be noticed.
    pub notes: Vec<String>,
}

/// A file on a disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SeedFile {
    /// Where it is.
    pub path: String,
    /// Its length in bytes.
    pub size: u64,
}

/// Makes a disk of `kind` in memory; `now` is when its files were changed. The same request gives the same bytes.
pub fn seed(kind: SeedKind, request: &SeedRequest, now: Time) -> Result<Seed> {
    let usage = |message: &str| Err(Error::new(ErrorKind::Usage, message));
    if request == &SeedRequest::default() {
        return usage("there is nothing to tell the guest: give user-data, a host name or the like");
    }
    if request.meta_data.is_some() && (request.instance_id.is_some() || request.hostname.is_some()) {
        return usage("meta-data has instance id and host name in it: give these or that");
    }
    request.hostname.as_deref().map_or(Ok(()), check_hostname)?;
    let digest = digest(kind, request);
    let instance_id = request.meta_data.is_none().then(|| {
        let hex: String = digest[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        request.instance_id.clone().unwrap_or_else(|| format!("nomount-{hex}"))
    });
    let mut notes = Vec::new();
    if let Some(text) = request.user_data.as_deref().filter(|text| !is_user_data(text)) {
        let first = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let first = first[..first.len().min(40)].escape_ascii();
        notes.push(format!("cloud-init may not know what this user-data is: it begins with \"{first}\""));
    }
    let files = match kind {
        SeedKind::NoCloud => no_cloud(request, instance_id.as_deref()),
        SeedKind::ConfigDrive => config_drive(request, instance_id.as_deref())?,
    };
    let volume_id = u32::from_le_bytes([digest[8], digest[9], digest[10], digest[11]]);
    let image = filesystem(kind, &files, volume_id, now)?;
    let size = image.len() as u64;
    let files = files.iter().map(|(path, text)| SeedFile { path: path.join("/"), size: text.len() as u64 }).collect();
    Ok(Seed { image, facts: SeedFacts { kind, label: kind.label(), size, instance_id, files, notes } })
}

type File = (Vec<&'static str>, Vec<u8>);

/// What everything depends on that is not given.
fn digest(kind: SeedKind, request: &SeedRequest) -> [u8; 32] {
    let text = |text: &Option<String>| text.as_ref().map(|text| text.clone().into_bytes());
    let parts = [
        Some(kind.label().as_bytes().to_vec()),
        request.user_data.clone(),
        request.meta_data.clone(),
        text(&request.instance_id),
        text(&request.hostname),
        request.network_config.clone(),
        request.vendor_data.clone(),
    ];
    let mut hasher = Sha256::new();
    for part in parts {
        // Lengths keep apart what would read the same together; none is not empty.
        hasher.update(part.as_ref().map_or(u64::MAX, |part| part.len() as u64).to_le_bytes());
        hasher.update(part.unwrap_or_default());
    }
    hasher.finalize().into()
}

/// Whether cloud-init knows what to do with it.
fn is_user_data(text: &[u8]) -> bool {
    const BEGINNINGS: [&[u8]; 14] = [
        b"#!",
        b"#cloud-config",
        b"#cloud-boothook",
        b"#include",
        b"#part-handler",
        b"#upstart-job",
        b"## template:",
        b"Content-Type:",
        b"MIME-Version:",
        b"From ",
        b"Received:",
        b"\x1f\x8b",
        b"{",
        b"[",
    ];
    BEGINNINGS
        .iter()
        .any(|beginning| text.len() >= beginning.len() && text[..beginning.len()].eq_ignore_ascii_case(beginning))
}

fn no_cloud(request: &SeedRequest, instance_id: Option<&str>) -> Vec<File> {
    let meta_data = request.meta_data.clone().unwrap_or_else(|| {
        // A JSON string is a YAML string.
        let mut text = format!("instance-id: {}\n", json!(instance_id.unwrap_or_default()));
        if let Some(hostname) = &request.hostname {
            text.push_str(&format!("local-hostname: {}\n", json!(hostname)));
        }
        text.into_bytes()
    });
    let mut files = vec![
        // Without this one cloud-init does not take the disk for its own.
        (vec!["user-data"], request.user_data.clone().unwrap_or_default()),
        (vec!["meta-data"], meta_data),
    ];
    files.extend(request.network_config.clone().map(|text| (vec!["network-config"], text)));
    files.extend(request.vendor_data.clone().map(|text| (vec!["vendor-data"], text)));
    files
}

fn config_drive(request: &SeedRequest, instance_id: Option<&str>) -> Result<Vec<File>> {
    let must_be_json = |what: &str, text: &[u8]| match serde_json::from_slice::<Map<String, Value>>(text) {
        Ok(_) => Ok(()),
        Err(error) => {
            let message = format!("{what} of a config-drive must be a JSON object: {error}");
            Err(Error::new(ErrorKind::Usage, message))
        }
    };
    let parts = [
        ("meta-data", &request.meta_data),
        ("network configuration", &request.network_config),
        ("vendor-data", &request.vendor_data),
    ];
    for (what, text) in parts {
        text.as_deref().map_or(Ok(()), |text| must_be_json(what, text))?;
    }
    let meta_data = request.meta_data.clone().unwrap_or_else(|| {
        let mut document = json!({ "uuid": instance_id });
        if let Some(hostname) = &request.hostname {
            document["hostname"] = json!(hostname);
            document["name"] = json!(hostname);
        }
        format!("{document}\n").into_bytes()
    });
    let file = |name| vec!["openstack", "latest", name];
    let mut files = vec![(file("meta_data.json"), meta_data)];
    files.extend(request.user_data.clone().map(|text| (file("user_data"), text)));
    files.extend(request.network_config.clone().map(|text| (file("network_data.json"), text)));
    files.extend(request.vendor_data.clone().map(|text| (file("vendor_data.json"), text)));
    Ok(files)
}

/// A FAT filesystem with these files.
fn filesystem(kind: SeedKind, files: &[File], volume_id: u32, now: Time) -> Result<Vec<u8>> {
    let contents: u64 = files.iter().map(|(_, text)| text.len() as u64).sum();
    if contents > MAX_CONTENTS {
        let message = format!("the files have {contents} bytes together, at most {MAX_CONTENTS} are possible");
        return Err(Error::new(ErrorKind::Limit, message));
    }
    let size = (contents + contents / 8 + OVERHEAD).next_multiple_of(MIN_SIZE);
    let mut device = Memory::zeroed(size as usize);
    let options = Options { label: kind.label().into(), volume_id, ..Options::default() };
    nomount_fat::mkfs(&mut device, &options)?;
    let now = nomount_fat::Time { sec: now.sec, nsec: now.nsec };
    let mut fs = Filesystem::open_for_write(device, nomount_fat::OpenOptions { now })?;
    for (path, text) in files {
        let path: Vec<&[u8]> = path.iter().map(|name| name.as_bytes()).collect();
        for depth in 1..path.len() {
            match fs.stat(&path[..depth]) {
                Ok(_) => {}
                Err(nomount_fat::Error::NotFound) => fs.create_dir(&path[..depth], Attrs::default())?,
                Err(error) => return Err(error.into()),
            }
        }
        fs.create_file(&path, Attrs::default())?;
        fs.write_contents(&path, text)?;
    }
    fs.commit()?;
    Ok(fs.into_device().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use nomount_kit::{judges, require, tool};

    const NOW: Time = Time { sec: 1_767_312_000, nsec: 0 };

    fn request() -> SeedRequest {
        SeedRequest {
            user_data: Some(b"#cloud-config\npackages: [vim]\n".to_vec()),
            hostname: Some("web1".into()),
            ..SeedRequest::default()
        }
    }

    /// What mcopy reads, after fsck.fat found nothing.
    fn read(image: &[u8], path: &str) -> String {
        let folder = nomount_kit::scratch::folder();
        let file = folder.path().join("seed.img");
        std::fs::write(&file, image).unwrap();
        judges::fsck_fat_n(&file, 0, image.len() as u64).unwrap();
        let read = tool::output(tool::command("mcopy").arg("-i").arg(&file).arg(format!("::{path}")).arg("-"));
        assert!(read.status.success(), "{}", tool::text(&read));
        String::from_utf8(read.stdout).unwrap()
    }

    #[test]
    fn nocloud_is_what_cloud_init_looks_for() {
        if !require(&["fsck.fat", "mcopy"]) {
            return;
        }
        let all = SeedRequest {
            network_config: Some(b"version: 2\n".to_vec()),
            vendor_data: Some(b"x".to_vec()),
            ..request()
        };
        let made = seed(SeedKind::NoCloud, &all, NOW).unwrap();
        let id = made.facts.instance_id.clone().unwrap();
        assert_eq!(read(&made.image, "/user-data"), "#cloud-config\npackages: [vim]\n");
        assert_eq!(read(&made.image, "/meta-data"), format!("instance-id: \"{id}\"\nlocal-hostname: \"web1\"\n"));
        assert_eq!(read(&made.image, "/network-config"), "version: 2\n");
        assert_eq!((read(&made.image, "/vendor-data").as_str(), made.facts.files.len()), ("x", 4));
        assert_eq!((&made.image[0x2b..0x36], made.image.len()), (&b"CIDATA     "[..], 1 << 20));
    }

    #[test]
    fn a_config_drive_is_what_openstack_makes() {
        if !require(&["fsck.fat", "mcopy"]) {
            return;
        }
        let made =
            seed(SeedKind::ConfigDrive, &SeedRequest { instance_id: Some("i\"1".into()), ..request() }, NOW).unwrap();
        let meta: Value = serde_json::from_str(&read(&made.image, "/openstack/latest/meta_data.json")).unwrap();
        assert_eq!((&meta["uuid"], &meta["hostname"]), (&json!("i\"1"), &json!("web1")));
        assert_eq!(read(&made.image, "/openstack/latest/user_data"), "#cloud-config\npackages: [vim]\n");
        assert_eq!(&made.image[0x2b..0x36], b"CONFIG-2   ");
        let wrong = SeedRequest { network_config: Some(b"version: 2\n".to_vec()), ..request() };
        assert_eq!(seed(SeedKind::ConfigDrive, &wrong, NOW).unwrap_err().kind(), ErrorKind::Usage);
    }

    #[test]
    fn the_same_request_gives_the_same_bytes_and_another_another_instance() {
        let made = |request: &SeedRequest| seed(SeedKind::NoCloud, request, NOW).unwrap();
        let (one, again) = (made(&request()), made(&request()));
        assert!(one.image == again.image && one.facts == again.facts);
        let other = made(&SeedRequest { hostname: None, ..request() });
        assert_ne!(one.facts.instance_id, other.facts.instance_id);
        // What has a size of its own.
        let large =
            SeedRequest { user_data: Some([b"#!/bin/sh\n".to_vec(), vec![b'#'; 9 << 20]].concat()), ..request() };
        assert!(made(&large).image.len() > 9 << 20);
    }

    #[test]
    fn what_makes_no_sense_is_said() {
        let kind = |request: SeedRequest| seed(SeedKind::NoCloud, &request, NOW).unwrap_err().kind();
        assert_eq!(kind(SeedRequest::default()), ErrorKind::Usage);
        assert_eq!(kind(SeedRequest { hostname: Some("a b: c".into()), ..request() }), ErrorKind::Usage);
        assert_eq!(kind(SeedRequest { meta_data: Some(b"".to_vec()), ..request() }), ErrorKind::Usage);
        let huge = SeedRequest { vendor_data: Some(vec![0; 64 << 20]), ..request() };
        assert_eq!(kind(huge), ErrorKind::Limit);
        let odd = SeedRequest { user_data: Some(b"packages: [vim]\n".to_vec()), ..request() };
        let notes = seed(SeedKind::NoCloud, &odd, NOW).unwrap().facts.notes;
        assert!(notes[0].ends_with("it begins with \"packages: [vim]\""), "{notes:?}");
    }
}
