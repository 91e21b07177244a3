//! Where our verdict is another than that of oslo.utils 10.2, and why. Each is stricter, but the last.

/// What one of the two says of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opinion {
    /// Names of the formats, sorted.
    pub formats: Vec<String>,
    /// What makes it unsafe.
    pub failures: Vec<String>,
}

impl Opinion {
    pub fn is_safe(&self) -> bool {
        self.failures.is_empty()
    }

    fn is(&self, formats: &[&str]) -> bool {
        self.formats == formats
    }

    fn has(&self, format: &str) -> bool {
        self.formats.iter().any(|name| name == format)
    }

    /// Whether nothing fails but what is in the list, and one of it does.
    fn fails_only(&self, ids: &[&str]) -> bool {
        !self.is_safe() && self.failures.iter().all(|id| ids.contains(&&id[..]))
    }
}

/// A difference, as the README of `formats/container` has it, too.
pub struct Difference {
    pub id: &'static str,
    pub reason: &'static str,
    /// Whether it accounts for these two, ours and theirs.
    applies: fn(&Opinion, &Opinion) -> bool,
}

impl Difference {
    /// Whether it accounts for what we say and they say. Nothing accounts for an image that we alone call safe.
    pub fn explains(&self, ours: &Opinion, theirs: &Opinion) -> bool {
        (!ours.is_safe() || theirs.is_safe()) && (self.applies)(ours, theirs)
    }
}

/// What the table's rows in the README begin with.
pub const ROWS_OF_README: &str = "| `differs-";

fn is_none(theirs: &Opinion) -> bool {
    theirs.is(&["raw"]) || theirs.is(&["gpt"]) || theirs.is(&["iso"])
}

pub const DIFFERENCES: &[Difference] = &[
    Difference {
        id: "differs-vmdk-parent",
        reason: "A vmdk that names a parent disk is not safe: QEMU opens `parentFileNameHint` as its backing file. \
                 There any `name=value` will do.",
        applies: |ours, theirs| ours.is(&["vmdk"]) && theirs.is(&["vmdk"]) && ours.fails_only(&["parent"]),
    },
    Difference {
        id: "differs-vmdk-text",
        reason: "A vmdk that is a text alone, or that is an ESX extent, is not safe whatever type it names: the data \
                 are in other files. What QEMU takes as such a text counts as one.",
        applies: |ours, theirs| {
            ours.is(&["vmdk"]) && (theirs.is(&["vmdk"]) || is_none(theirs)) && ours.fails_only(&["subformat"])
        },
    },
    Difference {
        id: "differs-vmdk-header",
        reason: "A vmdk whose header gives no capacity, or whose text names its type more than once, is not safe: \
                 readers look for the disk in other files, or differ in which type they take.",
        applies: |ours, theirs| {
            ours.is(&["vmdk"]) && theirs.is(&["vmdk"]) && ours.fails_only(&["capacity", "subformat", "parent"])
        },
    },
    Difference {
        id: "differs-vhd-parent",
        reason: "A differencing vhd is not safe: it names its parent.",
        applies: |ours, theirs| ours.is(&["vhd"]) && theirs.is(&["vhd"]) && ours.fails_only(&["parent"]),
    },
    Difference {
        id: "differs-vhdx-tables",
        reason: "A vhdx whose tables do not lead to its size is not safe, as it cannot be judged. There an error in \
                 the tables ends the reading, and what was not read is not missed.",
        applies: |ours, theirs| ours.is(&["vhdx"]) && theirs.is(&["vhdx"]) && ours.fails_only(&["tables"]),
    },
    Difference {
        id: "differs-vhdx-parent",
        reason: "A differencing vhdx is not safe: it names its parent.",
        applies: |ours, theirs| ours.is(&["vhdx"]) && theirs.is(&["vhdx"]) && ours.fails_only(&["parent"]),
    },
    Difference {
        id: "differs-luks-iterations",
        reason: "The rounds of a LUKS key are bounded without its passphrase, too.",
        applies: |ours, theirs| ours.is(&["luks"]) && theirs.is(&["luks"]) && ours.fails_only(&["iterations"]),
    },
    Difference {
        id: "differs-foreign",
        reason: "Parallels, Bochs and cloop images are told and not safe: QEMU opens them by their magic. There they \
                 are raw.",
        applies: |ours, theirs| {
            ["parallels", "bochs", "cloop"].iter().any(|name| ours.has(name))
                && is_none(theirs)
                && ours.fails_only(&["banned", "one_format"])
        },
    },
    Difference {
        id: "differs-short",
        reason: "What has the magic of a format and ends before its header does cannot be judged. There it is raw.",
        applies: |ours, theirs| is_none(theirs) && ours.fails_only(&["complete", "banned"]),
    },
    Difference {
        id: "differs-several",
        reason: "A format told only here, as in the rows above, counts when a file has several.",
        applies: |ours, theirs| {
            ours.formats.len() > 1 && theirs.formats.iter().all(|name| ours.has(name) || name == "raw")
        },
    },
    Difference {
        id: "differs-udf",
        reason: "A disc with UDF alone is an iso. There it is raw, since its first descriptor is not UDF's own; both \
                 are safe.",
        applies: |ours, theirs| ours.is(&["iso"]) && (theirs.is(&["raw"]) || theirs.is(&["gpt"])),
    },
];
