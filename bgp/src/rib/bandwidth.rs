//! Link bandwidth (draft-ietf-idr-link-bandwidth): how traffic is shared among several paths, and
//! what a peer is told of it that has us as its next hop.
//!
//! In: the attributes of the paths in use. Out: a share for each, and the sum. Keeps nothing.

use crate::{
    aspath::Asn,
    attrs::Attrs,
    community::{ExtCommunity, Rate},
};

/// The share of each path: its bandwidth in kbit/s, or 1 for all unless all tell one. One path
/// that tells none would get nothing or all, and nobody has said which.
pub(super) fn shares<'a>(paths: impl Iterator<Item = &'a Attrs> + Clone) -> Vec<u32> {
    match rates(paths.clone()) {
        Some(rates) if rates.len() > 1 => rates.into_iter().map(kilobits).collect(),
        Some(_) | None => paths.map(|_| 1).collect(),
    }
}

/// What all of these paths carry together, if each tells it.
pub(super) fn total<'a>(paths: impl Iterator<Item = &'a Attrs>) -> Option<Rate> {
    rates(paths).filter(|rates| !rates.is_empty()).map(Rate::sum)
}

/// What a peer is told whose next hop we are: not the bandwidth of a link behind us, but, if it is
/// to hear of that, of all that we use. One that a policy has put there stays.
pub(super) fn tell(received: &Attrs, attrs: &mut Attrs, ours: Option<Rate>, asn: Asn) {
    if attrs.link_bandwidth() != received.link_bandwidth() {
        return;
    }
    attrs.ext_communities.retain(|community| !community.is_link_bandwidth());
    if let Some(rate) = ours {
        let community = ExtCommunity::link_bandwidth(asn, rate);
        if let Err(place) = attrs.ext_communities.binary_search(&community) {
            attrs.ext_communities.insert(place, community);
        }
    }
}

fn rates<'a>(paths: impl Iterator<Item = &'a Attrs>) -> Option<Vec<Rate>> {
    paths.map(Attrs::link_bandwidth).collect()
}

/// At least 1: the kernel knows no share of 0. To six digits, since single precision has no
/// more: 25 Gbit/s come as 24.9999995, which stands in no simple proportion to anything.
fn kilobits(rate: Rate) -> u32 {
    let kilobits = (rate.bits_per_second() / 1000.0).max(1.0);
    let unit = 10_f64.powf((kilobits.log10().floor() - 5.0).max(0.0));
    let rounded = ((kilobits / unit).round() * unit).clamp(1.0, f64::from(u32::MAX));
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped above")]
    let share = rounded as u32;
    share
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::attrs::NextHop;

    fn path(rate: &str) -> Attrs {
        let mut attrs = Attrs::originated(NextHop::new(Ipv4Addr::LOCALHOST.into()));
        if !rate.is_empty() {
            let rate = rate.parse().unwrap();
            attrs.ext_communities.push(ExtCommunity::link_bandwidth(Asn(65001), rate));
        }
        attrs
    }

    fn shared(rates: &[&str]) -> Vec<u32> {
        let paths: Vec<_> = rates.iter().map(|rate| path(rate)).collect();
        shares(paths.iter())
    }

    #[test]
    fn shares_follow_the_bandwidth_if_every_path_tells_it() {
        assert_eq!(shared(&["10Gbit", "25Gbit"]), [10_000_000, 25_000_000]);
        assert_eq!(shared(&["10Gbit", ""]), [1, 1]);
        assert_eq!(shared(&["10Gbit"]), [1], "nothing to share");
        assert_eq!(shared(&["0bit", "9000Tbit"]), [1, u32::MAX]);
        assert_eq!(shared(&[]), [0; 0]);
    }

    #[test]
    fn the_total_is_known_only_if_every_part_is() {
        let paths = [path("10Gbit"), path("25Gbit")];
        assert_eq!(total(paths.iter()), Some("35Gbit".parse().unwrap()));
        assert_eq!(total([path("10Gbit"), path("")].iter()), None);
        assert_eq!(total([].iter()), None);
    }
}
