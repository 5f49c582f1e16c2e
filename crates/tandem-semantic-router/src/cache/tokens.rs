//! A text in pieces: words, names, and what must stay as it is.

/// A piece of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) text: String,
    pub(super) form: Form,
    /// Whether a sentence begins with it.
    pub(super) first: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// In lower case.
    Word,
    /// Written with a capital where no sentence begins; in lower case.
    Name,
    /// To the letter.
    Literal,
}

impl Token {
    /// What a phrase may match; nothing matches a literal.
    pub(super) fn phrase_word(&self) -> &str {
        match self.form {
            Form::Literal => "",
            Form::Word | Form::Name => &self.text,
        }
    }
}

/// A text in pieces.
#[derive(Debug)]
pub(super) struct Pieces {
    pub(super) tokens: Vec<Token>,
    /// Whether there is code or arithmetic in it, in which every sign counts, and its place.
    pub(super) exact: bool,
}

/// Takes a text apart.
pub(super) fn split(text: &str) -> Pieces {
    let text: String = text
        .chars()
        .map(|letter| match letter {
            '\u{2018}' | '\u{2019}' => '\'',
            '\u{201c}' | '\u{201d}' | '\u{ab}' | '\u{bb}' => '"',
            '\u{2013}' | '\u{2014}' => '-',
            other => other,
        })
        .collect();
    let shouted = !text.chars().any(char::is_lowercase);
    let mut scanner = Scanner {
        exact: is_code(&text),
        shouted,
        first: true,
        tokens: Vec::new(),
    };
    scanner.scan(&text);
    Pieces {
        tokens: scanner.tokens,
        exact: scanner.exact,
    }
}

/// Whether brackets and signs matter: there is code or arithmetic in the text.
fn is_code(text: &str) -> bool {
    text.contains([
        '=', '<', '>', '^', '*', '|', '{', '}', '[', ']', '~', '\\', '+',
    ]) || ["()", "::", "```", "\n ", "\n\t"]
        .iter()
        .any(|sign| text.contains(sign))
        || text
            .as_bytes()
            .windows(2)
            .any(|pair| pair[0].is_ascii_alphanumeric() && pair[1] == b'(')
}

struct Scanner {
    exact: bool,
    shouted: bool,
    /// Whether a sentence begins here.
    first: bool,
    tokens: Vec<Token>,
}

impl Scanner {
    fn scan(&mut self, text: &str) {
        let mut rest = text;
        let mut previous = ' ';
        while let Some(letter) = rest.chars().next() {
            let taken = self.take(letter, rest, previous);
            previous = rest[..taken].chars().next_back().unwrap_or(letter);
            rest = &rest[taken..];
        }
    }

    /// Takes one piece; its length in bytes.
    fn take(&mut self, letter: char, rest: &str, previous: char) -> usize {
        if letter == '`' || letter == '"' {
            let fence = if rest.starts_with("```") {
                "```"
            } else {
                &rest[..1]
            };
            let inside = &rest[fence.len()..];
            if let Some(end) = inside.find(fence) {
                self.quote(&inside[..end], self.exact || letter == '`');
                return fence.len() * 2 + end;
            }
        }
        if letter == '\'' && !previous.is_alphanumeric() {
            let inside = &rest[1..];
            let end = inside.match_indices('\'').map(|(at, _)| at).find(|at| {
                let after = inside[at + 1..].chars().next();
                !after.is_some_and(char::is_alphanumeric)
            });
            if let Some(end) = end {
                self.quote(&inside[..end], self.exact);
                return end + 2;
            }
        }
        if letter.is_alphanumeric() {
            return self.run(rest);
        }
        let length = letter.len_utf8();
        let next = rest[length..].chars().next();
        let digit_next = next.is_some_and(|next| next.is_ascii_digit());
        match letter {
            '.' | '?' | '!' | '\n' | ':' | ';' => {
                let factorial = letter == '!' && previous.is_ascii_digit();
                if factorial || self.exact && letter != '?' && letter != '\n' && letter != '.' {
                    self.push(letter.to_string(), Form::Literal);
                }
                let indented = rest[length..].trim_start_matches([' ', '\t']);
                let indentation = rest.len() - length - indented.len();
                if self.exact && letter == '\n' && indentation > 0 {
                    self.push(indentation.to_string(), Form::Literal);
                }
                self.first |= matches!(letter, '?' | '!' | '\n')
                    || letter == '.' && next.is_none_or(char::is_whitespace);
            }
            '-' if digit_next && !previous.is_alphabetic() || self.exact => {
                self.push("-".to_owned(), Form::Literal);
            }
            '%' => self.push("percent".to_owned(), Form::Word),
            '$' => self.push("dollar".to_owned(), Form::Word),
            '\u{20ac}' => self.push("euro".to_owned(), Form::Word),
            '\u{a3}' => self.push("sterling".to_owned(), Form::Word),
            '\u{b0}' => self.push("degree".to_owned(), Form::Word),
            '&' if !self.exact => self.push("and".to_owned(), Form::Word),
            ',' | '-' | '\'' | '"' | '\u{bf}' | '\u{a1}' | '\u{2026}' => {}
            '(' | ')' if !self.exact => {}
            '/' if !self.exact && !previous.is_ascii_digit() => {}
            letter if letter.is_whitespace() => {}
            letter => self.push(letter.to_string(), Form::Literal),
        }
        length
    }

    /// A word or a number, with what may be inside of one.
    fn run(&mut self, rest: &str) -> usize {
        let mut end = 0;
        let mut letters = rest.char_indices().peekable();
        while let Some((at, letter)) = letters.next() {
            let next = letters.peek().map(|(_, next)| *next);
            let joined = next.is_some_and(char::is_alphanumeric) && at > 0;
            let inside = match letter {
                '\'' | '.' | '_' | '@' => joined,
                ',' | ':' => {
                    joined
                        && rest[..at].ends_with(|digit: char| digit.is_ascii_digit())
                        && next.is_some_and(|next| next.is_ascii_digit())
                }
                '+' | '#' => !rest[..at].ends_with(|digit: char| digit.is_ascii_digit()) && !joined,
                letter => letter.is_alphanumeric(),
            };
            if !inside {
                break;
            }
            end = at + letter.len_utf8();
        }
        let text = &rest[..end];
        let capital = text.starts_with(char::is_uppercase) && !self.shouted;
        let acronym = text.len() > 1
            && !text.chars().any(char::is_lowercase)
            && text.chars().all(char::is_alphabetic);
        let name = capital && (!self.first || acronym) && text != "I" && !text.starts_with("I'");
        let (text, form) = match name {
            true if self.exact => (text.to_owned(), Form::Literal),
            true => (text.to_lowercase(), Form::Name),
            false => (text.to_lowercase(), Form::Word),
        };
        self.push(text, form);
        end
    }

    /// What is quoted: code to the letter, and words as they are.
    fn quote(&mut self, inside: &str, code: bool) {
        let plain = inside
            .chars()
            .all(|letter| letter.is_alphanumeric() || letter == ' ' || letter == '\'');
        let words = inside.split_whitespace().count();
        if !code && plain && words == 1 {
            self.push(inside.trim().to_lowercase(), Form::Name);
        } else if words > 0 {
            self.push(inside.trim().to_owned(), Form::Literal);
        }
    }

    fn push(&mut self, text: String, form: Form) {
        let first = std::mem::take(&mut self.first);
        self.tokens.push(Token { text, form, first });
    }
}
