//! Characters by name, for people who cannot see what is wrong with one.

use super::is_invisible;

/// A character with what makes it stand out: `x`, or a no-break space (U+00A0), or `о` (U+043E, a Cyrillic letter).
#[must_use]
pub fn named(c: char) -> String {
    let code = format!("U+{:04X}", u32::from(c));
    match c {
        ' ' => "a blank".to_owned(),
        '\t' => "a tab".to_owned(),
        '!'..='~' => format!("`{c}`"),
        '\u{a0}' | '\u{202f}' => format!("a no-break space ({code})"),
        c if c.is_control() => format!("a control character ({code})"),
        c if c.is_whitespace() || is_invisible(c) => format!("an invisible character ({code})"),
        c => match script(c) {
            Some(script) => format!("`{c}` ({code}, a {script} letter)"),
            None => format!("`{c}` ({code})"),
        },
    }
}

/// The scripts whose letters are taken for Latin ones.
fn script(c: char) -> Option<&'static str> {
    Some(match c {
        '\u{370}'..='\u{3ff}' if c.is_alphabetic() => "Greek",
        '\u{400}'..='\u{52f}' => "Cyrillic",
        '\u{ff01}'..='\u{ff5e}' => "full-width",
        _ => return None,
    })
}

/// The ASCII letter that a letter of another script looks like.
#[must_use]
pub fn look_alike(c: char) -> Option<char> {
    Some(match c {
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(c) - 0xfee0)?,
        'а' | 'А' | 'α' | 'Α' => 'a',
        'В' | 'Β' => 'b',
        'с' | 'С' | 'ϲ' => 'c',
        'ԁ' => 'd',
        'е' | 'Е' | 'Ε' => 'e',
        'һ' | 'Н' | 'Η' => 'h',
        'і' | 'І' | 'ι' | 'Ι' => 'i',
        'ј' | 'Ј' => 'j',
        'к' | 'К' | 'κ' | 'Κ' => 'k',
        'М' | 'Μ' => 'm',
        'Ν' => 'n',
        'о' | 'О' | 'ο' | 'Ο' => 'o',
        'р' | 'Р' | 'ρ' | 'Ρ' => 'p',
        'ԛ' => 'q',
        'ѕ' | 'Ѕ' => 's',
        'Т' | 'Τ' => 't',
        'ν' => 'v',
        'ԝ' => 'w',
        'х' | 'Х' | 'χ' | 'Χ' => 'x',
        'у' | 'У' | 'Υ' => 'y',
        'Ζ' => 'z',
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_is_told_by_what_makes_it_stand_out() {
        for (c, name) in [
            ('x', "`x`"),
            (' ', "a blank"),
            ('\t', "a tab"),
            ('\u{7}', "a control character (U+0007)"),
            ('\u{a0}', "a no-break space (U+00A0)"),
            ('\u{200b}', "an invisible character (U+200B)"),
            ('о', "`о` (U+043E, a Cyrillic letter)"),
            ('Ο', "`Ο` (U+039F, a Greek letter)"),
            ('ａ', "`ａ` (U+FF41, a full-width letter)"),
            ('ü', "`ü` (U+00FC)"),
        ] {
            assert_eq!(named(c), name);
        }
    }
}
