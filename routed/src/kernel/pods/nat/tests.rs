//! The table as the `nft` program sees it.

use routed_core::pod::nat::{NatSettings, translations};

use super::*;
use crate::kernel::nft::oracle::{in_a_namespace, nft};

fn wanted(sources: &[&str], direct: &[&str], addresses: &[&str]) -> Vec<Translation> {
    let prefixes = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
    let addresses = addresses.iter().map(|text| text.parse().unwrap()).collect();
    let settings = NatSettings { sources: prefixes(sources), direct: prefixes(direct), addresses };
    translations(&settings, &[])
}

#[test]
fn table_is_what_nft_would_have_made_of_its_text() {
    in_a_namespace(|| {
        let mut nat = Nat::open().unwrap();
        let sources = ["10.244.1.0/24", "10.244.3.0/24", "fd00:1::/64"];
        let direct = ["10.244.0.0/16", "192.0.2.7/32", "fd00:1::/48"];
        nat.enforce(wanted(&sources, &direct, &[])).unwrap();
        let expected = "table inet slash32-nat {
	set sources4 {
		type ipv4_addr
		flags interval
		elements = { 10.244.1.0/24, 10.244.3.0/24 }
	}

	set direct4 {
		type ipv4_addr
		flags interval
		elements = { 10.244.0.0/16, 192.0.2.7,
			     224.0.0.0/4 }
	}

	set sources6 {
		type ipv6_addr
		flags interval
		elements = { fd00:1::/64 }
	}

	set direct6 {
		type ipv6_addr
		flags interval
		elements = { fd00:1::/48,
			     ff00::/8 }
	}

	chain postrouting {
		type nat hook postrouting priority srcnat; policy accept;
		oifgroup 5332 accept
		ip saddr @sources4 ip daddr != @direct4 counter packets 0 bytes 0 masquerade fully-random
		ip6 saddr @sources6 ip6 daddr != @direct6 counter packets 0 bytes 0 masquerade fully-random
	}
}
";
        assert_eq!(nft("list table inet slash32-nat"), expected);
        // The text means the same to nft: what it makes of it, it shows in the same way.
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), expected).unwrap();
        nft("delete table inet slash32-nat");
        nft(&format!("-f {}", file.path().display()));
        assert_eq!(nft("list table inet slash32-nat"), expected);
    });
}

#[test]
fn given_addresses_take_the_place_of_the_interfaces_own() {
    in_a_namespace(|| {
        let mut nat = Nat::open().unwrap();
        let sources = ["10.244.1.0/24", "fd00:1::/64"];
        nat.enforce(wanted(&sources, &[], &["192.0.2.1", "2001:db8::1"])).unwrap();
        let chain = nft("list chain inet slash32-nat postrouting");
        for rule in [
            "counter packets 0 bytes 0 snat ip to 192.0.2.1 fully-random\n",
            "counter packets 0 bytes 0 snat ip6 to 2001:db8::1 fully-random\n",
        ] {
            assert!(chain.contains(rule), "{chain}");
        }
    });
}

#[test]
fn table_comes_and_goes_with_what_is_wanted_and_others_stay() {
    in_a_namespace(|| {
        let mut nat = Nat::open().unwrap();
        nft("add table inet other");
        nat.restore().unwrap();
        nat.enforce(vec![]).unwrap();
        assert_eq!(nft("list tables"), "table inet other\n");
        for _ in 0..2 {
            nat.enforce(wanted(&["10.244.1.0/24"], &[], &[])).unwrap();
            assert!(nat.is_there().unwrap());
            nft("flush table inet slash32-nat");
            nat.restore().unwrap();
            assert!(nft("list table inet slash32-nat").contains("masquerade"));
        }
        nat.enforce(vec![]).unwrap();
        assert!(!nat.is_there().unwrap());
        // Of a former run.
        nft("add table inet slash32-nat");
        Nat::open().unwrap().enforce(vec![]).unwrap();
        assert_eq!(nft("list tables"), "table inet other\n");
    });
}

#[test]
fn everything_and_thousands_of_ranges_fit() {
    in_a_namespace(|| {
        let mut nat = Nat::open().unwrap();
        nat.enforce(wanted(&["10.0.0.0/24", "::/0"], &["0.0.0.0/0", "8000::/1"], &[])).unwrap();
        assert!(nft("list set inet slash32-nat direct4").contains("elements = { 0.0.0.0/0 }"));
        assert!(nft("list set inet slash32-nat direct6").contains("elements = { 8000::/1 }"));
        let blocks: Vec<_> = (0..5000_u32)
            .map(|block| {
                format!("{}/26", std::net::Ipv4Addr::from_bits(0x0a00_0000 + (block << 7)))
            })
            .collect();
        let direct: Vec<_> = blocks.iter().map(String::as_str).collect();
        nat.enforce(wanted(&["10.0.0.0/24"], &direct, &[])).unwrap();
        let shown = nft("list set inet slash32-nat direct4");
        for block in [blocks.first().unwrap(), blocks.last().unwrap()] {
            assert!(shown.contains(block.as_str()), "{block}");
        }
    });
}
