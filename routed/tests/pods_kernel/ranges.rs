//! Ranges that come and go while pods run, and addresses that follow their pods.

use bgp::prefix::Prefix;
use routed_core::ipam::Wish;

use super::{
    host::{Host, Pod, attach, on_a_host},
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

fn told(host: &Host) -> Vec<Prefix> {
    host.node.announced().borrow().clone()
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
        assert_eq!(told(&host), prefixes(&["10.244.1.0/30", "10.244.2.0/26"]));

        reload(&host, &["10.244.2.0/26"]).await;
        reach(&host, &[(&first, &one), (&second, &two), (&third, &three)]);
        let [former] = prefixes(&["10.244.1.0/30"])[..] else { panic!("one") };
        assert_eq!(host.node.former_ranges().await.unwrap(), [(former, 2)]);
        assert_eq!(told(&host), prefixes(&["10.244.2.0/26", "10.244.1.0/30"]));
        host.del(&first).await;
        host.del(&second).await;
        assert_eq!(told(&host), prefixes(&["10.244.2.0/26"]));
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
        assert_eq!(told(&host), prefixes(&["10.244.1.0/24", "10.244.255.10/32"]));
        host.del(&pod).await;
        assert_eq!(told(&host), prefixes(&["10.244.1.0/24"]));
    });
}
