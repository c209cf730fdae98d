//! The definitions of all objects as one manifest.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt as _;
use serde_json::Value;

use crate::{BGPConfiguration, BGPNodeStatus, BGPPeer, BGPPolicy, IPBlock, IPPool, IPReservation};

/// Where the manifest is in the repository, seen from the package `routed`.
pub const FILE: &str = "manifests/crds.yaml";

/// Every definition, as the API server takes it.
///
/// # Panics
///
/// Never: every definition is a JSON object.
#[must_use]
pub fn definitions() -> Vec<CustomResourceDefinition> {
    let crds = [
        BGPConfiguration::crd(),
        BGPNodeStatus::crd(),
        BGPPeer::crd(),
        BGPPolicy::crd(),
        IPBlock::crd(),
        IPPool::crd(),
        IPReservation::crd(),
    ];
    let plain = |crd| {
        let mut value = serde_json::to_value(crd).expect("a definition is plain data");
        simplify(&mut value);
        serde_json::from_value(value).expect("it is still a definition")
    };
    crds.into_iter().map(plain).collect()
}

/// Every definition, one document of YAML each.
///
/// # Panics
///
/// Never: every definition is plain data.
#[must_use]
pub fn manifest() -> String {
    let documents = definitions().into_iter().map(|crd| {
        let yaml = serde_saphyr::to_string(&crd).expect("a definition is plain data");
        format!("---\n{yaml}")
    });
    format!("# Made by `routed crds`.\n{}", documents.collect::<String>())
}

/// Says what the types say in words that Kubernetes knows. It has no formats of unsigned numbers: they
/// become limits, since a number that does not fit its type would make the object unreadable. And no
/// field may be null: a null is then dropped as if it had not been written, and `has()` in a rule
/// tells the truth.
fn simplify(value: &mut Value) {
    match value {
        Value::Object(object) => {
            if object.get("nullable").is_some_and(Value::is_boolean) {
                object.remove("nullable");
            }
            let most = match object.get("format").and_then(Value::as_str) {
                Some("uint8") => Some(u32::from(u8::MAX)),
                Some("uint16") => Some(u32::from(u16::MAX)),
                Some("uint32") => Some(u32::MAX),
                Some(_) | None => None,
            };
            if let Some(most) = most {
                object.remove("format");
                object.entry("maximum").or_insert(most.into());
            }
            object.values_mut().for_each(simplify);
        }
        Value::Array(list) => list.iter_mut().for_each(simplify),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use std::{env, fs, path::Path};

    use super::*;

    #[test]
    fn the_manifest_is_what_the_types_say() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(FILE);
        let wanted = manifest();
        if env::var_os("UPDATE").is_some() {
            fs::write(&file, &wanted).expect("write the manifest");
        }
        let found = fs::read_to_string(&file).unwrap_or_default();
        assert!(
            found == wanted,
            "routed/{FILE} is not what the types say; if they are right, write it anew: \
             UPDATE=1 cargo test -p routed-api manifest"
        );
    }
}
