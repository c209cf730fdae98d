//! Passwords of peers: keys of Secrets, in files that `password_file` names.

use std::collections::BTreeMap;

use routed_api::{BGPPeerSpec, SecretKey};

use super::super::{Input, Problem};
use crate::Objects;

/// The files that the text of [`wanted`](crate::wanted) names, with what is to be in them: they must be
/// there, readable by nobody else, before the text is checked. A changed Secret changes the file and
/// not the text, and so needs a reload all the same.
#[must_use]
pub fn passwords(objects: &Objects) -> BTreeMap<String, Vec<u8>> {
    let named = objects.peers.values().filter_map(|peer| peer.spec.password.as_ref());
    let named = named.map(|password| &password.secret_key_ref);
    named
        .filter_map(|key| {
            let value = objects.secrets.get(&key.name.0)?.get(&key.key)?;
            Some((file_name(key)?, value.clone()))
        })
        .collect()
}

/// The path of a peer's password file.
pub(super) fn file(
    input: &Input<'_>,
    peer: &str,
    spec: &BGPPeerSpec,
) -> Result<Option<String>, Problem> {
    let Some(password) = &spec.password else { return Ok(None) };
    let key = &password.secret_key_ref;
    let field = "spec.password.secretKeyRef";
    let Some(file) = file_name(key) else {
        let message = format!("{field}: {}/{} is no key of a Secret", key.name, key.key);
        return Err(Problem { reason: "Invalid", message });
    };
    let Some(secret) = input.objects.secrets.get(&key.name.0) else {
        let message = format!(
            "{field}: there is no Secret/{} in the daemon's namespace; kubectl create secret generic \
             {} --from-literal={}=PASSWORD there. Until then there is no session with {peer}",
            key.name, key.name, key.key
        );
        return Err(Problem { reason: "SecretMissing", message });
    };
    if !secret.contains_key(&key.key) {
        let keys: Vec<_> = secret.keys().map(String::as_str).collect();
        let known = if keys.is_empty() { "it has none".to_owned() } else { keys.join(", ") };
        let message = format!("{field}: Secret/{} has no key {:?}; {known}", key.name, key.key);
        return Err(Problem { reason: "SecretMissing", message });
    }
    Ok(Some(input.folder.join(file).to_string_lossy().into_owned()))
}

/// No Secret and no key has a colon in its name.
fn file_name(key: &SecretKey) -> Option<String> {
    let fits = |text: &str| {
        let known = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        !text.is_empty() && text.len() <= 253 && text.chars().all(known)
    };
    (fits(&key.name.0) && fits(&key.key)).then(|| format!("{}:{}", key.name, key.key))
}
