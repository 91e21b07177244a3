//! cloud-init: whether it is there, and where it will look for its data.

use super::reader::{Reader, known};
use serde::Serialize;

/// Datasources that are listed; cloud-init itself has about thirty.
const MAX_DATASOURCES: usize = 64;

/// cloud-init in a guest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct CloudInit {
    /// Whether /etc/cloud/cloud-init.disabled keeps it from running.
    pub disabled: bool,
    /// `datasource_list` of the configuration, where it looks for its data; empty where it decides itself.
    pub datasources: Vec<String>,
    /// Local seeds with data in them: `nocloud`, `nocloud-net` in /var/lib/cloud/seed.
    pub seeds: Vec<String>,
    /// The instance that it ran for last; none where it has not run.
    pub instance_id: Option<String>,
}

/// Reads the configuration; none where it is not installed.
pub(super) fn cloud_init(reader: &mut Reader<'_>) -> Option<CloudInit> {
    let main = "/etc/cloud/cloud.cfg";
    if !reader.is_file(main) && !reader.is_file("/usr/bin/cloud-init") {
        return None;
    }
    // Later files win: cloud.cfg, then the drop-ins by name.
    let drop_ins = "/etc/cloud/cloud.cfg.d";
    let names = reader.names(drop_ins).into_iter().filter(|name| name.ends_with(b".cfg"));
    let paths = std::iter::once(known(main)).chain(names.map(|name| known(drop_ins).join(name)));
    let mut datasources = Vec::new();
    for path in paths.collect::<Vec<_>>() {
        let Some(bytes) = reader.bytes(&path) else { continue };
        if let Some(list) = datasource_list(&String::from_utf8_lossy(&bytes)) {
            datasources = list;
        }
    }
    let seeds = reader.names("/var/lib/cloud/seed");
    let seeds = seeds.iter().map(|name| String::from_utf8_lossy(name).into_owned());
    let instance_id = reader.text("/var/lib/cloud/data/instance-id").map(|text| text.trim().to_owned());
    Some(CloudInit {
        disabled: reader.is_file("/etc/cloud/cloud-init.disabled"),
        datasources,
        seeds: seeds.take(MAX_DATASOURCES).collect(),
        instance_id: instance_id.filter(|id| !id.is_empty()),
    })
}

/// The value of `datasource_list`, in YAML's flow style on one or several lines, or as a block of items.
fn datasource_list(text: &str) -> Option<Vec<String>> {
    let mut lines = text.lines();
    let rest = lines.find_map(|line| line.strip_prefix("datasource_list:"))?.trim();
    let clean = |item: &str| item.trim().trim_matches(['"', '\'']).to_owned();
    let without_comment = |line: &str| line.split(" #").next().unwrap_or_default().trim().to_owned();
    let rest = without_comment(rest);
    let items: Vec<String> = if let Some(first) = rest.strip_prefix('[') {
        let mut flow = first.to_owned();
        for line in lines.take(MAX_DATASOURCES) {
            if flow.contains(']') {
                break;
            }
            flow = format!("{flow} {}", without_comment(line));
        }
        flow.split(']').next().unwrap_or_default().split(',').map(clean).collect()
    } else {
        let block = lines.map(without_comment).filter(|line| !line.is_empty() && !line.starts_with('#'));
        block.map_while(|line| line.strip_prefix("- ").map(clean)).collect()
    };
    Some(items.into_iter().filter(|item| !item.is_empty()).take(MAX_DATASOURCES).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::memtree::MemTree;

    #[test]
    fn the_list_in_all_styles() {
        for text in [
            "datasource_list: [ NoCloud, 'ConfigDrive', \"None\" ]",
            "# x\ndatasource_list: [NoCloud,\n  ConfigDrive, None]\nother: [x]\n",
            "datasource_list: # why\n - NoCloud\n\n - ConfigDrive # here\n - None\nother:\n - x\n",
        ] {
            assert_eq!(datasource_list(text).unwrap(), ["NoCloud", "ConfigDrive", "None"], "{text}");
        }
        assert_eq!(datasource_list("#datasource_list: [ A ]\n"), None);
        assert_eq!(datasource_list("datasource_list: ["), Some(Vec::new()));
    }

    #[test]
    fn drop_ins_win_by_name() {
        let mut tree = MemTree::new();
        tree.file("/etc/cloud/cloud.cfg", "datasource_list: [ A ]\n");
        tree.file("/etc/cloud/cloud.cfg.d/90_dpkg.cfg", "datasource_list: [ B ]\n");
        tree.file("/etc/cloud/cloud.cfg.d/10.cfg", "datasource_list: [ C ]\n")
            .file("/etc/cloud/cloud.cfg.d/99.txt", "");
        tree.dir("/var/lib/cloud/seed/nocloud").file("/var/lib/cloud/data/instance-id", "i-1\n");
        let found = cloud_init(&mut Reader::new(&tree)).unwrap();
        assert_eq!((found.datasources, found.seeds), (vec!["B".to_owned()], vec!["nocloud".to_owned()]));
        assert_eq!((found.disabled, found.instance_id.as_deref()), (false, Some("i-1")));
    }
}
