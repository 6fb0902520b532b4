//! The patterns of `SHOW … LIKE`.

use base::{Error, ErrorCode, Result};

/// A pattern: `%` for any characters, `_` for one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LikePattern(Vec<Element>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Element {
    Any,
    One,
    Literal(char),
}

impl LikePattern {
    /// A pattern; the character after `escape` stands for itself. There is no escape character by default.
    ///
    /// # Errors
    /// `INVALID_FUNCTION_ARGUMENT` if the escape is not one character, or stands before anything but `%`, `_` and
    /// itself.
    pub fn new(pattern: &str, escape: Option<&str>) -> Result<Self> {
        let invalid = |text: &str| Error::new(ErrorCode::INVALID_FUNCTION_ARGUMENT, text);
        let escape = match escape {
            None => None,
            Some(text) => {
                let mut characters = text.chars();
                match (characters.next(), characters.next()) {
                    (Some(character), None) => Some(character),
                    _ => return Err(invalid("Escape string must be a single character")),
                }
            }
        };
        let mut elements = Vec::new();
        let mut characters = pattern.chars();
        while let Some(character) = characters.next() {
            elements.push(if Some(character) == escape {
                match characters.next() {
                    Some(next) if next == '%' || next == '_' || Some(next) == escape => {
                        Element::Literal(next)
                    }
                    _ => {
                        return Err(invalid(
                            "Escape character must be followed by '%', '_' or the escape character itself",
                        ));
                    }
                }
            } else {
                match character {
                    '%' => Element::Any,
                    '_' => Element::One,
                    literal => Element::Literal(literal),
                }
            });
        }
        Ok(LikePattern(elements))
    }

    /// Whether a whole text matches, with regard to case.
    pub fn matches(&self, text: &str) -> bool {
        let elements = &self.0;
        let characters: Vec<char> = text.chars().collect();
        let (mut element, mut character) = (0, 0);
        // Where to go on after the last `%`: behind it, taking one character more.
        let mut retry = None;
        while character < characters.len() {
            match elements.get(element) {
                Some(Element::Any) => {
                    retry = Some((element + 1, character));
                    element += 1;
                    continue;
                }
                Some(Element::One) => {
                    element += 1;
                    character += 1;
                    continue;
                }
                Some(Element::Literal(literal)) if *literal == characters[character] => {
                    element += 1;
                    character += 1;
                    continue;
                }
                _ => {}
            }
            let Some((behind, taken)) = retry else {
                return false;
            };
            retry = Some((behind, taken + 1));
            (element, character) = (behind, taken + 1);
        }
        elements[element..].iter().all(|element| *element == Element::Any)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, escape, text, expected) in [
            ("tiny", None, "tiny", true),
            ("tiny", None, "tiny2", false),
            ("t%", None, "tiny", true),
            ("%n%", None, "tiny", true),
            ("%ny", None, "tinyny", true),
            ("t_ny", None, "tiny", true),
            ("t_ny", None, "tny", false),
            ("%", None, "", true),
            ("", None, "", true),
            ("", None, "a", false),
            ("sf1%%", None, "sf1", true),
            ("a$_b", Some("$"), "a_b", true),
            ("a$_b", Some("$"), "axb", false),
            ("a$$b", Some("$"), "a$b", true),
            ("a_ü%", None, "axüy", true),
            ("a\\_b", None, "a\\xb", true),
            ("%a%b%c", None, "xxaxxbxxbxxc", true),
        ] {
            let matcher = LikePattern::new(pattern, escape).unwrap();
            assert_eq!(matcher.matches(text), expected, "{text} like {pattern}");
        }
    }

    #[test]
    fn escapes_are_checked() {
        for (pattern, escape) in [("a", "xy"), ("a", ""), ("a$b", "$"), ("a$", "$")] {
            let error = LikePattern::new(pattern, Some(escape)).unwrap_err();
            assert_eq!(error.code(), ErrorCode::INVALID_FUNCTION_ARGUMENT);
        }
    }
}
