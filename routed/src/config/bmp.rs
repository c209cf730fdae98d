//! `[[bmp]]`: monitoring stations, each table on its own, then what only shows when all are seen
//! together.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use bgp::rib::{View, ViewSet};

use super::{
    Station,
    fault::Place,
    problem::Problem,
    section::{At, Section},
    value,
};

/// What was read of one table, whether or not it makes a station.
struct Read {
    name: Option<At<String>>,
    address: Option<At<SocketAddr>>,
    station: Option<Station>,
}

/// Every table. What cannot stand is left out, with a fault.
pub(super) fn read_all(root: &mut Section<'_, '_>) -> Vec<Station> {
    let read = root.tables("bmp", read);
    let mut addresses: BTreeMap<SocketAddr, &Place> = BTreeMap::new();
    let mut names: BTreeMap<&str, &Place> = BTreeMap::new();
    for Read { name, address, .. } in &read {
        if let Some(At { value, place }) = address
            && let Some(first) = addresses.insert(*value, place)
        {
            let what = format!("the address {value}");
            root.fault(place.clone(), Problem::Repeated { what, first: first.clone() });
        }
        if let Some(At { value, place }) = name
            && let Some(first) = names.insert(value, place)
        {
            let what = format!("the name {value:?}");
            root.fault(place.clone(), Problem::Repeated { what, first: first.clone() });
        }
    }
    read.into_iter().filter_map(|read| read.station).collect()
}

fn read(section: &mut Section<'_, '_>) -> Read {
    let name = section.optional("name", value::name);
    let address = section.required("address", "address = \"192.0.2.10:5000\"", value::remote);
    let local = section.optional("local_address", value::host);
    if let (Some(local), Some(station)) = (&local, &address)
        && local.value.is_ipv4() != station.value.is_ipv4()
    {
        let (ours, station) = (local.value, station.value.ip());
        section.fault(local.place.clone(), Problem::StationFamily { local: ours, station });
    }
    let views = views(section);
    let interval = section.or("statistics_interval", DEFAULT_STATISTICS, value::number(0..=86_400));
    let connect_retry = section.or("connect_retry", DEFAULT_CONNECT_RETRY, value::seconds);
    let send_hold_time = section.or("send_hold_time", DEFAULT_SEND_HOLD_TIME, value::seconds);
    let station = address.as_ref().map(|address| Station {
        name: name.as_ref().map_or_else(
            || Arc::from(address.value.to_string()),
            |name| Arc::from(name.value.as_str()),
        ),
        address: address.value,
        local_address: local.map(|local| local.value),
        views,
        statistics_interval: (interval > 0).then(|| Duration::from_secs(interval.into())),
        connect_retry,
        send_hold_time,
    });
    Read { name, address, station }
}

fn views(section: &mut Section<'_, '_>) -> ViewSet {
    let Some(list) = section.list("views", value::word(&VIEW_NAMES, View::ALL)) else {
        return DEFAULT_VIEWS.into_iter().collect();
    };
    if section.is_empty_list("views") {
        let remedy = "write [\"pre-policy\", \"loc-rib\"], or remove the key";
        section.fault(section.place_of("views"), Problem::EmptyValue(remedy));
    }
    list.into_iter().map(|at| at.value).collect()
}

/// As [`View`] writes them, in the order of [`View::ALL`].
const VIEW_NAMES: [&str; 5] =
    ["pre-policy", "post-policy", "loc-rib", "adj-rib-out-pre-policy", "adj-rib-out"];
/// What peers said, and what became of it.
const DEFAULT_VIEWS: [View; 2] = [View::PrePolicy, View::LocRib];
/// Seconds.
const DEFAULT_STATISTICS: u32 = 60;
/// RFC 7854 §3.2.
const DEFAULT_CONNECT_RETRY: Duration = Duration::from_secs(30);
/// Longer than a collector takes to write out what it holds, shorter than anybody would wait.
const DEFAULT_SEND_HOLD_TIME: Duration = Duration::from_secs(90);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn views_are_written_as_they_are_shown() {
        assert_eq!(VIEW_NAMES.map(str::to_owned), View::ALL.map(|view| view.to_string()));
    }
}
