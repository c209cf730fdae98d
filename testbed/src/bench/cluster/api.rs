//! The generator's API server: the protocol of Kubernetes, as far as a node's daemon speaks it.
//!
//! In: HTTP requests on loopback of the arena. Out: lists in pages, lists and watches as streams with
//! bookmarks, single objects, and whatever is written, which is kept and counted.
//!
//! Field selectors, `limit`, `continue`, `resourceVersion`, `sendInitialEvents`, `timeoutSeconds` and the
//! form of the answer (`as=PartialObjectMetadata`) mean what they do in Kubernetes. Nothing is checked
//! or authorized, and there is no TLS.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result};
use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Query, State},
    http::{HeaderMap, Method, StatusCode, Uri, header},
    response::{IntoResponse as _, Response},
};
use futures_util::stream;
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    time::{Instant, timeout_at},
};

use super::store::{Change, Form, Happened, Object, Page, Refused, Selector, Store};

/// The server. Cheap to clone.
#[derive(Clone)]
pub(super) struct Api {
    store: Arc<Store>,
    /// How often what was asked, as in `PATCH nodes`.
    asked: Arc<Mutex<BTreeMap<String, u64>>>,
}

/// What a path names.
struct Place {
    /// The kind, as the store has it.
    kind: String,
    /// The object, as `name` or `namespace/name`.
    key: Option<String>,
    namespace: Option<String>,
    /// For the count, as in `nodes/status`.
    label: String,
}

impl Api {
    /// Serves on that address until the runtime ends.
    pub(super) async fn serve(store: Arc<Store>, address: SocketAddr) -> Result<Self> {
        let api = Self { store, asked: Arc::default() };
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("the generator cannot listen on {address}"))?;
        let router = Router::new().fallback(answer).with_state(api.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(api)
    }

    /// What was asked so far; begins to count anew.
    pub(super) fn take_asked(&self) -> BTreeMap<String, u64> {
        std::mem::take(&mut *self.asked.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn count(&self, what: String) {
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner).entry(what).or_default() += 1;
    }
}

async fn answer(
    State(api): State<Api>,
    method: Method,
    uri: Uri,
    Query(query): Query<BTreeMap<String, String>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let Some(place) = Place::of(uri.path()) else { return refused(Refused::NotFound) };
    let is_watch = query.get("watch").is_some_and(|watch| watch == "true" || watch == "1");
    let verb = match (&method, &place.key) {
        (&Method::GET, None) if is_watch => "WATCH",
        (&Method::GET, None) => "LIST",
        _ => method.as_str(),
    };
    api.count(format!("{verb} {}", place.label));
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    let form = match accept {
        Some(accept) if accept.contains("as=PartialObjectMetadata") => Form::Metadata,
        _ => Form::Whole,
    };
    let answered = match (verb, &place.key) {
        ("WATCH", _) => api.watch(place, &query, form),
        ("LIST", _) => api.list(&place, &query, form),
        ("GET", Some(key)) => {
            api.store.get(&place.kind, key).map(|object| api.one(&place, &object))
        }
        ("DELETE", Some(key)) => {
            api.store.remove(&place.kind, key).map(|object| api.one(&place, &object))
        }
        ("POST", None) => api.written(&place, None, &body),
        ("PUT" | "PATCH", Some(key)) => api.written(&place, Some(key), &body),
        _ => return StatusCode::METHOD_NOT_ALLOWED.into_response(),
    };
    answered.unwrap_or_else(refused)
}

impl Place {
    /// `/api/v1/nodes/n/status`, `/apis/GROUP/VERSION/namespaces/NS/KIND/NAME`, and so on.
    fn of(path: &str) -> Option<Self> {
        let words: Vec<&str> = path.split('/').filter(|word| !word.is_empty()).collect();
        let (head, words) = match words.as_slice() {
            ["api", version, rest @ ..] => (format!("/api/{version}"), rest),
            ["apis", group, version, rest @ ..] => (format!("/apis/{group}/{version}"), rest),
            _ => return None,
        };
        let (namespace, words) = match words {
            ["namespaces", namespace, kind, rest @ ..] => {
                (Some((*namespace).to_owned()), [&[*kind], rest].concat())
            }
            words => (None, words.to_vec()),
        };
        let (kind, name, part) = match words.as_slice() {
            [kind] => (*kind, None, None),
            [kind, name] => (*kind, Some(*name), None),
            [kind, name, part] => (*kind, Some(*name), Some(*part)),
            _ => return None,
        };
        let key = name.map(|name| match &namespace {
            Some(namespace) => format!("{namespace}/{name}"),
            None => name.to_owned(),
        });
        let label = part.map_or_else(|| kind.to_owned(), |part| format!("{kind}/{part}"));
        Some(Self { kind: format!("{head}/{kind}"), key, namespace, label })
    }
}

impl Api {
    fn one(&self, place: &Place, object: &Object) -> Response {
        let (version, kind) = self.store.kind(&place.kind).unwrap_or_default();
        json_text(object.json(&version, &kind, Form::Whole))
    }

    fn list(
        &self,
        place: &Place,
        query: &BTreeMap<String, String>,
        form: Form,
    ) -> Result<Response, Refused> {
        let limit = query.get("limit").and_then(|limit| limit.parse().ok()).unwrap_or(usize::MAX);
        let after = query.get("continue").map(String::as_str).filter(|after| !after.is_empty());
        let page = self.store.list(&place.kind, &selector(query), after, limit)?;
        let Page { api_version, kind, objects, version, more } = page;
        let mut text = match form {
            Form::Whole => format!(r#"{{"apiVersion":"{api_version}","kind":"{kind}List""#),
            Form::Metadata => {
                r#"{"apiVersion":"meta.k8s.io/v1","kind":"PartialObjectMetadataList""#.to_owned()
            }
        };
        let next = objects.last().filter(|_| more).map_or("", |object| &object.key);
        text += &format!(
            r#","metadata":{{"resourceVersion":"{version}","continue":"{next}"}},"items":["#
        );
        for (at, object) in objects.iter().enumerate() {
            if at > 0 {
                text.push(',');
            }
            text += &object.json(&api_version, &kind, form);
        }
        text += "]}";
        Ok(json_text(text))
    }

    fn watch(
        &self,
        place: Place,
        query: &BTreeMap<String, String>,
        form: Form,
    ) -> Result<Response, Refused> {
        let (api_version, kind) = self.store.kind(&place.kind).ok_or(Refused::NotFound)?;
        let seconds = query.get("timeoutSeconds").and_then(|seconds| seconds.parse().ok());
        let version = query.get("resourceVersion").and_then(|version| version.parse().ok());
        let begins_with_all = query.get("sendInitialEvents").is_some_and(|wanted| wanted == "true");
        let watcher = Watcher {
            store: Arc::clone(&self.store),
            path: place.kind,
            selector: selector(query),
            form,
            api_version,
            kind,
            end: Instant::now() + Duration::from_secs(seconds.unwrap_or(1800)),
            state: match version {
                _ if begins_with_all => Stage::Listing { after: None, version: None },
                Some(version) => Stage::Following { version, marked: Instant::now() },
                None => Stage::Following {
                    version: *self.store.versions().borrow(),
                    marked: Instant::now(),
                },
            },
        };
        let events = stream::unfold(watcher, |mut watcher| async {
            let text = watcher.next().await?;
            Some((Ok::<_, Infallible>(text), watcher))
        });
        Ok(([(header::CONTENT_TYPE, JSON)], Body::from_stream(events)).into_response())
    }

    /// What was created or changed, as far as it needs to be kept: the object that was sent, without
    /// what the server adds. Of patches, which are pieces, nothing is kept but the fact.
    fn written(
        &self,
        place: &Place,
        key: Option<&String>,
        body: &[u8],
    ) -> Result<Response, Refused> {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let name = body["metadata"]["name"].as_str().unwrap_or("unnamed");
        let old = key.and_then(|key| self.store.get(&place.kind, key).ok());
        if let Some(old) = old
            && place.label != "leases"
        {
            let object = self.store.put(&place.kind, old)?;
            return Ok(self.one(place, &object));
        }
        let key = key.cloned().unwrap_or_else(|| match &place.namespace {
            Some(namespace) => format!("{namespace}/{name}"),
            None => name.to_owned(),
        });
        let mut metadata = body["metadata"].clone();
        metadata["uid"] = json!(format!("uid-of-{key}"));
        metadata["creationTimestamp"] = json!("2026-01-01T00:00:00Z");
        if let Some(fields) = metadata.as_object_mut() {
            fields.remove("resourceVersion");
        }
        let rest = ["spec", "status"].map(|field| match &body[field] {
            Value::Null => String::new(),
            value => format!(r#","{field}":{value}"#),
        });
        let mut object = Object::new(&key, &metadata.to_string(), rest.concat());
        if let Some(node) = body["spec"]["node"].as_str() {
            object = object.on(node);
        }
        let object = match place.key {
            Some(_) => self.store.put(&place.kind, object)?,
            None => self.store.create(&place.kind, object)?,
        };
        Ok(self.one(place, &object))
    }
}

/// A watch that is read.
struct Watcher {
    store: Arc<Store>,
    path: String,
    selector: Selector,
    form: Form,
    api_version: String,
    kind: String,
    end: Instant,
    state: Stage,
}

enum Stage {
    /// The objects that there are, after that one; the version is that of the first of them.
    Listing { after: Option<String>, version: Option<u64> },
    /// Changes from a version on, and when it was marked last.
    Following { version: u64, marked: Instant },
}

impl Watcher {
    /// The next lines; `None`: it is over.
    async fn next(&mut self) -> Option<String> {
        match &mut self.state {
            Stage::Listing { after, version } => {
                let page =
                    self.store.list(&self.path, &self.selector, after.as_deref(), CHUNK).ok()?;
                let since = *version.get_or_insert(page.version);
                *after = page.objects.last().map(|object| object.key.to_string());
                let mut lines: String =
                    page.objects.iter().map(|object| self.line("ADDED", object)).collect();
                if !page.more {
                    lines += &self.bookmark(since, true);
                    self.state = Stage::Following { version: since, marked: Instant::now() };
                }
                Some(lines)
            }
            Stage::Following { version, marked } => {
                let (mut version, mut marked) = (*version, *marked);
                let mut versions = self.store.versions();
                loop {
                    versions.mark_unchanged();
                    let Ok((changes, newest)) =
                        self.store.since(&self.path, &self.selector, version)
                    else {
                        let status = status(410, "Expired", "too old resource version");
                        self.end = Instant::now();
                        return Some(format!("{{\"type\":\"ERROR\",\"object\":{status}}}\n"));
                    };
                    version = newest;
                    let mut lines: String =
                        changes.iter().map(|change| self.change(change)).collect();
                    if marked.elapsed() >= MARK {
                        marked = Instant::now();
                        lines += &self.bookmark(version, false);
                    }
                    if !lines.is_empty() {
                        self.state = Stage::Following { version, marked };
                        return Some(lines);
                    }
                    if Instant::now() >= self.end {
                        return None;
                    }
                    // Either way there is another look.
                    let _ = timeout_at(self.end.min(marked + MARK), versions.changed()).await;
                }
            }
        }
    }

    fn change(&self, Change { happened, object }: &Change) -> String {
        let word = match happened {
            Happened::Added => "ADDED",
            Happened::Modified => "MODIFIED",
            Happened::Deleted => "DELETED",
        };
        self.line(word, object)
    }

    fn line(&self, word: &str, object: &Object) -> String {
        let object = object.json(&self.api_version, &self.kind, self.form);
        format!("{{\"type\":\"{word}\",\"object\":{object}}}\n")
    }

    fn bookmark(&self, version: u64, is_end: bool) -> String {
        let (api_version, kind) = match self.form {
            Form::Whole => (&*self.api_version, &*self.kind),
            Form::Metadata => ("meta.k8s.io/v1", "PartialObjectMetadata"),
        };
        let annotations =
            if is_end { json!({"k8s.io/initial-events-end": "true"}) } else { json!({}) };
        let object = json!({"apiVersion": api_version, "kind": kind, "spec": {},
            "metadata": {"resourceVersion": version.to_string(), "annotations": annotations}});
        format!("{{\"type\":\"BOOKMARK\",\"object\":{object}}}\n")
    }
}

fn selector(query: &BTreeMap<String, String>) -> Selector {
    let fields = query.get("fieldSelector").map_or("", String::as_str);
    let field = |wanted: &[&str]| {
        let mut terms = fields.split(',').filter_map(|term| term.split_once('='));
        let found = terms.find(|(name, _)| wanted.contains(name));
        found.map(|(_, value)| value.trim_start_matches('=').to_owned())
    };
    Selector { name: field(&["metadata.name"]), node: field(&["spec.nodeName", "spec.node"]) }
}

fn refused(why: Refused) -> Response {
    let (code, reason, message) = match why {
        Refused::NotFound => (404, "NotFound", "not found"),
        Refused::Exists => (409, "AlreadyExists", "already exists"),
        Refused::Expired => (410, "Expired", "too old resource version"),
    };
    let code_of = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (code_of, json_text(status(code, reason, message).to_string())).into_response()
}

fn status(code: u16, reason: &str, message: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure",
        "code": code, "reason": reason, "message": message})
}

fn json_text(text: String) -> Response {
    ([(header::CONTENT_TYPE, JSON)], text).into_response()
}

const JSON: &str = "application/json";
/// Objects that a stream sends at once.
const CHUNK: usize = 200;
/// How often a watch says how far it is, as Kubernetes does.
const MARK: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_understood() {
        let place = Place::of("/apis/slash32.dev/v1alpha1/bgpnodestatuses/n1/status").unwrap();
        assert_eq!(place.kind, "/apis/slash32.dev/v1alpha1/bgpnodestatuses");
        assert_eq!((place.key.as_deref(), &*place.label), (Some("n1"), "bgpnodestatuses/status"));
        let place = Place::of("/apis/coordination.k8s.io/v1/namespaces/s/leases/l").unwrap();
        assert_eq!(place.kind, "/apis/coordination.k8s.io/v1/leases");
        assert_eq!(place.key.as_deref(), Some("s/l"));
        assert!(Place::of("/api/v1/nodes").unwrap().key.is_none());
        assert!(Place::of("/healthz").is_none());
    }
}
