//! What is read from stdin, and what each broken configuration is answered.

use std::collections::BTreeMap;

use super::*;
use crate::env::Verb;

fn params(args: &[(&str, &str)]) -> Params {
    let args: BTreeMap<_, _> =
        args.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    Params {
        verb: Verb::Add,
        container_id: "c1".to_owned(),
        ifname: "eth0".to_owned(),
        netns: "/run/netns/c1".to_owned(),
        args,
        path: String::new(),
    }
}

fn parse(stdin: &str) -> Result<NetConf, Error> {
    NetConf::parse(stdin.as_bytes(), SpecVersion::V1_1_0, &params(&[]))
}

#[test]
fn a_plain_configuration_gets_the_defaults() {
    let conf = parse(r#"{"cniVersion":"1.1.0","name":"pods","type":"slash32"}"#).unwrap();
    assert_eq!(conf.socket, Path::new(DEFAULT_SOCKET));
    assert_eq!((conf.default_route, conf.pool, conf.ipam), (None, None, None));
    assert_eq!((conf.mtu, conf.ips.len(), conf.mac), (None, 0, None));
}

#[test]
fn requested_addresses_come_from_both_places_one_a_family() {
    let stdin =
        r#"{"name":"pods","runtimeConfig":{"ips":["10.244.1.7/24"],"mac":"0A:58:0a:f4:01:07"}}"#;
    let conf = NetConf::parse(
        stdin.as_bytes(),
        SpecVersion::V1_1_0,
        &params(&[("IP", "fd00::7"), ("IgnoreUnknown", "1")]),
    )
    .unwrap();
    assert_eq!(conf.ips, ["10.244.1.7".parse::<IpAddr>().unwrap(), "fd00::7".parse().unwrap()]);
    assert_eq!(conf.mac, Some([0x0a, 0x58, 0x0a, 0xf4, 0x01, 0x07]));

    let twice =
        NetConf::parse(stdin.as_bytes(), SpecVersion::V1_1_0, &params(&[("IP", "10.244.1.8")]));
    assert!(twice.unwrap_err().details.contains("at most one of a family"));
}

#[test]
fn each_broken_value_is_named_with_a_remedy() {
    for (stdin, code, named) in [
        ("", code::DECODING_FAILURE, "conflist"),
        ("{", code::DECODING_FAILURE, "conflist"),
        ("[]", code::DECODING_FAILURE, "conflist"),
        (r#"{"name":"-x"}"#, code::INVALID_CONFIG, "name"),
        ("{}", code::INVALID_CONFIG, "name"),
        (r#"{"name":"n","mtu":100}"#, code::INVALID_CONFIG, "mtu"),
        (r#"{"name":"n","mtu":"big"}"#, code::DECODING_FAILURE, "big"),
        (r#"{"name":"n","socket":"routed.sock"}"#, code::INVALID_CONFIG, "socket"),
        (r#"{"name":"n","runtimeConfig":{"ips":["10.0.0"]}}"#, code::INVALID_CONFIG, "10.0.0"),
        (r#"{"name":"n","runtimeConfig":{"mac":"01:00:5e:0:0:1"}}"#, code::INVALID_CONFIG, "MAC"),
        (
            r#"{"name":"n","runtimeConfig":{"mac":"01:00:5e:00:00:01"}}"#,
            code::INVALID_CONFIG,
            "MAC",
        ),
        (r#"{"name":"n","routes":[{"dst":"10.0.0.1/8"}]}"#, code::INVALID_CONFIG, "10.0.0.1/8"),
        (r#"{"name":"n","routes":[{"dst":"all"}]}"#, code::INVALID_CONFIG, "all"),
        (r#"{"name":"n","ipam":{"type":"../sh"}}"#, code::INVALID_CONFIG, "ipam.type"),
    ] {
        let error = parse(stdin).unwrap_err();
        assert_eq!(error.code, code, "{stdin}: {error}");
        assert!(error.details.contains(named), "{stdin}: {error}");
    }
}

#[test]
fn a_missing_or_unknown_version_is_refused_with_the_known_ones() {
    for stdin in ["{}", r#"{"cniVersion":"0.2.0"}"#, r#"{"cniVersion":"2.0.0"}"#] {
        let error = version_of(stdin.as_bytes()).unwrap_err();
        assert_eq!(error.code, code::INCOMPATIBLE_VERSION);
        assert!(error.details.contains("0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0"), "{error}");
    }
    assert_eq!(version_of(br#"{"cniVersion":"0.4.0"}"#), Ok(SpecVersion::V0_4_0));
}

#[test]
fn valid_attachments_are_read_in_both_spellings_and_an_empty_list_is_kept() {
    for key in ["cni.dev/valid-attachments", "cni.dev/attachments"] {
        let conf =
            parse(&format!(r#"{{"name":"n","{key}":[{{"containerID":"c1","ifname":"eth0"}}]}}"#));
        // The spec writes containerID.
        assert_eq!(
            conf.unwrap().valid_attachments,
            Some(vec![("c1".to_owned(), "eth0".to_owned())])
        );
    }
    // libcni writes both.
    let both = r#"{"name":"n","cni.dev/attachments":[{"containerID":"c1","ifname":"eth0"}],
        "cni.dev/valid-attachments":[{"containerID":"c1","ifname":"eth0"}]}"#;
    assert_eq!(parse(both).unwrap().valid_attachments.unwrap().len(), 1);
    let conf = parse(r#"{"name":"n","cni.dev/valid-attachments":[]}"#).unwrap();
    assert_eq!(conf.valid_attachments, Some(Vec::new()));
    assert_eq!(parse(r#"{"name":"n"}"#).unwrap().valid_attachments, None);
}

#[test]
fn options_of_pool_route_and_ipam_are_read() {
    let conf = parse(
        r#"{"name":"n","pool":"storage","defaultRoute":false,"routes":[{"dst":"10.0.0.0/8"}],
            "ipam":{"type":"host-local","subnet":"10.9.0.0/24"}}"#,
    )
    .unwrap();
    assert_eq!((conf.pool.as_deref(), conf.default_route), (Some("storage"), Some(false)));
    assert_eq!(conf.routes[0].to_string(), "10.0.0.0/8");
    assert_eq!(conf.ipam.as_deref(), Some("host-local"));
    assert_eq!(parse(r#"{"name":"n","ipam":{}}"#).unwrap().ipam, None);
}

#[test]
fn what_is_no_previous_result_is_refused_when_it_is_compared() {
    let error = result_of(serde_json::json!(7)).unwrap_err();
    assert_eq!(error.code, code::DECODING_FAILURE);
    assert!(error.details.contains("ADD printed"), "{error}");
}

#[test]
fn a_previous_result_of_every_version_is_read() {
    let old = r#"{"name":"n","prevResult":{"cniVersion":"0.3.1","interfaces":[{"name":"eth0"}],
        "ips":[{"version":"4","address":"10.244.1.7/32","gateway":"169.254.1.1","interface":0}],
        "routes":[{"dst":"0.0.0.0/0"}],"dns":{}}}"#;
    let result = result_of(parse(old).unwrap().prev_result.unwrap()).unwrap();
    assert_eq!(result.ips[0].address.to_string(), "10.244.1.7/32");
}
