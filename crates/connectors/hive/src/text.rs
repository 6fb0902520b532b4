//! Texts as `varchar(n)` and `char(n)` have them: cut to their length, and without blanks at the end of a `char`.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, StringArray};
use arrow::datatypes::{Field, Schema};
use types::Type;

/// What a column's texts must be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TextRule {
    max_characters: usize,
    trimmed: bool,
}

impl TextRule {
    /// The rule of a column, if it has one.
    pub(crate) fn of(field: &Field) -> Option<TextRule> {
        match Type::from_field(field) {
            Type::Varchar { length: Some(length) } => {
                Some(TextRule { max_characters: length as usize, trimmed: false })
            }
            Type::Char { length } => Some(TextRule { max_characters: length as usize, trimmed: true }),
            _ => None,
        }
    }

    /// The rules of the columns of a schema.
    pub(crate) fn of_columns(schema: &Schema) -> Vec<Option<TextRule>> {
        schema.fields().iter().map(|field| TextRule::of(field)).collect()
    }

    /// Whether the rule may change values so that they compare otherwise than those in the file.
    pub(crate) fn is_trimmed(self) -> bool {
        self.trimmed
    }

    /// The values as the rule wants them. Most often they are so already.
    pub(crate) fn apply(self, values: ArrayRef) -> ArrayRef {
        let Some(texts) = values.as_string_opt::<i32>() else {
            return values;
        };
        if texts.iter().flatten().all(|text| self.apply_to(text).len() == text.len()) {
            return values;
        }
        let ruled: StringArray = texts.iter().map(|text| text.map(|text| self.apply_to(text))).collect();
        Arc::new(ruled)
    }

    fn apply_to(self, text: &str) -> &str {
        // A text has no more characters than bytes.
        let cut = if text.len() <= self.max_characters {
            text
        } else {
            text.char_indices().nth(self.max_characters).map_or(text, |(end, _)| &text[..end])
        };
        if self.trimmed { cut.trim_end_matches(' ') } else { cut }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply(column_type: Type, texts: &[Option<&str>]) -> Vec<Option<String>> {
        let field = types::arrow_field("c", &column_type, true);
        let values: ArrayRef = Arc::new(StringArray::from(texts.to_vec()));
        let ruled = TextRule::of(&field).unwrap().apply(values);
        ruled.as_string::<i32>().iter().map(|text| text.map(str::to_string)).collect()
    }

    #[test]
    fn varchars_are_cut_by_characters() {
        let cut = apply(Type::Varchar { length: Some(3) }, &[Some("äöüß"), None, Some("ab "), Some("")]);
        assert_eq!(cut, [Some("äöü".to_string()), None, Some("ab ".to_string()), Some(String::new())]);
    }

    #[test]
    fn chars_lose_blanks_at_their_end() {
        let trimmed = apply(Type::Char { length: 4 }, &[Some("ab  "), Some("a b cd"), Some("    ")]);
        assert_eq!(trimmed, [Some("ab".to_string()), Some("a b".to_string()), Some(String::new())]);
    }

    #[test]
    fn other_columns_have_no_rule() {
        for column_type in [Type::VARCHAR, Type::Bigint, Type::Varbinary] {
            assert_eq!(TextRule::of(&types::arrow_field("c", &column_type, true)), None);
        }
    }
}
