//! Expressions of rules: what is loaded, compared, looked up and decided.
//!
//! In: values. Out: the attributes of one expression. Registers are those of 32 bits, by number
//! from 0 on.

use super::{Attributes, LIST_ELEMENT};

/// What a packet's meta data can be asked for (NFT_META_*).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meta {
    /// Index of the interface that it came in through.
    InInterface = 4,
    /// Address family, one octet.
    Family = 15,
    /// Transport protocol, one octet.
    Protocol = 16,
    /// Link group of the interface that it came in through.
    InGroup = 21,
    /// Link group of the interface by which it leaves.
    OutGroup = 22,
}

/// Which header (NFT_PAYLOAD_*).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header {
    /// IPv4 or IPv6.
    Network = 1,
    /// TCP, ICMPv6 and so on.
    Transport = 2,
}

/// How to compare (NFT_CMP_*).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// Equal.
    Equal = 0,
    /// Less or equal.
    AtMost = 3,
    /// Greater or equal.
    AtLeast = 5,
}

/// What becomes of the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// NF_DROP.
    Drop,
    /// NF_ACCEPT.
    Accept,
    /// NFT_GOTO.
    Goto(&'a str),
}

/// One expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expression<'a> {
    /// Loads meta data into a register.
    Meta(Meta, u32),
    /// Loads octets of a header: offset, length, register.
    Payload(Header, u32, u32, u32),
    /// Goes on only if register 0 compares so with these octets.
    Compare(Comparison, &'a [u8]),
    /// Goes on only if what begins in register 0 is in the set of this name and number.
    Lookup(&'a str, u32),
    /// Goes on only if it is not.
    LookupNot(&'a str, u32),
    /// Loads these octets into register 0.
    Load(&'a [u8]),
    /// The connection gets the address in register 0, of this NFPROTO_*, as its source, and a port that
    /// cannot be foretold.
    SourceNat(u8),
    /// The connection gets an address of the interface by which it leaves as its source, and a port that
    /// cannot be foretold.
    Masquerade,
    /// Counts packets and octets.
    Counter,
    /// Answers with a TCP reset and drops.
    Reset,
    /// Decides.
    Verdict(Verdict<'a>),
}

/// Writes the expressions of a rule, as the attribute NFTA_RULE_EXPRESSIONS.
pub fn write(attributes: &mut Attributes<'_>, expressions: &[Expression<'_>]) {
    const RULE_EXPRESSIONS: u16 = 4;
    attributes.nested(RULE_EXPRESSIONS, |list| {
        for expression in expressions {
            list.nested(LIST_ELEMENT, |element| one(element, *expression));
        }
    });
}

fn one(element: &mut Attributes<'_>, expression: Expression<'_>) {
    const NAME: u16 = 1;
    const DATA: u16 = 2;
    let name = match expression {
        Expression::Meta(..) => "meta",
        Expression::Payload(..) => "payload",
        Expression::Compare(..) => "cmp",
        Expression::Lookup(..) | Expression::LookupNot(..) => "lookup",
        Expression::SourceNat(_) => "nat",
        Expression::Masquerade => "masq",
        Expression::Counter => "counter",
        Expression::Reset => "reject",
        Expression::Load(_) | Expression::Verdict(_) => "immediate",
    };
    element.text(NAME, name).nested(DATA, |data| match expression {
        Expression::Meta(key, to) => {
            data.number(1, register(to)).number(2, key as u32);
        }
        Expression::Payload(header, offset, length, to) => {
            data.number(1, register(to))
                .number(2, header as u32)
                .number(3, offset)
                .number(4, length);
        }
        Expression::Compare(how, octets) => {
            data.number(1, register(0)).number(2, how as u32).nested(3, |value| {
                value.octets(DATA_VALUE, octets);
            });
        }
        Expression::Lookup(set, number) => {
            data.text(1, set).number(2, register(0)).number(4, number);
        }
        Expression::LookupNot(set, number) => {
            const INVERTED: u32 = 1;
            data.text(1, set).number(2, register(0)).number(4, number).number(5, INVERTED);
        }
        Expression::Load(octets) => {
            data.number(1, register(0)).nested(2, |value| {
                value.octets(DATA_VALUE, octets);
            });
        }
        Expression::SourceNat(family) => {
            const SOURCE: u32 = 0;
            data.number(1, SOURCE)
                .number(2, family.into())
                .number(3, register(0))
                .number(4, register(0))
                .number(7, FULLY_RANDOM);
        }
        Expression::Masquerade => {
            data.number(1, FULLY_RANDOM);
        }
        Expression::Counter => {}
        Expression::Reset => {
            const TCP_RESET: u32 = 1;
            data.number(1, TCP_RESET).octets(2, &[0]);
        }
        Expression::Verdict(verdict) => {
            const VERDICT_REGISTER: u32 = 0;
            data.number(1, VERDICT_REGISTER).nested(2, |value| {
                value.nested(DATA_VERDICT, |to| self::verdict(to, verdict));
            });
        }
    });
}

fn verdict(to: &mut Attributes<'_>, verdict: Verdict<'_>) {
    let (code, chain) = match verdict {
        Verdict::Drop => (0, None),
        Verdict::Accept => (1, None),
        Verdict::Goto(chain) => (-4_i32, Some(chain)),
    };
    to.number(1, code.cast_unsigned());
    if let Some(chain) = chain {
        to.text(2, chain);
    }
}

const fn register(number: u32) -> u32 {
    const FIRST_OF_32_BITS: u32 = 8;
    FIRST_OF_32_BITS + number
}

/// NF_NAT_RANGE_PROTO_RANDOM_FULLY.
const FULLY_RANDOM: u32 = 1 << 4;
/// NFTA_DATA_VALUE.
pub const DATA_VALUE: u16 = 1;
const DATA_VERDICT: u16 = 2;
