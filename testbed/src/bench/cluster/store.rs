//! What the generator's API server has: objects by kind, and what has happened to them.
//!
//! In: objects as they are put or removed. Out: listings, and the changes since any version that is not
//! forgotten yet. One number counts all changes, as etcd's revision does.

use std::{
    collections::{BTreeMap, VecDeque},
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;

/// One object. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Object {
    /// `name`, or `namespace/name`.
    pub(super) key: Arc<str>,
    /// The object of `metadata` without its version and its last brace, as in `{"name":"n"`.
    metadata: Arc<str>,
    /// What follows after `metadata`, with a leading comma, as in `,"spec":{}`.
    rest: Arc<str>,
    /// On which node it is, for field selectors.
    node: Option<Arc<str>>,
    version: u64,
}

/// Of which objects something is asked.
#[derive(Clone, Debug, Default)]
pub(super) struct Selector {
    pub(super) name: Option<String>,
    pub(super) node: Option<String>,
}

/// Whether whole objects are asked for, or their metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Whole,
    Metadata,
}

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Happened {
    Added,
    Modified,
    Deleted,
}

/// A change.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) happened: Happened,
    pub(super) object: Object,
}

/// All objects of one kind.
#[derive(Debug, Default)]
struct Kind {
    api_version: String,
    name: String,
    objects: BTreeMap<Arc<str>, Object>,
    log: VecDeque<Change>,
    /// Changes up to here are forgotten.
    forgotten: u64,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Store {
    kinds: Mutex<BTreeMap<String, Kind>>,
    version: watch::Sender<u64>,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// There is no such kind or object.
    NotFound,
    /// It is there already.
    Exists,
    /// Changes since that version are forgotten.
    Expired,
}

/// A part of a listing.
pub(super) struct Page {
    pub(super) api_version: String,
    pub(super) kind: String,
    pub(super) objects: Vec<Object>,
    pub(super) version: u64,
    /// Whether there are more.
    pub(super) more: bool,
}

impl Object {
    /// One that is not in a store yet. `metadata` is an object of JSON; `rest` as [`Self::rest`].
    pub(super) fn new(key: &str, metadata: &str, rest: impl Into<Arc<str>>) -> Self {
        let metadata = metadata.strip_suffix('}').unwrap_or(metadata);
        Self {
            key: key.into(),
            metadata: metadata.into(),
            rest: rest.into(),
            node: None,
            version: 0,
        }
    }

    /// The same, on that node.
    pub(super) fn on(mut self, node: &str) -> Self {
        self.node = Some(node.into());
        self
    }

    /// As it is sent.
    pub(super) fn json(&self, api_version: &str, kind: &str, form: Form) -> String {
        let Self { metadata, rest, version, .. } = self;
        let metadata = format!(r#"{metadata},"resourceVersion":"{version}"}}"#);
        match form {
            Form::Whole => {
                format!(
                    r#"{{"apiVersion":"{api_version}","kind":"{kind}","metadata":{metadata}{rest}}}"#
                )
            }
            Form::Metadata => format!(
                r#"{{"apiVersion":"meta.k8s.io/v1","kind":"PartialObjectMetadata","metadata":{metadata}}}"#
            ),
        }
    }
}

impl Selector {
    fn takes(&self, object: &Object) -> bool {
        let name = self.name.as_deref().is_none_or(|name| *object.key == *name);
        name && self.node.as_deref().is_none_or(|node| object.node.as_deref() == Some(node))
    }
}

impl Store {
    pub(super) fn new() -> Self {
        Self { kinds: Mutex::default(), version: watch::Sender::new(1) }
    }

    /// There are objects of that kind. `path` is as in `/api/v1/nodes`.
    pub(super) fn define(&self, path: &str, api_version: &str, name: &str) {
        let kind = Kind {
            api_version: api_version.to_owned(),
            name: name.to_owned(),
            forgotten: *self.version.borrow(),
            ..Kind::default()
        };
        self.kinds().insert(path.to_owned(), kind);
    }

    /// `apiVersion` and `kind` of what is there.
    pub(super) fn kind(&self, path: &str) -> Option<(String, String)> {
        self.kinds().get(path).map(|kind| (kind.api_version.clone(), kind.name.clone()))
    }

    /// Tells of the newest version.
    pub(super) fn versions(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// Puts an object in its place, whether one is there or not; gives it with its version.
    pub(super) fn put(&self, path: &str, object: Object) -> Result<Object, Refused> {
        self.change(path, |kind, version| {
            let object = Object { version, ..object };
            let old = kind.objects.insert(Arc::clone(&object.key), object.clone());
            let happened = if old.is_some() { Happened::Modified } else { Happened::Added };
            Ok(Change { happened, object })
        })
    }

    /// The same if there is none.
    pub(super) fn create(&self, path: &str, object: Object) -> Result<Object, Refused> {
        let is_there = self.get(path, &object.key).is_ok();
        if is_there { Err(Refused::Exists) } else { self.put(path, object) }
    }

    pub(super) fn remove(&self, path: &str, key: &str) -> Result<Object, Refused> {
        self.change(path, |kind, version| {
            let object = kind.objects.remove(key).ok_or(Refused::NotFound)?;
            Ok(Change { happened: Happened::Deleted, object: Object { version, ..object } })
        })
    }

    fn change(
        &self,
        path: &str,
        change: impl FnOnce(&mut Kind, u64) -> Result<Change, Refused>,
    ) -> Result<Object, Refused> {
        let mut kinds = self.kinds();
        let kind = kinds.get_mut(path).ok_or(Refused::NotFound)?;
        let version = *self.version.borrow() + 1;
        let change = change(kind, version)?;
        let object = change.object.clone();
        kind.log.push_back(change);
        if kind.log.len() > REMEMBERED {
            let oldest = kind.log.pop_front();
            kind.forgotten = oldest.map_or(kind.forgotten, |change| change.object.version);
        }
        // Whoever hears of it finds it in the log.
        self.version.send_replace(version);
        Ok(object)
    }

    pub(super) fn get(&self, path: &str, key: &str) -> Result<Object, Refused> {
        let kinds = self.kinds();
        let kind = kinds.get(path).ok_or(Refused::NotFound)?;
        kind.objects.get(key).cloned().ok_or(Refused::NotFound)
    }

    /// At most `limit` objects after the one with the key `after`.
    pub(super) fn list(
        &self,
        path: &str,
        selector: &Selector,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page, Refused> {
        let kinds = self.kinds();
        let kind = kinds.get(path).ok_or(Refused::NotFound)?;
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let range = kind.objects.range::<str, _>((from, Bound::Unbounded));
        let mut objects = range.map(|(_, object)| object).filter(|it| selector.takes(it)).cloned();
        let page: Vec<_> = objects.by_ref().take(limit).collect();
        Ok(Page {
            api_version: kind.api_version.clone(),
            kind: kind.name.clone(),
            objects: page,
            version: *self.version.borrow(),
            more: objects.next().is_some(),
        })
    }

    /// What has happened after a version, and which one is the newest by now.
    pub(super) fn since(
        &self,
        path: &str,
        selector: &Selector,
        version: u64,
    ) -> Result<(Vec<Change>, u64), Refused> {
        let kinds = self.kinds();
        let kind = kinds.get(path).ok_or(Refused::NotFound)?;
        if version < kind.forgotten {
            return Err(Refused::Expired);
        }
        let first = kind.log.partition_point(|change| change.object.version <= version);
        let new = kind.log.range(first..).filter(|change| selector.takes(&change.object));
        Ok((new.cloned().collect(), *self.version.borrow()))
    }

    fn kinds(&self) -> MutexGuard<'_, BTreeMap<String, Kind>> {
        self.kinds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Changes of a kind that are not forgotten.
const REMEMBERED: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    const NODES: &str = "/api/v1/nodes";

    fn store() -> Store {
        let store = Store::new();
        store.define(NODES, "v1", "Node");
        for name in ["a", "b", "c"] {
            let object = Object::new(name, &format!(r#"{{"name":"{name}"}}"#), r#","spec":{}"#);
            store.put(NODES, object.on(name)).unwrap();
        }
        store
    }

    #[test]
    fn a_listing_comes_in_pages_and_the_changes_after_it_follow() {
        let store = store();
        let page = store.list(NODES, &Selector::default(), None, 2).unwrap();
        assert!(page.more);
        assert_eq!(&*page.objects[1].key, "b");
        let last = store.list(NODES, &Selector::default(), Some("b"), 2).unwrap();
        assert_eq!((last.objects.len(), last.more), (1, false));
        store.remove(NODES, "a").unwrap();
        let (changes, version) = store.since(NODES, &Selector::default(), page.version).unwrap();
        assert_eq!(changes[0].happened, Happened::Deleted);
        assert_eq!((changes.len(), version), (1, page.version + 1));
    }

    #[test]
    fn only_what_is_selected_is_seen() {
        let store = store();
        let selector = Selector { node: Some("b".to_owned()), ..Selector::default() };
        assert_eq!(store.list(NODES, &selector, None, 9).unwrap().objects.len(), 1);
        assert_eq!(store.since(NODES, &selector, 1).unwrap().0.len(), 1);
    }

    #[test]
    fn an_object_is_whole_or_metadata_alone() {
        let object = store().get(NODES, "a").unwrap();
        let whole = object.json("v1", "Node", Form::Whole);
        let whole: serde_json::Value = serde_json::from_str(&whole).unwrap();
        assert_eq!(whole["metadata"]["resourceVersion"], "2");
        assert!(whole["spec"].is_object());
        assert!(!object.json("v1", "Node", Form::Metadata).contains("spec"));
    }

    #[test]
    fn what_is_forgotten_is_said_to_be() {
        let store = store();
        for _ in 0..=REMEMBERED {
            let object = store.get(NODES, "a").unwrap();
            store.put(NODES, object).unwrap();
        }
        assert_eq!(store.since(NODES, &Selector::default(), 1).unwrap_err(), Refused::Expired);
        assert_eq!(store.create(NODES, Object::new("a", "{}", "")).unwrap_err(), Refused::Exists);
    }
}
