//! Calico's selector expressions as selectors of labels.
//!
//! A selector of Kubernetes is a list of requirements that all hold; so is an expression of comparisons
//! joined by `&&`. Everything else (`||`, parts of values) has no counterpart.

use std::collections::BTreeMap;

use routed_api::{Operator, Requirement, Selector};

/// Why there is no selector, and what to do about it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoSelector {
    #[error("{0:?} has no counterpart; make one object for each side of ||, without it")]
    Or(String),
    #[error(
        "{0:?} has no counterpart; label the objects that are meant, and compare the whole label"
    )]
    Part(String),
    #[error("{0:?} cannot be read as a selector of Calico")]
    Syntax(String),
}

/// The selector; `None` if it selects everything.
pub(super) fn parse(text: &str) -> Result<Option<Selector>, NoSelector> {
    let syntax = || NoSelector::Syntax(text.to_owned());
    let tokens = tokens(text).ok_or_else(syntax)?;
    if tokens.contains(&Token::Sign("||")) {
        return Err(NoSelector::Or(text.to_owned()));
    }
    let part = |token: &Token<'_>| matches!(token, Token::Word("contains" | "starts" | "ends"));
    if tokens.iter().any(part) {
        return Err(NoSelector::Part(text.to_owned()));
    }
    let mut reader = Reader { tokens: &tokens, selector: Selector::default() };
    reader.all_of().filter(|()| reader.tokens.is_empty()).ok_or_else(syntax)?;
    let selector = reader.selector;
    Ok((selector != Selector::default()).then_some(selector))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token<'t> {
    /// `==`, `!=`, `&&`, `||`, `!`, a bracket or a comma.
    Sign(&'t str),
    /// A key, or one of the words of the language.
    Word(&'t str),
    /// A value, without its quotes.
    Quoted(&'t str),
}

fn tokens(text: &str) -> Option<Vec<Token<'_>>> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let sign = SIGNS.into_iter().find(|sign| rest.starts_with(sign));
        let length = if let Some(sign) = sign {
            tokens.push(Token::Sign(sign));
            sign.len()
        } else if first == '\'' || first == '"' {
            let end = rest[1..].find(first)?;
            tokens.push(Token::Quoted(&rest[1..=end]));
            end + 2
        } else {
            let is_part = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
            let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
            tokens.push(Token::Word(rest.get(..end).filter(|word| !word.is_empty())?));
            end
        };
        rest = rest[length..].trim_start();
    }
    Some(tokens)
}

/// Longer ones first.
const SIGNS: [&str; 10] = ["==", "!=", "&&", "||", "!", "(", ")", "{", "}", ","];

struct Reader<'t> {
    tokens: &'t [Token<'t>],
    selector: Selector,
}

impl<'t> Reader<'t> {
    fn next(&mut self) -> Option<Token<'t>> {
        let (first, rest) = self.tokens.split_first()?;
        self.tokens = rest;
        Some(*first)
    }

    fn sign(&mut self, sign: &str) -> Option<()> {
        (self.next()? == Token::Sign(sign)).then_some(())
    }

    fn all_of(&mut self) -> Option<()> {
        if self.tokens.is_empty() {
            return Some(());
        }
        self.one()?;
        while self.tokens.first() == Some(&Token::Sign("&&")) {
            self.next();
            self.one()?;
        }
        Some(())
    }

    fn one(&mut self) -> Option<()> {
        match self.next()? {
            Token::Sign("(") => {
                self.all_of()?;
                self.sign(")")
            }
            Token::Sign("!") => {
                let is_has = self.next()? == Token::Word("has");
                let key = self.argument().filter(|_| is_has)?;
                self.require(key, Operator::DoesNotExist, Vec::new())
            }
            Token::Word("all") => {
                self.sign("(")?;
                self.sign(")")
            }
            Token::Word("has") => {
                let key = self.argument()?;
                self.require(key, Operator::Exists, Vec::new())
            }
            Token::Word(key) => self.comparison(key),
            Token::Sign(_) | Token::Quoted(_) => None,
        }
    }

    /// `(key)`.
    fn argument(&mut self) -> Option<&'t str> {
        self.sign("(")?;
        let Token::Word(key) = self.next()? else { return None };
        self.sign(")")?;
        Some(key)
    }

    fn comparison(&mut self, key: &'t str) -> Option<()> {
        match self.next()? {
            Token::Sign("==") => {
                let Token::Quoted(value) = self.next()? else { return None };
                let labels: &mut BTreeMap<_, _> = &mut self.selector.match_labels;
                match labels.insert(key.to_owned(), value.to_owned()) {
                    // Two values at once: nothing is selected, which two requirements say.
                    Some(other) if other != value => self.require(key, Operator::In, vec![other]),
                    Some(_) | None => Some(()),
                }
            }
            Token::Sign("!=") => {
                let Token::Quoted(value) = self.next()? else { return None };
                self.require(key, Operator::NotIn, vec![value.to_owned()])
            }
            Token::Word("in") => {
                let values = self.set()?;
                self.require(key, Operator::In, values)
            }
            Token::Word("not") => {
                (self.next()? == Token::Word("in")).then_some(())?;
                let values = self.set()?;
                self.require(key, Operator::NotIn, values)
            }
            Token::Sign(_) | Token::Word(_) | Token::Quoted(_) => None,
        }
    }

    /// `{'a', 'b'}`.
    fn set(&mut self) -> Option<Vec<String>> {
        self.sign("{")?;
        let mut values = Vec::new();
        loop {
            let Token::Quoted(value) = self.next()? else { return None };
            values.push(value.to_owned());
            match self.next()? {
                Token::Sign(",") => {}
                Token::Sign("}") => return Some(values),
                Token::Sign(_) | Token::Word(_) | Token::Quoted(_) => return None,
            }
        }
    }

    fn require(&mut self, key: &str, operator: Operator, values: Vec<String>) -> Option<()> {
        let requirement = Requirement { key: key.to_owned(), operator, values };
        self.selector.match_expressions.push(requirement);
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> String {
        serde_json::to_string(&parse(text).unwrap()).unwrap()
    }

    #[test]
    fn comparisons_joined_by_and_are_requirements() {
        assert_eq!(json("all()"), "null");
        assert_eq!(json(""), "null");
        assert_eq!(json("rack == 'a'"), r#"{"matchLabels":{"rack":"a"}}"#);
        assert_eq!(
            json("(topology.kubernetes.io/zone == \"a b\") && has(ssd) && !has(gpu) && all()"),
            r#"{"matchLabels":{"topology.kubernetes.io/zone":"a b"},"matchExpressions":[{"key":"ssd","operator":"Exists"},{"key":"gpu","operator":"DoesNotExist"}]}"#
        );
        assert_eq!(
            json("row in {'1', '2'} && rack not in { \"x\" } && os != 'bsd'"),
            r#"{"matchExpressions":[{"key":"row","operator":"In","values":["1","2"]},{"key":"rack","operator":"NotIn","values":["x"]},{"key":"os","operator":"NotIn","values":["bsd"]}]}"#
        );
    }

    #[test]
    fn two_values_of_one_label_select_nothing() {
        let selector = parse("a == '1' && a == '2'").unwrap().unwrap();
        for value in ["1", "2", "3"] {
            let labels = BTreeMap::from([("a".to_owned(), value.to_owned())]);
            assert!(!selector.matches(&labels));
        }
    }

    #[test]
    fn what_has_no_counterpart_says_what_to_do() {
        let text = "rack == 'a' || rack == 'b'";
        assert_eq!(parse(text), Err(NoSelector::Or(text.to_owned())));
        for text in ["name contains 'x'", "name starts with 'x'", "name ends with 'x'"] {
            assert_eq!(parse(text), Err(NoSelector::Part(text.to_owned())));
        }
        for text in [
            "rack ==",
            "rack = 'a'",
            "== 'a'",
            "rack == 'a",
            "has(",
            "!(a == 'b')",
            "a 'b'",
            "rack in {}",
            "rack in {'a'",
            "(rack == 'a'",
            "rack == 'a')",
            "§",
        ] {
            assert_eq!(parse(text), Err(NoSelector::Syntax(text.to_owned())), "{text}");
        }
    }
}
