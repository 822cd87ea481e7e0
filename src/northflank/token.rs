//! The API token: a secret that can be sent and compared, and nothing else.

use std::fmt;

use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use thiserror::Error;

/// A token of the API. Nothing shows it: `Debug` prints a placeholder, and there is no `Display` and no `Serialize`.
#[derive(Clone)]
pub struct Token {
    text: SecretString,
    /// `Bearer …`, marked sensitive, so that neither `Debug` shows it nor HTTP/2 keeps it in a compression table.
    authorization: HeaderValue,
}

/// Why a text is no [`Token`]; never the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TokenError {
    /// Nothing there.
    #[error("is empty")]
    Empty,
    /// Longer than [`Token::MAX_BYTES`].
    #[error("is longer than {} bytes", Token::MAX_BYTES)]
    TooLong,
    /// `"…"` or `'…'`.
    #[error("has quotes around it; leave them out")]
    Quoted,
    /// `NAME=…`, as in a file of variables.
    #[error("begins with a name and `=`; keep only what follows")]
    Named,
    /// `Bearer …`, as in a header.
    #[error("begins with `Bearer`; keep only what follows")]
    Bearer,
    /// `${NAME}`, `{{ name }}`, `<token>`.
    #[error("is a placeholder that nothing was put in for, such as `${{NAME}}` or `<token>`")]
    Placeholder,
    /// A blank, a control character, or no ASCII.
    #[error("holds a blank, a line break within, or another character that no token has")]
    Character,
}

impl Token {
    /// Whether a text holds the token, or one of its ends where the rest was cut off. A short token may be a word of the
    /// text, and is never found.
    #[must_use]
    pub fn is_in(&self, text: &str) -> bool {
        super::scrub::holds(text, self)
    }

    /// The longest token, in bytes; the provider's have a few hundred.
    pub const MAX_BYTES: usize = 4096;

    /// Takes a text, without the line end that an editor or `echo` leaves behind it.
    ///
    /// # Errors
    /// Says which rule the text breaks.
    pub fn new(text: &str) -> Result<Self, TokenError> {
        Self::from_bytes(text.as_bytes())
    }

    /// The same from bytes, as a file or a variable of the environment holds them.
    ///
    /// # Errors
    /// Says which rule the bytes break.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, TokenError> {
        let line = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            return Err(TokenError::Empty);
        }
        if line.len() > Self::MAX_BYTES {
            return Err(TokenError::TooLong);
        }
        if let Some(mistake) = pasted(line.trim_ascii()) {
            return Err(mistake);
        }
        if !line.iter().all(u8::is_ascii_graphic) {
            return Err(TokenError::Character);
        }
        let text = SecretString::from(std::str::from_utf8(line).map_err(|_| TokenError::Character)?);
        let mut authorization =
            HeaderValue::from_str(&format!("Bearer {}", text.expose_secret())).map_err(|_| TokenError::Character)?;
        authorization.set_sensitive(true);
        Ok(Self { text, authorization })
    }

    /// The header of a call.
    pub(super) fn authorization(&self) -> HeaderValue {
        self.authorization.clone()
    }

    /// The text, to be looked for in what the server sends back.
    pub(super) fn expose(&self) -> &str {
        self.text.expose_secret()
    }
}

/// What is around a token, or stands for it, where it was copied together with that.
fn pasted(line: &[u8]) -> Option<TokenError> {
    let within = |open: &[u8], close: &[u8]| line.len() > 1 && line.starts_with(open) && line.ends_with(close);
    if within(b"\"", b"\"") || within(b"'", b"'") || within(b"`", b"`") {
        return Some(TokenError::Quoted);
    }
    if line.starts_with(b"$") || within(b"{{", b"}}") || within(b"<", b">") || within(b"%", b"%") {
        return Some(TokenError::Placeholder);
    }
    let word = |end: &u8| end.is_ascii_whitespace() || matches!(end, b':' | b'=');
    let first = line.split(word).next().unwrap_or_default();
    if first.eq_ignore_ascii_case(b"bearer") || first.eq_ignore_ascii_case(b"authorization") {
        return Some(TokenError::Bearer);
    }
    let line = line.strip_prefix(b"export ").unwrap_or(line);
    let equals = line.iter().position(|byte| *byte == b'=')?;
    let (name, value) = (line.get(..equals)?, line.get(equals + 1..)?);
    // Base64 ends in `=` too; nothing but `=` follows there.
    let is_name = name.iter().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b'_')
        && name.first().is_some_and(u8::is_ascii_uppercase)
        || name.eq_ignore_ascii_case(b"token");
    (is_name && value.iter().any(|byte| *byte != b'=')).then_some(TokenError::Named)
}

impl PartialEq for Token {
    fn eq(&self, other: &Self) -> bool {
        self.expose() == other.expose()
    }
}

impl Eq for Token {}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_one_visible_word_with_or_without_a_line_end() {
        for text in ["nf-abc", "nf-abc\n", "nf-abc\r\n"] {
            assert_eq!(Token::new(text).map(|token| token.expose().to_owned()), Ok("nf-abc".to_owned()), "{text:?}");
        }
        for (text, why) in [
            ("", TokenError::Empty),
            ("\n", TokenError::Empty),
            ("nf abc", TokenError::Character),
            (" nf-abc", TokenError::Character),
            ("nf-abc\n\n", TokenError::Character),
            ("nf-äbc", TokenError::Character),
            ("nf-abc\u{7f}", TokenError::Character),
        ] {
            assert_eq!(Token::new(text), Err(why), "{text:?}");
            assert!(!why.to_string().contains("nf"), "{why} shows the token");
        }
        assert!(Token::new(&"x".repeat(Token::MAX_BYTES)).is_ok());
        assert_eq!(Token::new(&"x".repeat(Token::MAX_BYTES + 1)), Err(TokenError::TooLong));
        assert_eq!(Token::from_bytes(b"nf-\xff"), Err(TokenError::Character));
    }

    #[test]
    fn what_was_copied_with_a_token_is_told_by_name() {
        for (text, why) in [
            ("\"nf-hunter2\"\n", TokenError::Quoted),
            ("'nf-hunter2'", TokenError::Quoted),
            ("NORTHFLANK_API_TOKEN=nf-hunter2", TokenError::Named),
            ("export NORTHFLANK_API_TOKEN=nf-hunter2\n", TokenError::Named),
            ("NORTHFLANK_API_TOKEN=\"nf-hunter2\"", TokenError::Named),
            ("token=nf-hunter2", TokenError::Named),
            ("Bearer nf-hunter2", TokenError::Bearer),
            ("Authorization: Bearer nf-hunter2", TokenError::Bearer),
            ("${NORTHFLANK_API_TOKEN}", TokenError::Placeholder),
            ("$NORTHFLANK_API_TOKEN\n", TokenError::Placeholder),
            ("${{ secrets.NORTHFLANK_API_TOKEN }}", TokenError::Placeholder),
            ("{{ token }}", TokenError::Placeholder),
            ("<your-token>", TokenError::Placeholder),
        ] {
            assert_eq!(Token::new(text), Err(why), "{text:?}");
            assert!(!why.to_string().contains("hunter2"), "{why} shows the token");
        }
        for text in ["eyJhbGciOiJIUzI1NiJ9.e30.abc-_", "QUJD==", "nf=abc", "bearer-of-news", "\"", "a=$x"] {
            assert!(Token::new(text).is_ok(), "{text:?}");
        }
    }

    #[test]
    fn no_form_of_a_token_shows_it() {
        let token = Token::new("nf-hunter2").expect("a valid token");
        assert!(!format!("{token:?} {token:#?} {:?}", token.authorization()).contains("hunter2"));
    }
}
