//! Rust source, taken apart no further than the architecture needs it: no comments, no test items, and the paths.

/// A piece of source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Token {
    /// An identifier, a keyword or a number.
    Word(String),
    /// The contents of a string literal, as they are written.
    Text(String),
    /// `::`
    Separator,
    /// Any other character.
    Sign(char),
}

/// A source file without its comments and test items.
#[derive(Debug)]
pub struct Source {
    /// Its tokens, each with the line where it begins.
    pub tokens: Vec<(usize, Token)>,
    /// Whether it begins with `//!`.
    pub has_header: bool,
    /// How many lines it has, those of test items not counted.
    pub lines: usize,
}

impl Source {
    /// Takes a file apart.
    pub fn read(text: &str) -> Self {
        let mut lexer = Lexer { rest: text, line: 1 };
        let mut tokens = Vec::new();
        while let Some(token) = lexer.next_token() {
            tokens.push(token);
        }
        let mut source = Self { tokens, has_header: text.starts_with("//!"), lines: text.lines().count() };
        source.drop_tests();
        source
    }

    /// Finds every path that leads through the crate's root: where it is, and where it leads. `module` is the path
    /// of the file's own module.
    pub fn uses(&self, module: &[String]) -> Vec<(usize, Vec<String>)> {
        let (mut found, mut at) = (Vec::new(), 0);
        while at < self.tokens.len() {
            let base = match self.word(at) {
                Some("crate") => Some(Vec::new()),
                Some("connwarden") if module == ["main"] => Some(Vec::new()),
                Some("super") => {
                    let mut base = module.to_vec();
                    base.pop();
                    while self.is(at + 1, &Token::Separator) && self.word(at + 2) == Some("super") {
                        base.pop();
                        at += 2;
                    }
                    Some(base)
                }
                _ => None,
            };
            at += 1;
            if let Some(base) = base
                && self.is(at, &Token::Separator)
            {
                at += 1;
                self.tree(&mut at, base, &mut found);
            }
        }
        found
    }

    /// Follows a path, into every branch of its braces.
    fn tree(&self, at: &mut usize, mut path: Vec<String>, found: &mut Vec<(usize, Vec<String>)>) {
        while let Some((line, token)) = self.tokens.get(*at) {
            match token {
                Token::Word(word) => {
                    if word != "self" {
                        path.push(word.clone());
                    }
                    *at += 1;
                    if !self.is(*at, &Token::Separator) {
                        return found.push((*line, path));
                    }
                    *at += 1;
                }
                Token::Sign('{') => {
                    *at += 1;
                    while *at < self.tokens.len() && !self.is(*at, &Token::Sign('}')) {
                        match &self.tokens[*at].1 {
                            Token::Sign(',') => *at += 1,
                            // the new name is of no interest
                            Token::Word(word) if word == "as" => *at += 2,
                            _ => self.tree(at, path.clone(), found),
                        }
                    }
                    *at += 1;
                    return;
                }
                Token::Sign('*') => {
                    path.push("*".to_owned());
                    *at += 1;
                    return found.push((*line, path));
                }
                // `::<` and whatever else ends a path
                _ => {
                    *at += 1;
                    return found.push((*line, path));
                }
            }
        }
    }

    /// Takes out every item behind `#[cfg(test)]`.
    fn drop_tests(&mut self) {
        let marker = Self::marker();
        while let Some(begin) = self.position(&marker) {
            let mut end = begin + marker.len();
            let mut depth = 0_usize;
            while let Some((_, token)) = self.tokens.get(end) {
                end += 1;
                match token {
                    Token::Sign('{' | '[' | '(') => depth += 1,
                    Token::Sign(sign @ ('}' | ']' | ')')) => {
                        depth = depth.saturating_sub(1);
                        if *sign == '}' && depth == 0 {
                            break;
                        }
                    }
                    Token::Sign(';') if depth == 0 => break,
                    _ => {}
                }
            }
            let (first, last) = (self.tokens[begin].0, self.tokens[end - 1].0);
            self.lines = self.lines.saturating_sub(last + 1 - first);
            self.tokens.drain(begin..end);
        }
    }

    /// The tokens of `#[cfg(test)]`.
    fn marker() -> Vec<Token> {
        let word = |text: &str| Token::Word(text.to_owned());
        let (open, close) = (Token::Sign('('), Token::Sign(')'));
        vec![Token::Sign('#'), Token::Sign('['), word("cfg"), open, word("test"), close, Token::Sign(']')]
    }

    fn position(&self, wanted: &[Token]) -> Option<usize> {
        self.tokens
            .windows(wanted.len())
            .position(|window| window.iter().map(|(_, token)| token).eq(wanted.iter()))
    }

    fn word(&self, at: usize) -> Option<&str> {
        match self.tokens.get(at) {
            Some((_, Token::Word(word))) => Some(word),
            _ => None,
        }
    }

    fn is(&self, at: usize, wanted: &Token) -> bool {
        self.tokens.get(at).is_some_and(|(_, token)| token == wanted)
    }
}

struct Lexer<'a> {
    rest: &'a str,
    line: usize,
}

impl Lexer<'_> {
    fn next_token(&mut self) -> Option<(usize, Token)> {
        self.skip_blanks_and_comments();
        let line = self.line;
        let first = self.rest.chars().next()?;
        if let Some(text) = self.string() {
            return Some((line, Token::Text(text)));
        }
        if first.is_alphanumeric() || first == '_' {
            let end = self.rest.find(|letter: char| !letter.is_alphanumeric() && letter != '_');
            let word = self.take(end.unwrap_or(self.rest.len()));
            return Some((line, Token::Word(word)));
        }
        if self.rest.starts_with("::") {
            self.take(2);
            return Some((line, Token::Separator));
        }
        if first == '\'' {
            self.character_or_lifetime();
        } else {
            self.take(first.len_utf8());
        }
        Some((line, Token::Sign(first)))
    }

    fn skip_blanks_and_comments(&mut self) {
        loop {
            let blank = self.rest.len() - self.rest.trim_start().len();
            self.take(blank);
            if self.rest.starts_with("//") {
                self.take(self.rest.find('\n').unwrap_or(self.rest.len()));
            } else if self.rest.starts_with("/*") {
                self.take(2);
                let mut depth = 1_usize;
                while depth > 0 && !self.rest.is_empty() {
                    if self.rest.starts_with("/*") {
                        depth += 1;
                        self.take(2);
                    } else if self.rest.starts_with("*/") {
                        depth -= 1;
                        self.take(2);
                    } else {
                        self.take(self.rest.chars().next().map_or(0, char::len_utf8));
                    }
                }
            } else if blank == 0 {
                return;
            }
        }
    }

    /// Takes a string literal, of whatever kind.
    fn string(&mut self) -> Option<String> {
        let plain = self.rest.trim_start_matches(['b', 'c']);
        if self.rest.len() - plain.len() > 1 {
            return None;
        }
        let raw = plain.strip_prefix('r').map(|rest| rest.trim_start_matches('#'));
        let prefix = |rest: &str, of: &str| of.len() - rest.len();
        if let Some(raw) = raw.filter(|raw| raw.starts_with('"')) {
            let hashes = prefix(raw, plain) - 1;
            self.take(prefix(raw, self.rest) + 1);
            let end = format!("\"{}", "#".repeat(hashes));
            let text = self.take(self.rest.find(&end).unwrap_or(self.rest.len()));
            self.take(end.len().min(self.rest.len()));
            return Some(text);
        }
        if !plain.starts_with('"') {
            return None;
        }
        self.take(prefix(plain, self.rest) + 1);
        let mut escaped = false;
        let end = self.rest.find(|letter| {
            let ends = letter == '"' && !escaped;
            escaped = letter == '\\' && !escaped;
            ends
        });
        let text = self.take(end.unwrap_or(self.rest.len()));
        self.take(1.min(self.rest.len()));
        Some(text)
    }

    /// `'a'`, `'\''` or `'a`: a quote inside of it must not begin a string.
    fn character_or_lifetime(&mut self) {
        self.take(1);
        let mut letters = self.rest.char_indices();
        let end = match (letters.next(), letters.next()) {
            (Some((_, '\\')), Some((_, escaped))) => {
                let behind = 1 + escaped.len_utf8();
                self.rest[behind..].find('\'').map_or(behind, |quote| behind + quote + 1)
            }
            (Some(_), Some((quote, '\''))) => quote + 1,
            _ => 0,
        };
        self.take(end);
    }

    fn take(&mut self, length: usize) -> String {
        let (taken, rest) = self.rest.split_at(length);
        self.line += taken.matches('\n').count();
        self.rest = rest;
        taken.to_owned()
    }
}
