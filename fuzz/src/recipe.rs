//! Recipes of `apply`, TOML or JSON. The input is the recipe; what is accepted is applied to a small guest, and a second
//! time nothing changes.

use crate::volume::worked_on;
use nomount::ops::apply::{Inputs, Recipe, apply};
use nomount::ops::edit::edit;
use nomount::tree::Time;

pub fn body(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(recipe) = Recipe::parse(text) else { return };
    let files = recipe.sources().into_iter().map(|name| (name.to_owned(), KEY.as_bytes().to_vec())).collect();
    // No passwords: to hash one takes longer than all the rest.
    let inputs = Inputs { files, now: Time { sec: 20_000 * 86_400, nsec: 0 }, ..Inputs::default() };
    let Some(mut tree) = worked_on(|editor| apply(editor, &recipe, &inputs).map(drop)) else { return };
    let again = edit(&mut tree, |editor| apply(editor, &recipe, &inputs).map(drop)).expect("it was possible before");
    assert_eq!(again.changes, [], "a second time something changes");
}

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGr0cFQFZ0SgXxkPwEmHnK5hhl4nsWzJvZ7p7dU2m3qT me\n";

pub fn seeds() -> Vec<Vec<u8>> {
    let texts = [
        "hostname = \"web1\"\ntimezone = \"Europe/Berlin\"\nabsent = [\"/etc/nologin\", \"/a directory\"]\n",
        "[groups.web]\ngid = 900\n[groups.sudo]\n[users.alice]\ngroups = [\"sudo\", \"web\"]\nshell = \"/bin/zsh\"\n\
         create-home = true\nssh-keys = [\"file:k.pub\"]\n[users.ada]\ncomment = \"Ada\"\npassword-hash = \"$6$s$h\"\n",
        "[directories.\"/srv/www\"]\nmode = \"2775\"\nowner = \"root:users\"\n[files.\"/etc/motd\"]\ncontent = \"hi\\n\"\n\
         mode = \"u=rw,go=\"\n[files.\"/etc/hosts\"]\nlines = [\"192.0.2.1 db\"]\n[files.\"/x\"]\nsource = \"x\"\n",
        "[links]\n\"/srv/current\" = \"www\"\n\"/link\" = \"c\"\n[services]\nenable = [\"ssh\"]\nmask = [\"apt.timer\"]\n",
        "[[firstboot]]\nname = \"register\"\nscript = \"#!/bin/sh\\n:\\n\"\n",
        "{\"hostname\": \"h\", \"groups\": {\"web\": {\"system\": true}}, \"absent\": [\"/etc/x\"], \"users\": {\"bob\": \
         {\"uid\": 1005, \"group\": \"users\", \"home\": \"/srv/bob\", \"system\": false}}}",
    ];
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}
