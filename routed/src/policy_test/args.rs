//! The arguments of `routed policy test`.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
};

use bgp::{
    aspath::{AsPath, Asn},
    attrs::Origin,
    community::{Community, ExtCommunity, LargeCommunity},
    policy::Source,
    prefix::Prefix,
};
use clap::ValueEnum;

use super::{Described, Direction, PolicyTestView, Question, TestError, live, made_up};
use crate::config::DEFAULT_ADMIN;

/// Heading of the options that describe a path.
const PATH: &str = "The path that is made up (with --config)";

/// What to test, and on what.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The destination
    prefix: Prefix,
    /// Name or address of the peer
    #[arg(long, value_name = "NAME")]
    peer: String,
    /// Test the import policy, for what the peer announces (default)
    #[arg(long, conflicts_with = "export")]
    import: bool,
    /// Test the export policy, for what the peer is told
    #[arg(long)]
    export: bool,
    /// Make up a path and treat it as this configuration says. Without this, the path is the one
    /// that the running daemon has, with the policies that are in force there
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The daemon's sockets.admin
    #[arg(long, value_name = "PATH", default_value = DEFAULT_ADMIN, conflicts_with = "config")]
    socket: PathBuf,
    /// AS path, as in "65001 65002" [default: the sender's AS if it is external]
    #[arg(long, value_name = "ASNS", requires = "config", help_heading = PATH)]
    as_path: Option<AsPath>,
    /// Next hop [default: the sender's address]
    #[arg(long, value_name = "ADDRESS", requires = "config", help_heading = PATH)]
    next_hop: Option<IpAddr>,
    /// MED
    #[arg(long, value_name = "N", requires = "config", help_heading = PATH)]
    med: Option<u32>,
    /// LOCAL_PREF
    #[arg(long, value_name = "N", requires = "config", help_heading = PATH)]
    local_pref: Option<u32>,
    /// ORIGIN [default: igp]
    #[arg(long, value_enum, requires = "config", help_heading = PATH)]
    origin: Option<OriginArg>,
    /// A community, as in 65000:100 or no-export; may be given several times
    #[arg(long, value_name = "COMMUNITY", requires = "config", help_heading = PATH)]
    community: Vec<Community>,
    /// A large community, as in 4200000000:1:2; may be given several times
    #[arg(long, value_name = "COMMUNITY", requires = "config", help_heading = PATH)]
    large_community: Vec<LargeCommunity>,
    /// An extended community, as in rt:65000:100; may be given several times
    #[arg(long, value_name = "COMMUNITY", requires = "config", help_heading = PATH)]
    extended_community: Vec<ExtCommunity>,
    /// For --export: where the path came from [default: local]
    #[arg(long, value_enum, requires = "config", help_heading = PATH)]
    source: Option<SourceArg>,
    /// For --export: the peer of the configuration that the path came from
    #[arg(long, value_name = "NAME", requires = "config", help_heading = PATH)]
    from: Option<String>,
    /// AS of the peer if it is "external" [default: the first of --as-path, or 64496]
    #[arg(long, value_name = "ASN", requires = "config", help_heading = PATH)]
    peer_as: Option<Asn>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum OriginArg {
    /// From inside the originating AS
    Igp,
    /// From EGP
    Egp,
    /// By other means
    Incomplete,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum SourceArg {
    /// Originated by this node
    Local,
    /// Learned by eBGP
    Ebgp,
    /// Learned by iBGP
    Ibgp,
}

impl Args {
    /// Makes the test.
    ///
    /// # Errors
    ///
    /// [`TestError`].
    pub fn run(&self) -> Result<PolicyTestView, TestError> {
        let question = Question {
            peer: self.peer.clone(),
            direction: if self.export { Direction::Export } else { Direction::Import },
            prefix: self.prefix,
        };
        match &self.config {
            Some(file) => self.made_up(file, &question),
            None => live(&self.socket, &question),
        }
    }

    fn made_up(&self, file: &Path, question: &Question) -> Result<PolicyTestView, TestError> {
        let path = Described {
            as_path: self.as_path.clone(),
            next_hop: self.next_hop,
            med: self.med,
            local_pref: self.local_pref,
            origin: self.origin.map(|origin| match origin {
                OriginArg::Igp => Origin::Igp,
                OriginArg::Egp => Origin::Egp,
                OriginArg::Incomplete => Origin::Incomplete,
            }),
            communities: self.community.clone(),
            large_communities: self.large_community.clone(),
            ext_communities: self.extended_community.clone(),
            source: self.source.map(|source| match source {
                SourceArg::Local => Source::Local,
                SourceArg::Ebgp => Source::Ebgp,
                SourceArg::Ibgp => Source::Ibgp,
            }),
            from: self.from.clone(),
            peer_asn: self.peer_as,
        };
        made_up(file, question, &path)
    }
}
