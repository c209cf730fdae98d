use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::Node;

fn saved() -> Vec<Saved> {
    vec![Saved {
        block: "10.244.1.64/26".parse().unwrap(),
        pool: "pods".to_owned(),
        uid: "0a1b".to_owned(),
        lost: false,
    }]
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn what_was_kept_is_there_for_the_next_run() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("cluster"), "n1").unwrap();
    assert_eq!((store.claims(), store.objects()), (Vec::new(), None));
    let nodes = BTreeMap::from([("n1".to_owned(), Node::default())]);
    let objects = Objects { nodes, ..Objects::default() };

    store.keep_claims(&saved()).unwrap();
    store.keep_objects(&store.objects_text(&objects).unwrap()).unwrap();

    let store = Store::open(store.folder(), "n1").unwrap();
    assert_eq!((store.claims(), store.objects()), (saved(), Some(objects)));
}

#[test]
fn everything_is_for_its_owner_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cluster");
    fs::create_dir(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let store = Store::open(&path, "n1").unwrap();
    store.keep_claims(&saved()).unwrap();
    assert_eq!((mode(&path), mode(&path.join(SECRETS))), (0o700, 0o700));
    assert_eq!(mode(&path.join(CLAIMS)), 0o600);
}

#[test]
fn a_damaged_file_is_put_aside_and_survived() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), "n1").unwrap();
    for damaged in ["", "{\"version\":1", "[]", "{\"version\":1,\"node\":\"n1\",\"content\":7}"] {
        fs::write(folder.path().join(CLAIMS), damaged).unwrap();
        assert_eq!(store.claims(), Vec::new(), "{damaged}");
        let aside = folder.path().join("claims.json.damaged");
        assert_eq!(fs::read_to_string(aside).unwrap(), damaged);
        assert!(!folder.path().join(CLAIMS).exists());
    }
    store.keep_claims(&saved()).unwrap();
    assert_eq!(store.claims(), saved());
}

#[test]
fn what_is_of_another_node_or_of_a_newer_daemon_is_put_aside() {
    let folder = tempfile::tempdir().unwrap();
    Store::open(folder.path(), "n1").unwrap().keep_claims(&saved()).unwrap();
    let other = Store::open(folder.path(), "n2").unwrap();
    assert_eq!(other.claims(), Vec::new());
    let newer = "{\"version\":2,\"node\":\"n2\",\"content\":{\"claims\":\"in another form\"}}";
    fs::write(folder.path().join(CLAIMS), newer).unwrap();
    assert_eq!(other.claims(), Vec::new());
    assert!(folder.path().join("claims.json.damaged").exists());
}

#[test]
fn a_write_that_fails_leaves_what_was_there() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), "n1").unwrap();
    store.keep_claims(&saved()).unwrap();
    // A folder where the draft would be: it can be neither removed as a file nor written.
    fs::create_dir(folder.path().join("claims.json.new")).unwrap();
    assert!(store.keep_claims(&[]).is_err());
    assert_eq!(store.claims(), saved());
}

#[test]
fn what_a_daemon_left_that_died_while_it_wrote_is_taken_away() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), "n1").unwrap();
    store.keep_claims(&saved()).unwrap();
    fs::write(folder.path().join("claims.json.new"), "{\"vers").unwrap();
    let store = Store::open(folder.path(), "n1").unwrap();
    assert!(!folder.path().join("claims.json.new").exists());
    assert_eq!(store.claims(), saved());
}

#[test]
fn passwords_are_files_of_their_names_and_those_of_before_go() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), "n1").unwrap();
    let secrets = |names: &[(&str, &[u8])]| {
        names.iter().map(|(name, value)| ((*name).to_owned(), value.to_vec())).collect()
    };
    store.keep_secrets(&secrets(&[("tor:a", b"one"), ("tor:b", b"two")])).unwrap();
    store.keep_secrets(&secrets(&[("tor:a", b"three")])).unwrap();
    let path = store.secrets().join("tor:a");
    assert_eq!((fs::read(&path).unwrap(), mode(&path)), (b"three".to_vec(), 0o600));
    assert_eq!(fs::read_dir(store.secrets()).unwrap().count(), 1);
    // One that cannot be kept does not keep the others from it.
    assert!(store.keep_secrets(&secrets(&[("no/folder", b""), ("tor:c", b"four")])).is_err());
    assert_eq!(fs::read(store.secrets().join("tor:c")).unwrap(), b"four");
}
