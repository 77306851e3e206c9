//! Hostile input: whatever senders and servers send, it is counted or refused, kept unchanged, and shown harmlessly.
//!
//! Elsewhere: monitoring ports that redirect, send pages, break off or never answer (`observation_faults`), what
//! `inspect` makes of hostile names (`inspect`), bodies that will never be a notification (`intake`).

mod logs;
mod monitor;
mod shown;
mod webhook;

/// A text that wants to be markup, a formula, a separator, a second line, and to turn, hide or colour what follows.
const HOSTILE: &str = "=cmd|' /C calc'!A0,\"x\";<script>alert(1)</script>\u{202e}txt\u{1b}[2J\u{1b}[31m\r\nlevel=error\t\u{9b}31m\u{7f}\u{200b}\u{feff}\u{0}";

/// Whether a character moves the cursor, turns the direction of text, or cannot be seen.
fn is_treacherous(character: char) -> bool {
    (character.is_control() && character != '\n')
        || matches!(character,
            '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Fails if a text would do more than be read.
fn assert_harmless(text: &str) {
    let found = text.chars().find(|character| is_treacherous(*character));
    assert_eq!(found, None, "{text:?}");
}
