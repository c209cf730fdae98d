//! Prefixes with ranges of lengths, as they are written in prefix lists.

use bgp::{policy::PrefixMatch, prefix::Prefix};
use toml::de::DeValue;

use super::problem::PolicyProblem;
use crate::config::{problem::Problem, value};

/// `PREFIX [ge LENGTH] [le LENGTH]`: without either exactly the prefix; `ge` alone up to the
/// family's longest.
pub(super) fn prefix_match(value: &DeValue<'_>) -> Result<PrefixMatch, Problem> {
    let text = value::text(value)?;
    let syntax = || PolicyProblem::PrefixMatch(text.to_owned());
    let mut words = text.split_ascii_whitespace();
    let prefix: Prefix = words.next().ok_or_else(syntax)?.parse()?;
    let (mut ge, mut le) = (None, None);
    while let Some(word) = words.next() {
        let slot = match word {
            "ge" => &mut ge,
            "le" => &mut le,
            _ => return Err(syntax().into()),
        };
        let length = words.next().and_then(|word| word.parse::<u8>().ok());
        if slot.replace(length.ok_or_else(syntax)?).is_some() {
            return Err(syntax().into());
        }
    }
    let (own, longest) = (prefix.len(), prefix.family().max_len());
    let min_len = ge.unwrap_or(own);
    let max_len = le.unwrap_or(if ge.is_some() { longest } else { own });
    if own <= min_len && min_len <= max_len && max_len <= longest {
        Ok(PrefixMatch { prefix, min_len, max_len })
    } else {
        Err(PolicyProblem::PrefixLengths { prefix, min: min_len, max: max_len }.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths(text: &str) -> Result<(u8, u8), String> {
        let text = DeValue::String(text.into());
        prefix_match(&text).map(|m| (m.min_len, m.max_len)).map_err(|error| error.to_string())
    }

    #[test]
    fn lengths_of_a_prefix_match_follow_ge_and_le() {
        assert_eq!(lengths("10.0.0.0/8"), Ok((8, 8)));
        assert_eq!(lengths("10.0.0.0/8 ge 16 le 32"), Ok((16, 32)));
        assert_eq!(lengths("10.0.0.0/8 le 32 ge 16"), Ok((16, 32)));
        assert_eq!(lengths("fd00::/8 le 64"), Ok((8, 64)));
        assert_eq!(lengths("fd00::/8 ge 48"), Ok((48, 128)));
    }

    #[test]
    fn impossible_lengths_and_other_words_are_refused() {
        assert_eq!(
            lengths("10.0.0.0/8 ge 33").unwrap_err(),
            "lengths 33 to 32 cannot match in 10.0.0.0/8; 8 <= ge <= le <= 32"
        );
        for text in ["10.0.0.0/16 le 8", "10.0.0.0/8 ge 24 le 16", "10.0.0.0/8 le 33"] {
            assert!(lengths(text).unwrap_err().contains("cannot match"), "{text}");
        }
        for text in ["", "10.0.0.0/8 eq 9", "10.0.0.0/8 ge", "10.0.0.0/8 ge 9 ge 10"] {
            assert!(lengths(text).unwrap_err().contains("not understood"), "{text}");
        }
    }
}
