//! The raw mirror of the file: a tree of YAML values with their places.
//!
//! Decides nothing about keys: it keeps everything, repeated keys too, so that the conversion can
//! report all that is wrong at once. Only a text that is no YAML ends here.

use core::fmt;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{DuplicateKeyPolicy, NonFiniteFloatPolicy, Spanned};

use super::error::{ConfigError, ConfigErrors, Position};

/// A value of the file and where it stands.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) at: Position,
}

/// A YAML value.
#[derive(Debug)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Integer(i128),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
}

impl Value {
    /// What it is, with its article.
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "true or false",
            Self::Integer(_) => "a number",
            Self::Float(_) => "a number with a fraction",
            Self::Text(_) => "a text",
            Self::List(_) => "a list",
            Self::Map(_) => "a group of keys",
        }
    }
}

/// Reads a text as YAML; an empty one is a group without keys.
///
/// # Errors
/// The text is no YAML, has several documents, or nests or repeats itself beyond the parser's bounds.
pub(super) fn read(text: &str) -> Result<Node, ConfigErrors> {
    let options = serde_saphyr::options! {
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        strict_booleans: true,
        leading_zero_numbers_as_strings: true,
        underscored_numbers_as_strings: true,
        non_finite_float_policy: NonFiniteFloatPolicy::PassThrough,
        with_snippet: false,
    };
    let root: Option<Node> =
        serde_saphyr::from_str_with_options(text, options).map_err(|error| {
            let at = error
                .location()
                .map(|location| Position { line: location.line(), column: location.column() });
            // The parser ends its message with the place, which is told apart here.
            let text = error.to_string();
            let problem = text.split(" at line ").next().unwrap_or_default();
            ConfigErrors {
                path: None,
                errors: vec![ConfigError {
                    key: String::new(),
                    at,
                    problem: format!("not valid YAML: {problem}"),
                    remedy: String::from("correct the text there"),
                }],
            }
        })?;
    let start = Position { line: 1, column: 1 };
    Ok(root.unwrap_or(Node { value: Value::Map(Vec::new()), at: start }))
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Value>::deserialize(deserializer)?;
        let (line, column) = (spanned.referenced.line(), spanned.referenced.column());
        Ok(Self { value: spanned.value, at: Position { line, column } })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Integer(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Integer(value.into()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Value, E> {
        Ok(Value::Integer(value))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Value, E> {
        Ok(Value::Integer(i128::try_from(value).unwrap_or(i128::MAX)))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::Text(value))
    }

    fn visit_bytes<E>(self, value: &[u8]) -> Result<Value, E> {
        Ok(Value::Text(String::from_utf8_lossy(value).into_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Value::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(node: &Node) -> &[(Node, Node)] {
        match &node.value {
            Value::Map(map) => map,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn values_keep_their_kind_and_place_and_repeated_keys_stay() {
        let root = read("a: 15\nb:\n  - x\n  - 250ms\na: {c: null, d: no}\n").unwrap();
        let root = pairs(&root);
        assert_eq!(root.len(), 3);
        assert!(matches!(root[0].1.value, Value::Integer(15)));
        assert_eq!(root[0].1.at, Position { line: 1, column: 4 });
        assert!(matches!(&root[1].1.value, Value::List(list)
            if list.len() == 2 && list[1].at == Position { line: 4, column: 5 }));
        assert_eq!(root[2].0.at, Position { line: 5, column: 1 });
        let inner = pairs(&root[2].1);
        assert!(matches!(inner[0].1.value, Value::Null));
        assert!(matches!(&inner[1].1.value, Value::Text(text) if text == "no"));
    }

    #[test]
    fn an_empty_text_is_a_group_without_keys() {
        assert!(pairs(&read("").unwrap()).is_empty());
        assert!(pairs(&read("# only a comment\n").unwrap()).is_empty());
    }

    #[test]
    fn a_text_that_is_no_yaml_says_where() {
        let errors = read("a: 1\nb: [1, 2\nc: 3\n").unwrap_err();
        assert!(errors.errors[0].at.is_some_and(|at| at.line >= 2), "{errors}");
        assert!(errors.to_string().contains("not valid YAML"), "{errors}");
    }
}
