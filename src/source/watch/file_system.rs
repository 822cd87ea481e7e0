//! Which file systems cannot be watched by events, because others change them without this machine's kernel.

use std::path::Path;

/// The name of the file system that holds a folder, if it is one that others may change unheard.
///
/// File systems in user space count as such: most lead to somewhere else, and nothing tells those that do not.
pub(super) fn unsuited(folder: &Path) -> Option<&'static str> {
    let kind = rustix::fs::statfs(folder).ok()?.f_type;
    // The system's type for it differs by platform; the numbers have 32 bits.
    name(kind as u32)
}

/// By the numbers of `statfs(2)` and the kernel's `magic.h`.
fn name(kind: u32) -> Option<&'static str> {
    Some(match kind {
        0x0102_1997 => "9p",
        0x5346_414f | 0x6b41_4653 => "AFS",
        0x1983_0326 => "BeeGFS",
        0x00c3_6400 => "Ceph",
        0x7375_7245 => "Coda",
        0x6573_5546 => "FUSE",
        0x0116_1970 => "GFS2",
        0x4750_4653 => "GPFS",
        0x0bd0_0bd0 => "Lustre",
        0x0000_564c => "NCP",
        0x0000_6969 => "NFS",
        0x7461_636f => "OCFS2",
        0x0000_517b | 0xff53_4d42 | 0xfe53_4d42 => "SMB",
        0x786f_4256 => "a VirtualBox share",
        0xbacb_acbc => "a VMware share",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_systems_that_others_change_are_told_from_local_ones() {
        for (kind, expected) in [(0x6969, "NFS"), (0xff53_4d42, "SMB"), (0x6573_5546, "FUSE"), (0x0102_1997, "9p")] {
            assert_eq!(name(kind), Some(expected));
        }
        for local in [0xef53, 0x5846_5342, 0x9123_683e, 0x0102_1994, 0x794c_7630, 0x2fc1_2fc1] {
            assert_eq!(name(local), None, "{local:#x} is ext4, xfs, btrfs, tmpfs, overlay or zfs");
        }
        assert_eq!(unsuited(Path::new("/proc")), None);
    }
}
