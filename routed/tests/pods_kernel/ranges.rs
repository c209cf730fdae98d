//! Ranges that come and go while pods run, and addresses that follow their pods.

use std::time::Duration;

use bgp::prefix::Prefix;
use routed_core::ipam::Wish;

use super::{
    host::{Host, LEARNED, Pod, attach, on_a_host},
    reach,
};

/// The same with these ranges.
async fn reload(host: &Host, ranges: &[&str]) {
    let mut settings = host.settings.clone();
    settings.ipam.pools[0].ranges = prefixes(ranges);
    host.node.reconfigure(settings).await.unwrap();
}

fn prefixes(texts: &[&str]) -> Vec<Prefix> {
    texts.iter().map(|text| text.parse().expect("a prefix")).collect()
}

/// Waits until this is announced: a request may be answered a moment before.
async fn tells(host: &Host, ranges: &[&str]) {
    let mut announced = host.node.announced();
    let expected = prefixes(ranges);
    let told = announced.wait_for(|announced| *announced == expected);
    let in_time = tokio::time::timeout(Duration::from_secs(5), told).await.is_ok();
    assert!(in_time, "{:?}, not {expected:?}", *host.node.announced().borrow());
}

#[test]
fn a_new_range_is_used_at_once_and_one_that_leaves_stays_for_its_pods() {
    on_a_host(&["10.244.1.0/30"], |host| async move {
        let [first, second, third] = ["a", "b", "c"].map(Pod::new);
        let one = host.add(&first).await;
        let two = host.add(&second).await;
        assert!(host.try_add(&third).await.is_err(), "it is full");
        reload(&host, &["10.244.1.0/30", "10.244.2.0/26"]).await;
        let three = host.add(&third).await;
        assert_eq!(three.lease.ipv4, "10.244.2.1".parse().ok());
        tells(&host, &["10.244.1.0/30", "10.244.2.0/26"]).await;

        reload(&host, &["10.244.2.0/26"]).await;
        reach(&host, &[(&first, &one), (&second, &two), (&third, &three)]);
        let [former] = prefixes(&["10.244.1.0/30"])[..] else { panic!("one") };
        assert_eq!(host.node.former_ranges().await.unwrap(), [(former, 2)]);
        tells(&host, &["10.244.2.0/26", "10.244.1.0/30"]).await;
        host.del(&first).await;
        host.del(&second).await;
        tells(&host, &["10.244.2.0/26"]).await;
        let again = host.add(&first).await;
        assert_eq!(again.lease.ipv4, "10.244.2.2".parse().ok());
    });
}

#[test]
fn a_floating_address_is_told_of_while_its_pod_is_here() {
    on_a_host(&["10.244.1.0/24"], |host| async move {
        let mut settings = host.settings.clone();
        settings.ipam.floating = prefixes(&["10.244.255.10/32"]);
        host.node.reconfigure(settings).await.unwrap();
        let pod = Pod::new("postgres-0");
        let addresses = vec!["10.244.255.10".parse().unwrap()];
        let wish = Wish { addresses, ..Wish::default() };
        let mut asked = attach(&pod);
        asked.wish = wish;
        let wiring = host.add_as(&pod, asked).await.unwrap();
        reach(&host, &[(&pod, &wiring)]);
        tells(&host, &["10.244.1.0/24", "10.244.255.10/32"]).await;
        host.del(&pod).await;
        tells(&host, &["10.244.1.0/24"]).await;
    });
}

#[test]
fn a_pods_route_takes_the_place_of_a_learned_one_and_of_nobody_elses() {
    on_a_host(&["10.244.1.0/24", "fd00:1::/64"], |host| async move {
        let mut settings = host.settings.clone();
        settings.ipam.floating = prefixes(&["10.244.255.10/31", "fd00:9::a/127"]);
        host.node.reconfigure(settings).await.unwrap();
        // As long as the node that had the pod before announces it.
        let learned = |address: &str| {
            host.on_host(&format!("ip route add {address} dev lo proto {LEARNED}"));
        };
        learned("10.244.255.10/32");
        learned("fd00:9::a/128");
        let pod = Pod::new("postgres-0");
        let mut asked = attach(&pod);
        let addresses = vec!["10.244.255.10".parse().unwrap(), "fd00:9::a".parse().unwrap()];
        asked.wish = Wish { addresses, ..Wish::default() };
        let wiring = host.add_as(&pod, asked).await.unwrap();
        reach(&host, &[(&pod, &wiring)]);

        host.on_host("ip route add 10.244.255.11/32 dev lo proto static");
        let other = Pod::new("postgres-1");
        let mut asked = attach(&other);
        asked.wish = Wish { addresses: vec!["10.244.255.11".parse().unwrap()], ..Wish::default() };
        let refused = host.add_as(&other, asked).await.unwrap_err();
        assert!(refused.to_string().contains("File exists"), "{refused}");
        let theirs = host.on_host("ip route show 10.244.255.11/32");
        assert!(theirs.contains("dev lo proto static"), "{theirs}");
    });
}
