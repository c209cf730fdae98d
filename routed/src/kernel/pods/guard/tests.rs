//! The table as the `nft` program sees it.

use super::*;
use crate::kernel::nft::oracle::{self, nft};

fn in_a_namespace(test: impl FnOnce(Guard) + Send) {
    oracle::in_a_namespace(|| test(Guard::open().unwrap()));
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn table_is_what_nft_would_have_made_of_its_text() {
    in_a_namespace(|mut guard| {
        let permits = [(16_777_216, ip("10.0.0.1")), (16_777_216, ip("fd00::1"))];
        guard.enforce(permits, [179, 9732]).unwrap();
        let shown = nft("list table inet slash32");
        let expected = "table inet slash32 {
	set sources4 {
		type iface_index . ipv4_addr
		elements = { 16777216 . 10.0.0.1 }
	}

	set sources6 {
		type iface_index . ipv6_addr
		elements = { 16777216 . fd00::1 }
	}

	set closed-ports {
		type inet_service
		elements = { 179, 9732 }
	}

	chain from-pods {
		icmpv6 type 133-137 counter packets 0 bytes 0 drop
		iif . ip saddr @sources4 accept
		iif . ip6 saddr @sources6 accept
		counter packets 0 bytes 0 drop
	}

	chain prerouting {
		type filter hook prerouting priority raw; policy accept;
		iifgroup 5332 goto from-pods
		iifgroup 5333 counter packets 0 bytes 0 drop
	}

	chain input {
		type filter hook input priority filter; policy accept;
		iifgroup 5332 tcp dport @closed-ports counter packets 0 bytes 0 reject with tcp reset
	}
}
";
        assert_eq!(shown, expected);
    });
}

#[test]
fn permits_come_and_go_and_are_found() {
    in_a_namespace(|mut guard| {
        assert_eq!(guard.permits((1, ip("10.0.0.1"))).unwrap(), None, "off");
        guard.permit(&[(1, ip("10.0.0.9"))]).unwrap();
        guard.enforce([], []).unwrap();
        let [a, b, six] = [(1, ip("10.0.0.1")), (2, ip("10.0.0.2")), (1, ip("fd00::1"))];
        guard.permit(&[a, b, six]).unwrap();
        guard.permit(&[a]).unwrap();
        for permit in [a, b, six] {
            assert_eq!(guard.permits(permit).unwrap(), Some(true), "{permit:?}");
        }
        assert_eq!(guard.permits((1, ip("10.0.0.9"))).unwrap(), Some(false));
        guard.forbid(1, &[ip("10.0.0.1"), ip("fd00::1")]).unwrap();
        guard.forbid(1, &[ip("10.0.0.1"), ip("fd00::1")]).unwrap();
        for (permit, there) in [(a, false), (b, true), (six, false)] {
            assert_eq!(guard.permits(permit).unwrap(), Some(there), "{permit:?}");
        }
    });
}

#[test]
fn what_an_interface_that_is_gone_may_send_from_goes_with_the_next_change_or_by_itself() {
    in_a_namespace(|mut guard| {
        let [a, six, b] = [(1, ip("10.0.0.1")), (1, ip("fd00::1")), (2, ip("10.0.0.2"))];
        assert!(!guard.release(1), "off");
        guard.tidy().unwrap();
        guard.enforce([a, six, b], []).unwrap();
        assert!(guard.release(1));
        assert_eq!(guard.permits(a).unwrap(), Some(true), "not yet");
        guard.tidy().unwrap();
        assert!(!guard.release(1), "nothing is left");
        // The index is given to another pod, which gets one of the two addresses.
        guard.permit(&[a, six]).unwrap();
        assert!(guard.release(1));
        guard.permit(&[a]).unwrap();
        for (permit, there) in [(a, true), (six, false), (b, true)] {
            assert_eq!(guard.permits(permit).unwrap(), Some(there), "{permit:?}");
        }
        assert!(guard.release(2));
        nft("delete table inet slash32");
        guard.tidy().unwrap();
        for (permit, there) in [(a, true), (six, false), (b, false)] {
            assert_eq!(guard.permits(permit).unwrap(), Some(there), "{permit:?}");
        }
    });
}

#[test]
fn interfaces_of_one_pod_may_send_from_all_its_addresses_until_one_goes() {
    in_a_namespace(|mut guard| {
        let (first, second) = (ip("10.0.0.1"), ip("10.0.0.2"));
        let all = [(1, first), (1, second), (2, first), (2, second)];
        guard.enforce(all, []).unwrap();
        guard.forbid(2, &[second]).unwrap();
        let left = all.map(|permit| guard.permits(permit).unwrap() == Some(true));
        assert_eq!(left, [true, false, false, false]);
    });
}

#[test]
fn what_others_did_to_the_table_is_mended_with_the_next_change() {
    in_a_namespace(|mut guard| {
        let [a, b] = [(1, ip("10.0.0.1")), (2, ip("10.0.0.2"))];
        for damage in ["flush ruleset", "delete table inet slash32"] {
            guard.enforce([a], []).unwrap();
            nft(damage);
            guard.permit(&[b]).unwrap();
            assert_eq!(guard.permits(a).unwrap(), Some(true), "{damage}");
            guard.forbid(2, &[b.1]).unwrap();
        }
        nft("delete element inet slash32 sources4 { 1 . 10.0.0.1 }");
        guard.forbid(1, &[a.1]).unwrap();
        nft("add table inet other");
        guard.lift().unwrap();
        guard.lift().unwrap();
        assert_eq!(nft("list tables"), "table inet other\n");
        guard.restore().unwrap();
        assert_eq!(nft("list tables"), "table inet other\n", "lifted, it stays away");
    });
}

#[test]
fn thousands_of_pods_fit_into_one_transaction() {
    in_a_namespace(|mut guard| {
        let permits = (0..5000_u32).flat_map(|number| {
            let four = std::net::Ipv4Addr::from_bits(0x0a00_0000 + number);
            let six = std::net::Ipv6Addr::from_bits((0xfd00 << 112) + u128::from(number));
            [(number, IpAddr::V4(four)), (number, IpAddr::V6(six))]
        });
        let permits: Vec<_> = permits.collect();
        guard.enforce(permits.iter().copied(), []).unwrap();
        for permit in [permits[0], permits[9_999]] {
            assert_eq!(guard.permits(permit).unwrap(), Some(true));
        }
    });
}
