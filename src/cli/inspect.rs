//! `nomount inspect`.

use super::sandbox::HostAccess;
use super::target::{ImageArgs, Target};
use super::{exit, ui};
use nomount::ops::inspect::{CloudInit, Firmware, Inspection, Kernel, MachineId, SelinuxMode, firmware, inspect};
use nomount::sandbox::Access;
use nomount::session::Mount;
use nomount::{Error, ErrorKind, Result};
use serde_json::{Value, json};
use std::ffi::OsString;

/// Show what a guest is: system, kernels, boot loader, mount points, SELinux, cloud-init, users
///
/// All of it comes from the guest's files; nothing of the guest is run. What cannot be read is a note. Filesystems that
/// the guest mounts by its fstab, as a separate /boot, are looked into at their place.
///
/// Example: nomount inspect disk.qcow2
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The image
    #[arg(value_name = "IMAGE[@PARTITION]")]
    image: OsString,
    #[command(flatten)]
    open: ImageArgs,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

impl HostAccess for Args {
    fn access(&self) -> Access {
        self.open.reading(&self.image)
    }
}

/// Runs the command.
pub fn run(args: &Args) -> Result<u8> {
    let target = Target::parse(args.image.clone());
    if target.path.is_some() {
        return Err(Error::new(ErrorKind::Usage, "a whole guest is inspected, without a path"));
    }
    let mut session = args.open.open(&target)?;
    let volume = session.volume().to_string();
    let firmware = firmware(session.layout());
    let mounts = session.mounts().to_vec();
    let found = inspect(session.tree());
    let printed = if args.json {
        let mut document = json!({ "image": target.image.display().to_string(), "volume": volume });
        let facts = serde_json::to_value(&found).expect("facts are plain data");
        if let (Some(document), Value::Object(facts)) = (document.as_object_mut(), facts) {
            document.extend(facts);
            document.insert("firmware".to_owned(), json!(firmware));
            document.insert("mounts".to_owned(), mounts.iter().map(mount_json).collect());
        }
        ui::json(document)
    } else {
        found.notes.iter().for_each(|note| ui::note(&ui::safe(note.as_bytes())));
        ui::lines(as_text(&volume, &found, &firmware, &mounts).iter().map(|line| ui::safe(line.as_bytes())))
    };
    printed.map_err(ui::output_failed)?;
    Ok(exit::DONE)
}

fn as_text(volume: &str, found: &Inspection, firmware: &[Firmware], mounts: &[Mount]) -> Vec<String> {
    let guest = &found.guest;
    let mut lines = vec![format!("root: {volume}")];
    let mut say = |name: &str, value: Option<String>| lines.extend(value.map(|value| format!("{name}: {value}")));
    say("system", guest.os.as_ref().and_then(|os| os.pretty_name.clone()));
    say("id", guest.os.as_ref().map(|os| os.id.clone()));
    say("version", guest.os.as_ref().and_then(|os| os.version_id.clone()));
    say("architecture", guest.architecture.map(str::to_owned));
    say("hostname", guest.hostname.clone());
    say("init", guest.init.map(|init| init.name().to_owned()));
    let format = found.package_format.map(|format| format!(" ({format})")).unwrap_or_default();
    say("packages", guest.package_manager.map(|manager| format!("{manager}{format}")));
    for kernel in &found.kernels {
        say("kernel", Some(kernel_text(kernel)));
    }
    for loader in &found.bootloaders {
        say("boot loader", Some(format!("{} ({})", loader.name, loader.path)));
    }
    let firmware = firmware.iter().map(|firmware| match firmware {
        Firmware::Bios => "BIOS",
        Firmware::Uefi => "UEFI",
    });
    say("firmware", Some(firmware.collect::<Vec<_>>().join(", ")).filter(|text| !text.is_empty()));
    say(
        "selinux",
        found.selinux.as_ref().map(|selinux| {
            let mode = match selinux.mode {
                Some(SelinuxMode::Enforcing) => "enforcing",
                Some(SelinuxMode::Permissive) => "permissive",
                Some(SelinuxMode::Disabled) => "disabled",
                None => "of unknown mode",
            };
            let installed = if selinux.policy_installed { "" } else { " (not installed)" };
            let relabel = if selinux.autorelabel { ", relabels at the next boot" } else { "" };
            format!("{mode}, policy {}{installed}{relabel}", selinux.policy)
        }),
    );
    say("cloud-init", found.cloud_init.as_ref().map(cloud_init_text));
    say(
        "machine-id",
        Some(match &found.machine_id {
            MachineId::Missing => "missing".to_owned(),
            MachineId::Empty => "empty, made at the first boot".to_owned(),
            MachineId::Uninitialized => "uninitialized, made at the first boot".to_owned(),
            MachineId::Set(id) => format!("{id}, the same in every copy"),
            MachineId::Invalid => "invalid".to_owned(),
        }),
    );
    say("time zone", found.timezone.clone());
    let users = &found.users;
    let names = match users.names.len() {
        0 => String::new(),
        listed if listed < users.count => format!(" ({}, ...)", users.names.join(", ")),
        _ => format!(" ({})", users.names.join(", ")),
    };
    say("users", Some(format!("{}{names}", users.count)));
    for entry in &guest.fstab {
        let line = format!("{} {} {}", entry.mount_point, entry.spec, entry.fs_type);
        let of_line = |mount: &&Mount| mount.spec == entry.spec && mount.at.to_string() == entry.mount_point;
        say(
            "mount",
            Some(match mounts.iter().find(of_line) {
                None => line,
                Some(Mount { volume, missing, .. }) => {
                    let volume = volume.as_ref().map(|volume| format!(" = {volume}")).unwrap_or_default();
                    let missing = missing.as_ref().map(|why| format!(", not looked into: {why}")).unwrap_or_default();
                    format!("{line}{volume}{missing}")
                }
            }),
        );
    }
    lines
}

fn mount_json(mount: &Mount) -> Value {
    json!({
        "mount_point": ui::bytes_json(&mount.at.to_bytes()),
        "spec": mount.spec,
        "partition": mount.volume.as_ref().and_then(|volume| volume.number()),
        "type": mount.volume.as_ref().map(|volume| volume.content.name()),
        "missing": mount.missing,
    })
}

fn kernel_text(kernel: &Kernel) -> String {
    let parts = [&kernel.image, &kernel.initramfs, &kernel.modules];
    let parts: Vec<&str> = parts.into_iter().flatten().map(String::as_str).collect();
    let version = if kernel.version.is_empty() { "without a version" } else { &kernel.version };
    format!("{version} ({})", parts.join(", "))
}

fn cloud_init_text(cloud_init: &CloudInit) -> String {
    let mut text = if cloud_init.disabled { "disabled" } else { "installed" }.to_owned();
    if !cloud_init.datasources.is_empty() {
        text += &format!(", datasources {}", cloud_init.datasources.join(" "));
    }
    if !cloud_init.seeds.is_empty() {
        text += &format!(", seeds {}", cloud_init.seeds.join(" "));
    }
    text + &match &cloud_init.instance_id {
        Some(id) => format!(", has run for {id}"),
        None => ", has not run".to_owned(),
    }
}
