//! `nomount seed`.

use super::sandbox::{HostAccess, read_file};
use super::status::umask;
use super::target::now;
use super::{bytes, exit, host_file, ui};
use nomount::image::folder_of;
use nomount::interrupt::Temporary;
use nomount::ops::seed::{SeedFacts, SeedKind, SeedRequest, seed};
use nomount::sandbox::Access;
use nomount::{Error, ErrorKind, Result};
use serde_json::json;
use std::fs::Permissions;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Make the small disk from which cloud-init configures a guest
///
/// It is a FAT filesystem, labelled CIDATA for NoCloud and CONFIG-2 for a config-drive, to be given to the virtual
/// machine as a second disk. The same files give the same bytes, with SOURCE_DATE_EPOCH their times, too; without
/// --instance-id other files make another instance, so that cloud-init does its work again.
///
/// Example: nomount seed seed.img --user-data user-data.yaml --hostname web1
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The image to make
    #[arg(value_name = "NEW")]
    image: PathBuf,
    /// What the guest looks for
    #[arg(long = "type", value_name = "nocloud|config-drive", default_value = "nocloud", value_parser = parse_kind)]
    kind: SeedKind,
    /// A #cloud-config, a script or another of cloud-init's formats; `-` is standard input
    #[arg(long, value_name = "FILE|-")]
    user_data: Option<PathBuf>,
    /// What is known of the machine: YAML, for a config-drive JSON
    #[arg(long, value_name = "FILE", conflicts_with_all = ["hostname", "instance_id"])]
    meta_data: Option<PathBuf>,
    /// Name of the guest
    #[arg(long, value_name = "NAME")]
    hostname: Option<String>,
    /// By what cloud-init tells whether it has done its work already
    #[arg(long, value_name = "ID")]
    instance_id: Option<String>,
    /// Network configuration: YAML, for a config-drive OpenStack's network_data.json
    #[arg(long, value_name = "FILE")]
    network_config: Option<PathBuf>,
    /// The same as user-data, from whoever provides the machine; for a config-drive JSON
    #[arg(long, value_name = "FILE")]
    vendor_data: Option<PathBuf>,
    /// Replace a file that is there
    #[arg(long)]
    force: bool,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

fn parse_kind(text: &str) -> Result<SeedKind, String> {
    match text {
        "nocloud" => Ok(SeedKind::NoCloud),
        "config-drive" => Ok(SeedKind::ConfigDrive),
        _ => Err("nocloud or config-drive is needed".to_owned()),
    }
}

impl HostAccess for Args {
    fn access(&self) -> Access {
        let read = [&self.user_data, &self.meta_data, &self.network_config, &self.vendor_data];
        let read = read.into_iter().fold(Access::none(), |access, file| access.and(read_file(file.as_ref())));
        // The name itself is made, also where a link has it.
        read.folder(folder_of(&self.image))
    }
}

/// Runs the command.
pub fn run(args: &Args) -> Result<u8> {
    let read = |file: &Option<PathBuf>| file.as_deref().map(host_file::read).transpose();
    let user_data = match &args.user_data {
        Some(file) if file == Path::new("-") => Some(host_file::standard_input("the user-data")?),
        file => read(file)?,
    };
    let request = SeedRequest {
        user_data,
        meta_data: read(&args.meta_data)?,
        instance_id: args.instance_id.clone(),
        hostname: args.hostname.clone(),
        network_config: read(&args.network_config)?,
        vendor_data: read(&args.vendor_data)?,
    };
    let made = seed(args.kind, &request, now()?)?;
    save(&args.image, &made.image, args.force)?;
    made.facts.notes.iter().for_each(|text| ui::note(text));
    if args.json {
        let mut document = json!(made.facts);
        document["image"] = json!(args.image.display().to_string());
        ui::json(document).map_err(ui::output_failed)?;
    } else {
        ui::lines(text(&args.image, &made.facts)).map_err(ui::output_failed)?;
    }
    Ok(exit::DONE)
}

/// Puts the image in place when all of it is on the disk, so that nobody sees a part of it.
fn save(path: &Path, image: &[u8], force: bool) -> Result<()> {
    let named = |error: Error| error.in_image(path);
    if !force && path.symlink_metadata().is_ok() {
        return Err(named(Error::new(ErrorKind::Exists, "there is a file already").hint("--force replaces it")));
    }
    let failed = |error: std::io::Error| named(Error::of_host("cannot make the image", error));
    let folder = folder_of(path);
    let made = Temporary::create(folder, ".nomount-", ".part").map_err(failed)?;
    let mut file = made.as_file();
    file.set_permissions(Permissions::from_mode(0o644 & !umask())).map_err(failed)?;
    file.write_all(image).and_then(|()| file.sync_all()).map_err(failed)?;
    let named = if force { made.persist(path) } else { made.persist_noclobber(path) };
    named.map(drop).map_err(failed)
}

fn text(image: &Path, facts: &SeedFacts) -> Vec<String> {
    let mut lines = vec![format!("{}: {} (vfat), label {}", image.display(), bytes::human(facts.size), facts.label)];
    lines.extend(facts.files.iter().map(|file| format!("  /{} ({} bytes)", file.path, file.size)));
    lines.extend(facts.instance_id.as_ref().map(|id| format!("  instance {id}")));
    lines
}
