//! Modes as chmod(1) takes them, octal or symbolic.

use crate::error::{Error, ErrorKind, Result};

/// What is taken away from a symbolic mode that says nothing of for whom. Fixed, so that the caller's own umask does
/// not decide what an image becomes.
pub const UMASK: u32 = 0o022;

const ALL: u32 = 0o7777;
const SET_ID: u32 = 0o6000;
const READ: u32 = 0o444;
const WRITE: u32 = 0o222;
const EXECUTE: u32 = 0o111;

/// The most clauses and operations in one symbolic mode: none that a person writes has more.
const MAX_STEPS: usize = 64;

/// A change of permission bits: octal (`644`, `02755`, `=755`) or symbolic (`u+x,go-w`, `a=rX`, `g=u`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModeChange {
    steps: Vec<Step>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Step {
    operation: Operation,
    /// The bits of those it is for; none when nobody is named.
    who: Option<u32>,
    value: Value,
    /// Bits that change also where a directory would keep them.
    explicit: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Add,
    Remove,
    Set,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Value {
    /// These bits, and with `X` execution, where the file is a directory or executable by anybody.
    Bits { bits: u32, execute_if_any: bool },
    /// What those have whose bits these are.
    CopyOf(u32),
}

impl ModeChange {
    /// Reads a mode as chmod(1) does. Without `u`, `g`, `o` or `a` a symbolic one leaves the bits of [`UMASK`] alone.
    pub fn parse(text: &str) -> Result<Self> {
        let invalid = |why: String| {
            Err(Error::new(ErrorKind::Usage, format!("invalid mode {text:?}: {why}"))
                .hint("octal as 0644 or symbolic as u+x,go-w"))
        };
        let parsed = if text.starts_with(|first: char| first.is_ascii_digit()) {
            octal(text).map(|(bits, explicit)| {
                let value = Value::Bits { bits, execute_if_any: false };
                vec![Step { operation: Operation::Set, who: Some(ALL), value, explicit }]
            })
        } else {
            symbolic(text)
        };
        match parsed {
            Ok(steps) => Ok(Self { steps }),
            Err(why) => invalid(why),
        }
    }

    /// The permission bits that a file with `mode` has afterwards. A directory keeps its set-id bits unless they are
    /// named, or an octal mode has five digits or an operator.
    pub fn apply(&self, mode: u32, is_dir: bool) -> u32 {
        self.steps.iter().fold(mode & ALL, |mode, step| step.apply(mode, is_dir))
    }
}

impl Step {
    fn apply(self, mode: u32, is_dir: bool) -> u32 {
        let kept = if is_dir { SET_ID & !self.explicit } else { 0 };
        let value = match self.value {
            Value::Bits { bits, execute_if_any } => {
                let execute = execute_if_any && (is_dir || mode & EXECUTE != 0);
                bits | if execute { EXECUTE } else { 0 }
            }
            Value::CopyOf(class) => {
                let has = |what: u32| if mode & class & what != 0 { what } else { 0 };
                has(READ) | has(WRITE) | has(EXECUTE)
            }
        };
        let value = value & self.who.unwrap_or(!UMASK) & !kept;
        match self.operation {
            Operation::Add => mode | value,
            Operation::Remove => mode & !value,
            Operation::Set => mode & (self.who.map_or(0, |who| !who) | kept) | value,
        }
    }
}

/// Permission bits in octal, and which of them are explicit.
fn octal(digits: &str) -> Result<(u32, u32), String> {
    if !digits.bytes().all(|byte| (b'0'..=b'7').contains(&byte)) {
        return Err("not octal".to_owned());
    }
    match u32::from_str_radix(digits, 8) {
        Ok(bits) if bits <= ALL => Ok((bits, if digits.len() < 5 { bits | !SET_ID & ALL } else { ALL })),
        _ => Err("more than 7777".to_owned()),
    }
}

fn symbolic(text: &str) -> Result<Vec<Step>, String> {
    let mut steps = Vec::new();
    for clause in text.split(',') {
        let (who, mut rest) = who(clause);
        if rest.is_empty() {
            return Err("+, - or = is missing".to_owned());
        }
        while let Some(first) = rest.chars().next() {
            let operation = match first {
                '+' => Operation::Add,
                '-' => Operation::Remove,
                '=' => Operation::Set,
                other => return Err(format!("{other:?} is no permission")),
            };
            if steps.len() >= MAX_STEPS {
                return Err(format!("more than {MAX_STEPS} operations"));
            }
            rest = &rest[1..];
            let end = rest.find(['+', '-', '=']).unwrap_or(rest.len());
            steps.push(step(operation, who, &rest[..end])?);
            rest = &rest[end..];
        }
    }
    Ok(steps)
}

/// Whom a clause is for, and what follows.
fn who(clause: &str) -> (Option<u32>, &str) {
    let end = clause.find(|letter| !"ugoa".contains(letter)).unwrap_or(clause.len());
    let bits = clause[..end].chars().map(|letter| match letter {
        'u' => 0o4700,
        'g' => 0o2070,
        'o' => 0o1007,
        _ => ALL,
    });
    (bits.reduce(|all, bits| all | bits), &clause[end..])
}

fn step(operation: Operation, who: Option<u32>, permissions: &str) -> Result<Step, String> {
    if permissions.starts_with(|first: char| first.is_ascii_digit()) {
        if who.is_some() {
            return Err("an octal mode is for everybody".to_owned());
        }
        let (bits, _) = octal(permissions)?;
        let value = Value::Bits { bits, execute_if_any: false };
        return Ok(Step { operation, who: Some(ALL), value, explicit: ALL });
    }
    let value = match permissions {
        "u" => Value::CopyOf(0o700),
        "g" => Value::CopyOf(0o070),
        "o" => Value::CopyOf(0o007),
        letters => {
            let (mut bits, mut execute_if_any) = (0, false);
            for letter in letters.chars() {
                match letter {
                    'r' => bits |= READ,
                    'w' => bits |= WRITE,
                    'x' => bits |= EXECUTE,
                    'X' => execute_if_any = true,
                    's' => bits |= SET_ID,
                    't' => bits |= 0o1000,
                    other => return Err(format!("{other:?} is no permission")),
                }
            }
            Value::Bits { bits, execute_if_any }
        }
    };
    let named = if let Value::Bits { bits, .. } = value { bits } else { 0 };
    Ok(Step { operation, who, value, explicit: named & who.unwrap_or(ALL) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use nomount_kit::require;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;

    const MODES: [&str; 60] = [
        "0",
        "7",
        "644",
        "0755",
        "00755",
        "1777",
        "2755",
        "4711",
        "6755",
        "7777",
        "07777",
        "00000",
        "=755",
        "+111",
        "-7000",
        "=",
        "+",
        "-",
        "a=",
        "u=",
        "g=,o=",
        "u+x",
        "go-w",
        "a+rx",
        "+x",
        "-x",
        "+w",
        "-w",
        "=rw",
        "=rwx",
        "a=rX",
        "u=rwX,go=rX",
        "a-x+X",
        "-x+X",
        "a-x,a+X",
        "g=u",
        "o=g",
        "u=o",
        "a=u",
        "=u",
        "+g",
        "go+u",
        "u-g",
        "u+s",
        "g+s",
        "g-s",
        "u-s",
        "+s",
        "-s",
        "=s",
        "o+s",
        "+t",
        "o-t",
        "a+t",
        "u+t",
        "ug=rw+s",
        "u=rwx-w",
        "ugo+r",
        "=7777",
        "u+s,g-s,+t",
    ];

    // One directory and one file for each old mode, one run of chmod for each new one.
    #[test]
    fn modes_mean_what_they_mean_to_chmod() {
        if !require(&["chmod"]) {
            return;
        }
        let folder = nomount_kit::scratch::folder();
        let old: Vec<u32> =
            (0..8).flat_map(|special| [0, 0o644, 0o755, 0o031].map(|mode| special << 9 | mode)).collect();
        for text in MODES {
            let change = ModeChange::parse(text).unwrap();
            let mut files = Vec::new();
            for (at, mode) in old.iter().enumerate() {
                let (file, dir) = (folder.path().join(format!("f{at}")), folder.path().join(format!("d{at}")));
                fs::write(&file, "").or_else(|error| if file.exists() { Ok(()) } else { Err(error) }).unwrap();
                fs::create_dir(&dir).or_else(|error| if dir.exists() { Ok(()) } else { Err(error) }).unwrap();
                for (path, is_dir) in [(file, false), (dir, true)] {
                    fs::set_permissions(&path, Permissions::from_mode(*mode)).unwrap();
                    files.push((path, *mode, is_dir));
                }
            }
            // It also fails where the umask made less of a mode than it says.
            let mut shell = Command::new("sh");
            shell.args(["-c", "umask 022; exec chmod -- \"$@\" 2>/dev/null", "sh", text]);
            shell.args(files.iter().map(|(path, ..)| path)).status().unwrap();
            for (path, mode, is_dir) in files {
                let wanted = fs::metadata(&path).unwrap().permissions().mode() & 0o7777;
                let got = change.apply(mode, is_dir);
                assert_eq!(format!("{got:04o}"), format!("{wanted:04o}"), "{text} of {mode:04o}, directory: {is_dir}");
            }
        }
    }

    #[test]
    fn what_is_no_mode_is_refused() {
        for bad in [
            "", "8", "888", "10000", "u", "x", "rw", "u+x,", ",u+x", "u+q", "q+x", "u=gr", "u+7", "+8", "-x ", "é",
            "u+é",
        ] {
            assert_eq!(ModeChange::parse(bad).unwrap_err().kind(), ErrorKind::Usage, "{bad}");
        }
        assert!(ModeChange::parse(&"+x".repeat(64)).is_ok() && ModeChange::parse(&"+x".repeat(65)).is_err());
    }
}
