//! What must hold for any text that stands for a value in a configuration or on a command line:
//! shared by the fuzz target here and by the tests that replay its corpus and make up more.
//!
//! Each check panics if its promise is broken.

use std::{
    fmt::{Debug, Display},
    str::FromStr,
};

use bgp::{
    aspath::{AsPath, Asn},
    community::{Community, ExtCommunity, LargeCommunity, Rate},
    policy::{PathRegex, TagMatch},
    prefix::Prefix,
    role::Role,
};

/// Reads a text as every kind of value that has a text. What is a value reads back as it is
/// shown; what is none is refused with words that fit in a line of a log.
pub(crate) fn reads(text: &str) {
    shown_as_read::<Asn>(text);
    shown_as_read::<AsPath>(text);
    shown_as_read::<Community>(text);
    shown_as_read::<LargeCommunity>(text);
    shown_as_read::<ExtCommunity>(text);
    shown_as_read::<Rate>(text);
    shown_as_read::<Prefix>(text);
    shown_as_read::<Role>(text);
    refused_in_words(text, text.parse::<TagMatch<Community>>().err());
    refused_in_words(text, text.parse::<TagMatch<LargeCommunity>>().err());
    refused_in_words(text, text.parse::<TagMatch<ExtCommunity>>().err());
    match text.parse::<PathRegex>() {
        // Any path whatsoever has an answer.
        Ok(regex) => {
            for asns in [&[][..], &[1], &[65001, 65001, 4_200_000_077]] {
                let _ = regex.matches(&AsPath::sequence(asns.iter().copied()));
            }
        }
        Err(error) => refused_in_words(text, Some(error)),
    }
}

fn shown_as_read<T>(text: &str)
where
    T: FromStr + Display + Debug + PartialEq,
    T::Err: Display + Debug,
{
    match text.parse::<T>() {
        Ok(value) => {
            let shown = value.to_string();
            let again = shown.parse::<T>();
            assert!(
                again.as_ref().is_ok_and(|again| *again == value),
                "{text:?}: {shown:?} {again:?}"
            );
        }
        Err(error) => refused_in_words(text, Some(error)),
    }
}

fn refused_in_words(text: &str, error: Option<impl Display>) {
    let Some(error) = error else { return };
    let words = error.to_string();
    assert!(words.len() > 10, "{text:?}: {words:?}");
    // Whatever of the text is repeated.
    assert!(words.len() < 1000 + 8 * text.len(), "{text:?}: {words:?}");
}
