//! Ways to use the speaker other than the plainest, each beside the plain one.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use anyhow::Result;

use super::{identity, routes};
use crate::bench::bgp::Setting;
use crate::bench::bgp::contestant::{Duty, OWN_AS};
use crate::bench::bgp::report::Metric;
use crate::bench::bgp::round::Round;
use crate::bench::wire::{Family, Routes};

/// One way to use it. A table from one sender to receivers, by eBGP, IPv4 and without a policy but for
/// what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Variant {
    /// One receiver.
    Plain,
    /// IPv6.
    Ipv6,
    /// iBGP; both peers are clients of the speaker.
    Reflection,
    /// An import policy of a hundred statements, of which the last accepts.
    Statements,
    /// Path identifiers both ways.
    AddPath,
    /// Four receivers alike.
    FourAlike,
    /// Four receivers, each with an export policy of its own.
    FourPolicies,
}

impl Variant {
    pub(super) const ALL: [Self; 7] = [
        Self::Plain,
        Self::Ipv6,
        Self::Reflection,
        Self::Statements,
        Self::AddPath,
        Self::FourAlike,
        Self::FourPolicies,
    ];

    /// With what it is put in proportion.
    pub(super) const fn plain(self) -> Option<Self> {
        match self {
            Self::Plain | Self::FourAlike => None,
            Self::Ipv6 | Self::Reflection | Self::Statements | Self::AddPath => Some(Self::Plain),
            Self::FourPolicies => Some(Self::FourAlike),
        }
    }

    pub(super) fn duty(self) -> Duty {
        let receivers = if matches!(self, Self::FourAlike | Self::FourPolicies) { 4 } else { 1 };
        let mut duty = Duty { peers: (0..=receivers).map(identity).collect(), ..Duty::default() };
        match self {
            Self::Plain | Self::Ipv6 | Self::FourAlike => {}
            Self::Reflection => {
                duty.peers.iter_mut().for_each(|peer| peer.asn = OWN_AS);
                duty.peer_keys = Some(|_| "route_reflector_client = true\n".into());
            }
            Self::Statements => {
                duty.peer_keys = Some(|_| "import = \"hundred\"\n".into());
                duty.tail = hundred();
            }
            Self::AddPath => {
                duty.peers.iter_mut().for_each(|peer| peer.add_path = true);
                duty.peer_keys =
                    Some(|_| "add_path_receive = true\nadd_path_send = \"all\"\n".into());
            }
            Self::FourPolicies => {
                duty.peer_keys = Some(|at| format!("export = \"to-{at}\"\n"));
                duty.tail = (0..=receivers).map(marking).collect();
            }
        }
        duty
    }

    pub(super) fn measure(
        self,
        setting: &Setting<'_>,
        round: &mut Round,
        duty: &Duty,
    ) -> Result<()> {
        let count = setting.scaled(1_000_000);
        let mut routes = Routes {
            internal: self == Self::Reflection,
            add_path: self == Self::AddPath,
            ..routes(duty, 0, 0..count, 10)
        };
        if self == Self::Ipv6 {
            routes.family = Family::Ipv6;
            routes.next_hop = IpAddr::V6(NEXT_HOP);
        }
        round.load.owns(0, 0..count);
        let receivers = |at| (at > 0).then_some(count as usize);
        round.send(Metric::Converge, &[(0, routes.announced().into())], receivers)?;
        round.note_usage()
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Plain => "plain",
            Self::Ipv6 => "IPv6",
            Self::Reflection => "reflection",
            Self::Statements => "100 statements",
            Self::AddPath => "add-path",
            Self::FourAlike => "4 receivers",
            Self::FourPolicies => "4 policies",
        })
    }
}

/// Ninety-nine statements that match nothing which is sent, in turn by prefix, path and community.
fn hundred() -> String {
    let mut text = String::from("[[policies]]\nname = \"hundred\"\ndefault = \"accept\"\n");
    for at in 0..99 {
        let condition = match at % 3 {
            0 => format!("prefixes = [\"172.16.{at}.0/24\", \"192.168.{at}.0/24 le 32\"]"),
            1 => format!("as_path_contains = [{}]", 64_512 + at),
            _ => format!("communities = [\"64512:{at}\"]"),
        };
        text += &format!(
            "[[policies.statements]]\nname = \"s{at}\"\n{condition}\naction = \"reject\"\n"
        );
    }
    text + "[[policies.statements]]\nname = \"s99\"\nset = { local_preference = 200 }\n\
            action = \"accept\"\n"
}

fn marking(at: u16) -> String {
    format!(
        "[[policies]]\nname = \"to-{at}\"\ndefault = \"accept\"\n[[policies.statements]]\n\
         name = \"mark\"\nset = {{ add_communities = [\"65000:{at}\"] }}\n"
    )
}

/// On the cable, and nobody's.
const NEXT_HOP: Ipv6Addr = Ipv6Addr::new(0xfd99, 0, 0, 0, 0, 0, 0, 2);
