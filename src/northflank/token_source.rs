//! Where the token comes from, so that it can be read again while the daemon runs.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::{Token, TokenError};
use crate::plain_file::{NotRead, PlainFile};

/// Where the token comes from.
#[derive(Clone, Debug)]
pub enum TokenSource {
    /// A file, read anew each time.
    File(PathBuf),
    /// The environment, which does not change while the process lives.
    Environment(Token),
}

/// A token just read, and what is worth a warning about where it was.
#[derive(Debug)]
pub struct ReadToken {
    /// The token.
    pub token: Token,
    /// What its owner may want to fix.
    pub warning: Option<TokenWarning>,
}

/// What is wrong with where a token is kept, while it can be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TokenWarning {
    /// Every user of the machine can read the file.
    #[error(
        "token file `{}` can be read by every user (mode {mode:04o}): `chmod o-rwx` it, and make a new token if others have accounts here",
        path.display()
    )]
    ReadByAll {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
}

/// Why no token could be read.
#[derive(Debug, Error)]
pub enum TokenReadError {
    /// The file cannot be read.
    #[error("cannot read token file `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A folder, a pipe, a device: nothing that can be read again, or at all.
    #[error("token file `{}` is not a regular file", path.display())]
    NoFile {
        /// What was named.
        path: PathBuf,
    },
    /// The file holds no token.
    #[error("token file `{}` holds no token: it {reason}", path.display())]
    InFile {
        /// The file.
        path: PathBuf,
        /// Which rule it breaks.
        reason: TokenError,
    },
    /// The variable holds no token.
    #[error("`{variable}` holds no token: it {reason}")]
    InEnvironment {
        /// The variable.
        variable: &'static str,
        /// Which rule it breaks.
        reason: TokenError,
    },
    /// Nothing names a token.
    #[error("no API token")]
    None,
}

impl TokenReadError {
    /// What to do about it, where it is not plain.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        matches!(self, Self::None).then_some(
            "name a file with `--token-file`, or set `NORTHFLANK_API_TOKEN`, or give systemd's credential \
             `northflank-api-token`",
        )
    }
}

impl TokenSource {
    /// The variable of the environment that holds a token.
    pub const VARIABLE: &'static str = "NORTHFLANK_API_TOKEN";
    /// The name of systemd's credential, a file in `$CREDENTIALS_DIRECTORY`.
    pub const CREDENTIAL: &'static str = "northflank-api-token";

    /// Chooses the source: the file that was named, else [`Self::VARIABLE`], else [`Self::CREDENTIAL`] where the
    /// credentials folder has it. A variable that is there and empty counts as not there.
    ///
    /// # Errors
    /// Where the variable holds no token, or nothing names one. Files are not read yet.
    pub fn choose(
        file: Option<&Path>,
        variable: impl Fn(&'static str) -> Option<OsString>,
    ) -> Result<Self, TokenReadError> {
        if let Some(path) = file {
            return Ok(Self::File(path.to_owned()));
        }
        let given = |name| variable(name).filter(|value| !value.is_empty());
        if let Some(value) = given(Self::VARIABLE) {
            return Token::from_bytes(value.as_encoded_bytes())
                .map(Self::Environment)
                .map_err(|reason| TokenReadError::InEnvironment { variable: Self::VARIABLE, reason });
        }
        let credential = given("CREDENTIALS_DIRECTORY").map(|folder| PathBuf::from(folder).join(Self::CREDENTIAL));
        match credential.filter(|path| path.exists()) {
            Some(path) => Ok(Self::File(path)),
            None => Err(TokenReadError::None),
        }
    }

    /// Reads the token, from a file anew each time. Blocks for the time of one small file.
    ///
    /// # Errors
    /// Names the file or the variable, and which rule its content breaks; never the content.
    pub fn read(&self) -> Result<ReadToken, TokenReadError> {
        match self {
            Self::File(path) => read_file(path),
            Self::Environment(token) => Ok(ReadToken { token: token.clone(), warning: None }),
        }
    }
}

fn read_file(path: &Path) -> Result<ReadToken, TokenReadError> {
    let in_file = |reason| TokenReadError::InFile { path: path.to_owned(), reason };
    let failed = |error| match error {
        NotRead::Other(_) => TokenReadError::NoFile { path: path.to_owned() },
        NotRead::TooLarge(_) => in_file(TokenError::TooLong),
        NotRead::Io(source) => TokenReadError::Read { path: path.to_owned(), source },
    };
    let file = PlainFile::open(path).map_err(failed)?;
    let mode = file.stat().st_mode & 0o7777;
    let mut bytes = Vec::new();
    file.read(Token::MAX_BYTES + "\r\n".len(), &mut bytes).map_err(failed)?;
    let token = Token::from_bytes(&bytes).map_err(in_file)?;
    let warning = (mode & 0o004 != 0).then(|| TokenWarning::ReadByAll { path: path.to_owned(), mode });
    Ok(ReadToken { token, warning })
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn file(folder: &Path, content: &[u8], mode: u32) -> TokenSource {
        let path = folder.join("token");
        fs::write(&path, content).expect("a file is written");
        fs::set_permissions(&path, Permissions::from_mode(mode)).expect("a mode is set");
        TokenSource::File(path)
    }

    #[test]
    fn a_file_is_read_anew_each_time() {
        let folder = tempfile::tempdir().expect("a folder");
        let source = file(folder.path(), b"nf-one\n", 0o600);
        let one = source.read().expect("a token");
        assert_eq!((one.token, one.warning), (Token::new("nf-one").expect("valid"), None));
        file(folder.path(), b"nf-two", 0o644);
        let two = source.read().expect("a token");
        assert_eq!(two.token, Token::new("nf-two").expect("valid"));
        let warning = two.warning.expect("everybody can read it").to_string();
        assert!(warning.contains("(mode 0644)") && warning.contains("chmod"), "{warning}");
    }

    #[test]
    fn a_file_without_a_token_is_named_and_never_quoted() {
        let folder = tempfile::tempdir().expect("a folder");
        for (content, why) in [
            (&b"hunter2 hunter2"[..], "holds a blank"),
            (b"", "is empty"),
            (b"\n", "is empty"),
            (b"hunter2\xff", "no token has"),
            (&b"hunter2".repeat(100_000), "is longer than"),
        ] {
            let error = file(folder.path(), content, 0o600).read().expect_err("no token");
            let text = format!("{error} {error:?}");
            assert!(text.contains("/token") && text.contains(why) && !text.contains("hunter2"), "{text}");
        }
    }

    #[test]
    fn what_is_no_file_neither_hangs_nor_reads() {
        let folder = tempfile::tempdir().expect("a folder");
        let pipe = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo runs");
        assert!(made.success());
        for path in [pipe, folder.path().to_owned(), PathBuf::from("/dev/zero")] {
            let error = TokenSource::File(path).read().expect_err("no file");
            assert!(matches!(error, TokenReadError::NoFile { .. }), "{error}");
        }
        let error = TokenSource::File(folder.path().join("absent")).read().expect_err("no file");
        assert!(error.to_string().contains("absent"), "{error}");
    }

    #[test]
    fn a_named_file_goes_before_the_environment_and_that_before_a_credential() {
        let folder = tempfile::tempdir().expect("a folder");
        let credentials = folder.path().as_os_str().to_owned();
        let environment = |token: &'static str| {
            let credentials = credentials.clone();
            move |name: &str| match name {
                TokenSource::VARIABLE => Some(OsString::from(token)),
                "CREDENTIALS_DIRECTORY" => Some(credentials.clone()),
                _ => None,
            }
        };
        let named = TokenSource::choose(Some(Path::new("/run/token")), environment("nf-env"));
        assert!(matches!(named, Ok(TokenSource::File(path)) if path == Path::new("/run/token")));
        assert!(matches!(TokenSource::choose(None, environment("nf-env")), Ok(TokenSource::Environment(_))));
        assert!(matches!(TokenSource::choose(None, environment("")), Err(TokenReadError::None)));
        fs::write(folder.path().join(TokenSource::CREDENTIAL), "nf-cred").expect("a file is written");
        assert!(matches!(TokenSource::choose(None, environment("")), Ok(TokenSource::File(_))));
        let error = TokenSource::choose(None, environment("hunter2 x")).expect_err("no token");
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
    }
}
