//! Being one of several plugins: what earlier ones made, and what we add to it.
//!
//! In: the `prevResult` as the runtime passed it, and our own result in the same version. Out: both
//! as one. Earlier plugins' entries stay as they are, with fields that we do not know.

use serde_json::{Map, Value, json};

use crate::cni::{Error, code};

/// Our result after that of the plugins before us.
///
/// # Errors
///
/// [`code::DECODING_FAILURE`] if the `prevResult` is no result.
pub fn append(mut before: Value, mut ours: Value) -> Result<Value, Error> {
    let result = before.as_object_mut().ok_or_else(|| refused("it is no object"))?;
    let offset = list(result, "interfaces")?.len();
    for ip in ours["ips"].as_array_mut().into_iter().flatten() {
        if let Some(interface) = ip["interface"].as_u64() {
            ip["interface"] = json!(interface + offset as u64);
        }
    }
    for key in ["interfaces", "ips", "routes"] {
        list(result, key)?.extend(ours[key].as_array_mut().map(std::mem::take).unwrap_or_default());
    }
    // Name servers are those of the first who gave any.
    if result.get("dns").is_none_or(|dns| dns.as_object().is_none_or(Map::is_empty)) {
        result.insert("dns".to_owned(), ours["dns"].take());
    }
    result.insert("cniVersion".to_owned(), ours["cniVersion"].take());
    Ok(before)
}

/// A list of the result, made if it is missing.
fn list<'a>(result: &'a mut Map<String, Value>, key: &str) -> Result<&'a mut Vec<Value>, Error> {
    let value = result.entry(key).or_insert_with(|| json!([]));
    if value.is_null() {
        *value = json!([]);
    }
    value.as_array_mut().ok_or_else(|| refused(&format!("{key} is no list")))
}

fn refused(what: &str) -> Error {
    Error {
        code: code::DECODING_FAILURE,
        msg: "prevResult is not understood".to_owned(),
        details: format!("{what}; it must be what the plugin before this one printed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ours() -> Value {
        json!({
            "cniVersion": "1.0.0",
            "interfaces": [{"name": "s32a"}, {"name": "net1", "sandbox": "/run/netns/c1"}],
            "ips": [{"address": "10.244.1.7/32", "interface": 1}],
            "routes": [{"dst": "169.254.1.1/32"}],
            "dns": {},
        })
    }

    #[test]
    fn ours_comes_last_and_its_addresses_point_to_its_own_interfaces() {
        let before = json!({
            "cniVersion": "1.0.0",
            "interfaces": [{"name": "eth0", "sandbox": "/run/netns/c1", "pciID": "0000:01:00.0"}],
            "ips": [{"address": "192.0.2.7/24", "interface": 0}],
            "dns": {"nameservers": ["192.0.2.53"]},
        });
        let both = append(before.clone(), ours()).unwrap();
        assert_eq!(both["interfaces"][0], before["interfaces"][0]);
        assert_eq!(both["interfaces"][2]["name"], "net1");
        assert_eq!(both["ips"][0], before["ips"][0]);
        assert_eq!(both["ips"][1], json!({"address": "10.244.1.7/32", "interface": 2}));
        assert_eq!(both["routes"], json!([{"dst": "169.254.1.1/32"}]));
        assert_eq!(both["dns"], before["dns"]);
    }

    #[test]
    fn an_empty_result_before_us_changes_nothing_of_ours() {
        for before in [json!({}), json!({"interfaces": null, "dns": {}})] {
            assert_eq!(append(before, ours()).unwrap(), ours());
        }
    }

    #[test]
    fn what_is_no_result_is_refused() {
        for before in [json!(7), json!([]), json!({"ips": {}})] {
            assert_eq!(append(before, ours()).unwrap_err().code, code::DECODING_FAILURE);
        }
    }
}
