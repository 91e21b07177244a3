//! Taking accounts out of the files under /etc.

use super::lines::{fields, lines, split_break};

/// Without the lines whose first field is one of `names`: of passwd, shadow, group, gshadow, subuid or subgid.
pub fn without(text: &[u8], names: &[&[u8]]) -> Vec<u8> {
    let is_one = |line: &[u8]| names.contains(&fields(split_break(line).0)[0]);
    lines(text).filter(|line| !is_one(line)).flatten().copied().collect()
}

/// Without `names` in the lists of members and administrators of groups, separated by commas: the fields from
/// `first_list` on, which is 3 in group(5) and 2 in gshadow(5).
pub fn without_members(text: &[u8], names: &[&[u8]], first_list: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for line in lines(text) {
        let (body, line_break) = split_break(line);
        for (at, field) in fields(body).into_iter().enumerate() {
            if at > 0 {
                out.push(b':');
            }
            if at < first_list || !field.split(|byte| *byte == b',').any(|member| names.contains(&member)) {
                out.extend_from_slice(field);
                continue;
            }
            let kept: Vec<&[u8]> = field.split(|byte| *byte == b',').filter(|member| !names.contains(member)).collect();
            out.extend_from_slice(&kept.join(&b','));
        }
        out.extend_from_slice(line_break);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_members_go_and_the_rest_stays() {
        let names: [&[u8]; 2] = [b"me", b"you"];
        let passwd = b"root:x:0:0::/:\nme:x:1:1::/:\r\n\nmeme:x:2:2::/:\n#me:x\nyou";
        assert_eq!(without(passwd, &names), b"root:x:0:0::/:\n\nmeme:x:2:2::/:\n#me:x\n");
        let group = b"adm:x:4:me,syslog,you\r\nme:x:1:\nsudo:x:27:me\nodd:x:5:a,,b\n";
        assert_eq!(without_members(group, &names, 3), b"adm:x:4:syslog\r\nme:x:1:\nsudo:x:27:\nodd:x:5:a,,b\n");
        assert_eq!(without_members(b"adm:!:me,root:you\n", &names, 2), b"adm:!:root:\n");
    }
}
