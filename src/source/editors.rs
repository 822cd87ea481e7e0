//! What editors leave beside a file while they write it or after a crash. None of these names is one of a manifest.

/// Endings that only editors give: vim, emacs, nano, Kate and gedit (`~`), vim's swap files, JetBrains, Helix.
const ENDINGS: [&[u8]; 8] =
    [b"~", b".swp", b".swo", b".swx", b"___jb_tmp___", b"___jb_old___", b"___jb_bak___", b".bck"];

/// Whether an editor's file has this name. `.bak`, `.orig` and `.rej` are not among them: people and patches make those,
/// and somebody should look.
pub(super) fn is_an_editors(name: &[u8]) -> bool {
    // vim tries with this one whether it may write to the folder.
    name == b"4913"
        || ENDINGS.iter().any(|ending| name.ends_with(ending))
        || (name.len() > 2 && name.starts_with(b"#") && name.ends_with(b"#"))
        || is_saved_by_nano(name)
}

/// nano's copy of a file that it could not save in time: `a.yaml.save`, `a.yaml.save.1`.
fn is_saved_by_nano(name: &[u8]) -> bool {
    let digits = name.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let numbered = name[..name.len() - digits].strip_suffix(b".").filter(|_| digits > 0);
    numbered.unwrap_or(name).ends_with(b".save")
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;
    use std::path::Path;

    use super::*;
    use crate::manifest::Format;

    #[test]
    fn editors_files_are_known_by_their_names() {
        let editors = [
            "a.yaml~",
            "a.yaml.~1~",
            "a.yaml.swp",
            "4913",
            "#a.yaml#",
            "a.yaml___jb_tmp___",
            "a.yaml___jb_old___",
            "a.yaml.save",
            "a.yaml.save.2",
            "a.yamlxYz123.bck",
        ];
        for name in editors {
            assert!(is_an_editors(name.as_bytes()), "{name}");
            assert_eq!(Format::of(Path::new(OsStr::from_bytes(name.as_bytes()))), None, "{name}");
        }
        let others = [
            "a.yaml",
            "a.json",
            "#",
            "##.yaml",
            "4913.yaml",
            "49130",
            "a.yaml.bak",
            "a.yaml.orig",
            "a.yaml.rej",
            "save",
            "a.save.yaml",
            "a.yaml.1",
            "README",
            "swp",
        ];
        for name in others {
            assert!(!is_an_editors(name.as_bytes()), "{name}");
        }
    }
}
