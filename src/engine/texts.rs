//! Texts that people write: why they do something, for whoever reads it later.

/// The longest reason or note, in characters.
const LONGEST_TEXT: usize = 4000;

/// Why a text is not kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// There is none.
    #[error("a text is missing: say why, for whoever reads this later")]
    Missing,
    /// It has too many characters.
    #[error("the text has {0} characters, at most {LONGEST_TEXT} are kept")]
    TooLong(usize),
}

/// A text that somebody wrote, as it is kept.
///
/// # Errors
///
/// It is missing or too long.
pub(super) fn checked(text: &str) -> Result<String, TextError> {
    let text = text.trim();
    match text.chars().count() {
        0 => Err(TextError::Missing),
        length if length > LONGEST_TEXT => Err(TextError::TooLong(length)),
        _ => Ok(text.to_owned()),
    }
}
