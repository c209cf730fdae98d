//! What the README says is true: its configurations peer as printed, its files are there, its
//! metrics exist.
//!
//! Needs the binaries of the workspace, BIRD and FRR; root or user namespaces.

use std::collections::BTreeSet;
use std::path::Path;

use ::routed::config::Config;
use tests::fabric::{Fabric, eventually, routed};
use tests::readme::{Readme, root};

#[test]
fn configurations_for_a_bird_tor_peer_as_printed() {
    let readme = Readme::open("README.md");
    let bird = format!("{}\n{BIRD_UPLINK}", readme.block("bird.conf"));
    peers_as_printed(&readme, "bird", &bird);
}

#[test]
fn configurations_for_an_frr_tor_peer_as_printed() {
    let readme = Readme::open("README.md");
    let frr = format!("{}\n{FRR_UPLINK}", readme.block("frr.conf"));
    peers_as_printed(&readme, "frr", &frr);
}

/// A node with the README's configuration below a ToR with the README's: the ToR gets the pod
/// ranges, the node what the ToR has from elsewhere, and pods reach it.
fn peers_as_printed(readme: &Readme, runs: &str, tor: &str) {
    let node = readme.block("node.toml");
    let fabric = Fabric::established(&format!(
        r#"
links = [{{ ends = ["tor1", "node1"], ipv4 = "10.1.1.0/31", ipv6 = "fd00:1:1::/127" }}]
[[tors]]
name = "tor1"
asn = 4200000001
runs = "{runs}"
networks = ["192.0.2.0/24", "2001:db8::/48"]
config = '''{tor}'''
[[nodes]]
name = "node1"
asn = 4200000011
pods = ["10.244.11.0/24", "fd00:10:244:11::/64"]
config = '''{node}'''
files = {{ "/etc/slash32/tor1.key" = "correct-horse-battery\n" }}
"#
    ));
    fabric.kernel_leads("tor1", &["10.244.11.0/24", "fd00:10:244:11::/64"], &["node1"]);
    fabric.kernel_leads("node1", &["0.0.0.0/0", "::/0"], &["tor1"]);
    fabric.pod_add("node1", "web").expect("the plugin adds a pod");
    fabric.pings("node1/web", &["192.0.2.1", "2001:db8::1"]);
    // GTSM holds on both sides: a peer that is farther away could not speak.
    assert!(node.contains("ttl_security") && tor.contains("ttl") && tor.contains("security"));
}

/// What a ToR has from its own uplinks, and no README of ours can know.
const BIRD_UPLINK: &str = "
protocol static uplink4 { ipv4; route 0.0.0.0/0 blackhole; }
protocol static uplink6 { ipv6; route ::/0 blackhole; }
";
const FRR_UPLINK: &str = "
router bgp 4200000001
 no bgp network import-check
 address-family ipv4 unicast
  network 0.0.0.0/0
 exit-address-family
 address-family ipv6 unicast
  network ::/0
 exit-address-family
exit
";

#[test]
fn files_that_the_readmes_name_are_there() {
    for path in [
        "README.md",
        "bgp/README.md",
        "routed/README.md",
        "plugin/README.md",
        "testbed/README.md",
        "tests/README.md",
    ] {
        let missing = Readme::open(path).missing_files();
        assert!(missing.is_empty(), "{path} names files that are not there: {missing:#?}");
    }
}

#[test]
fn minimal_configuration_is_valid_and_warns_of_nothing() {
    let readme = Readme::open("README.md");
    let loaded = Config::parse(Path::new("routed.toml"), readme.block("minimal.toml"));
    let loaded = loaded.unwrap_or_else(|invalid| panic!("{invalid}"));
    assert!(loaded.warnings.is_empty(), "{:#?}", loaded.warnings);
}

#[test]
fn conflist_of_the_readme_is_the_manifest() {
    let manifest = std::fs::read_to_string(root().join("routed/manifests/10-slash32.conflist"));
    let manifest = manifest.expect("the manifest is there");
    assert_eq!(Readme::open("README.md").block("conflist"), manifest.trim_end());
}

#[test]
fn every_metric_is_in_the_readme_and_no_other() {
    let fabric = Fabric::established(
        r#"
links = [["tor1", "node1"]]
[[tors]]
name = "tor1"
asn = 4200000001
[[nodes]]
name = "node1"
asn = 4200000011
pods = ["10.244.11.0/24", "fd00:10:244:11::/64"]
"#,
    );
    eventually(
        "the session stands",
        || routed::peer(&fabric, "node1", "tor1"),
        |peer| peer["state"] == "Established",
    );
    let scraped = routed::metrics(&fabric, "node1");
    let names = |text: &str, before: &str, after: char| -> BTreeSet<String> {
        let found = text.split(before).skip(1).filter_map(|rest| rest.split(after).next());
        found.map(str::to_owned).collect()
    };
    let served = names(&scraped, "# TYPE slash32_", ' ');
    let told = names(Readme::open("README.md").text(), "`slash32_", '`');
    // The README names labels behind some of them.
    let told = told.iter().map(|name| name.split('{').next().unwrap_or(name).to_owned()).collect();
    assert_eq!(served, told, "served, and told by the README");
}
