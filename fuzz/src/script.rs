//! Scripts of guestfish as `run` takes them, done on a small guest. The input is the script.

use crate::volume::worked_on;
use nomount::ops::script::Script;
use nomount::tree::Time;

pub fn body(data: &[u8]) {
    let Ok(script) = Script::parse(data) else { return };
    let _ = script.mount();
    let files = script.sources().into_iter().map(|name| (name.to_owned(), b"from the host".to_vec())).collect();
    worked_on(|editor| script.run(editor, &files, Time { sec: 1_700_000_000, nsec: 0 }).map(drop));
}

pub fn seeds() -> Vec<Vec<u8>> {
    let texts = [
        "# a comment\nrun\nmount /dev/sda1 /\nmkdir-p /srv/app/data\nwrite /srv/app/conf \"a = 1\\n\"\n\
         write-append /srv/app/conf 'b = \"\\n\"'\nupload local /srv/app/file\nchmod 0640 /srv/app/conf\n",
        "chown 33 27 /etc/hosts\nlchown 0 -1 /link\nln-s ../app /srv\nln-sf app /srv\nln /etc/hosts /hard\nls /etc\n",
        "cp /etc/hosts /copy\ncp-a \"/a directory\" /tree\nmv /etc/hostname /home\nrename /link /up\nreadlink /up\n",
        "mkfifo 600 /fifo\nmknod-c 600 1 3 /null\nmknod-b 660 8 0 /sda\ntruncate-size /etc/hosts 70000\ntouch /t\n",
        "setxattr user.a value 5 /etc/hosts\nremovexattr user.a /etc/hosts\nlsetxattr security.x yz 2 /link\n",
        "-rm /no\nrm-f /no/such\nrm-rf '/a directory'\nrmdir /home/ada\nrm /etc/shadow\ncat /up/passwd\nquit\n",
        "exists /loop\nis-dir /link\nis-file /etc/passwd\nis-symlink /up\nfilesize /etc/group\ndownload /etc/group g\n\
         echo \"\\x41\\101\\t\" b  c\nmkdir-mode /m 1777\ntruncate /etc/group\nsync\nexit\n",
    ];
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}
