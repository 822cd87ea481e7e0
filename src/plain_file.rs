//! Reads a plain file whose content nobody vouches for: it waits for no FIFO and no device, and reads no more than asked.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use thiserror::Error;

/// A plain file that is open.
#[derive(Debug)]
pub(crate) struct PlainFile {
    file: File,
    stat: Stat,
}

/// Why a file was not read.
#[derive(Debug, Error)]
pub(crate) enum NotRead {
    /// It is something else than a plain file.
    #[error("it is {0}, not a regular file")]
    Other(&'static str),
    /// It is larger than what was asked for.
    #[error("it is larger than {0} bytes")]
    TooLarge(usize),
    /// The system says no.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl From<NotRead> for io::Error {
    fn from(error: NotRead) -> Self {
        match error {
            NotRead::Other(_) => Self::new(io::ErrorKind::InvalidData, error),
            NotRead::TooLarge(_) => Self::new(io::ErrorKind::FileTooLarge, error),
            NotRead::Io(error) => error,
        }
    }
}

impl PlainFile {
    /// How a file is opened that may turn out to be anything: the other end of a FIFO is not waited for.
    pub(crate) const FLAGS: OFlags =
        OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

    /// Opens what a path leads to, through links.
    pub(crate) fn open(path: &Path) -> Result<Self, NotRead> {
        Self::opened(rustix::io::retry_on_intr(|| rustix::fs::openat(CWD, path, Self::FLAGS, Mode::empty())))
    }

    /// What was opened with [`Self::FLAGS`], or was not.
    pub(crate) fn opened(opened: rustix::io::Result<OwnedFd>) -> Result<Self, NotRead> {
        match opened {
            Ok(file) => {
                let stat = rustix::fs::fstat(&file).map_err(io::Error::from)?;
                match what_else(FileType::from_raw_mode(stat.st_mode)) {
                    None => Ok(Self::of(file, stat)),
                    Some(kind) => Err(NotRead::Other(kind)),
                }
            }
            // Of a socket, this is all that can be learned.
            Err(Errno::NXIO) => Err(NotRead::Other("a socket or a device")),
            Err(error) => Err(NotRead::Io(error.into())),
        }
    }

    /// What was opened with [`Self::FLAGS`], and is a plain file as the system says.
    pub(crate) fn of(file: OwnedFd, stat: Stat) -> Self {
        Self { file: file.into(), stat }
    }

    /// What the system said of it when it was opened.
    pub(crate) fn stat(&self) -> &Stat {
        &self.stat
    }

    /// The file, if it has at most so many bytes now.
    pub(crate) fn up_to(self, max: usize) -> Result<File, NotRead> {
        let fits = usize::try_from(self.stat.st_size).is_ok_and(|size| size <= max);
        if fits { Ok(self.file) } else { Err(NotRead::TooLarge(max)) }
    }

    /// Reads all of it, up to `max` bytes, in place of what the buffer held. One call to the system as a rule: room for
    /// a byte more shows the end.
    pub(crate) fn read(mut self, max: usize, buffer: &mut Vec<u8>) -> Result<(), NotRead> {
        let size = usize::try_from(self.stat.st_size).unwrap_or(usize::MAX);
        if size > max {
            return Err(NotRead::TooLarge(max));
        }
        buffer.clear();
        buffer.resize(size + 1, 0);
        let mut filled = 0;
        loop {
            match self.file.read(&mut buffer[filled..]) {
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            }
            if filled > max {
                return Err(NotRead::TooLarge(max));
            }
            // A plain file gives less than asked for at its end only.
            if filled < buffer.len() {
                buffer.truncate(filled);
                return Ok(());
            }
            buffer.resize((filled * 2).min(max + 1), 0);
        }
    }
}

/// What something is that is not a plain file.
pub(crate) fn what_else(kind: FileType) -> Option<&'static str> {
    match kind {
        FileType::RegularFile => None,
        FileType::Fifo => Some("a FIFO"),
        FileType::Directory => Some("a folder"),
        FileType::Socket => Some("a socket"),
        _ => Some("a device"),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_plain_file_is_read_up_to_its_bound() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let mut buffer = b"what was read before".to_vec();
        for (size, max) in [(0, 0), (0, 10), (9, 10), (10, 10)] {
            fs::write(&path, vec![b'x'; size]).unwrap();
            PlainFile::open(&path).unwrap().read(max, &mut buffer).unwrap();
            assert_eq!(buffer, vec![b'x'; size], "{size} of {max}");
        }
        let error = PlainFile::open(&path).unwrap().read(9, &mut buffer).unwrap_err();
        assert!(matches!(error, NotRead::TooLarge(9)), "{error:?}");
    }

    #[test]
    fn a_file_that_grows_after_it_was_opened_is_read_up_to_its_bound() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "x").unwrap();
        let (short, long) = (PlainFile::open(&path).unwrap(), PlainFile::open(&path).unwrap());
        fs::write(&path, vec![b'x'; 1000]).unwrap();
        let mut buffer = Vec::new();
        long.read(1000, &mut buffer).unwrap();
        assert_eq!(buffer.len(), 1000);
        assert!(matches!(short.read(999, &mut buffer), Err(NotRead::TooLarge(999))));
        // The system tells no size of these at all.
        PlainFile::open(Path::new("/proc/self/status")).unwrap().read(64 * 1024, &mut buffer).unwrap();
        assert!(buffer.len() > 100);
    }

    #[test]
    fn what_is_not_a_plain_file_is_named_and_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        rustix::fs::mknodat(CWD, at("fifo"), FileType::Fifo, 0o600.into(), 0).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        for (path, kind) in [
            (at("fifo"), "a FIFO"),
            (at("socket"), "a socket or a device"),
            (at("."), "a folder"),
            ("/dev/zero".into(), "a device"),
        ] {
            let error = PlainFile::open(&path).unwrap_err();
            assert!(matches!(error, NotRead::Other(found) if found == kind), "{error}");
        }
        assert!(matches!(PlainFile::open(&at("absent")), Err(NotRead::Io(_))));
    }
}
