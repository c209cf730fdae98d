//! Reading a message never takes more than a small multiple of its length in memory, whatever it
//! holds: nobody can exhaust a node with well-chosen octets.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

use bgp::wire::{self, Codec, MAX_EXTENDED_LEN, MAX_LEN};
use bytes::Bytes;
use proptest::{collection::vec, prelude::*};

/// Most octets held at once for each octet of the message, beside [`ALLOWANCE`]. The costliest
/// prefix is the default route: one octet that becomes one of 24, in a list that doubles
/// when it is full; then come lists of attributes without a value and their faults.
const MULTIPLE: usize = 60;
/// Octets that any message may take.
const ALLOWANCE: usize = 4096;

/// The system's allocator, which counts what this thread holds.
struct Counting;

thread_local! {
    static HELD: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
}

fn count(change: impl Fn(usize) -> usize) {
    // A thread that is ending has nothing left to count with.
    let _ = HELD.try_with(|held| {
        held.set(change(held.get()));
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(held.get())));
    });
}

// SAFETY: every call is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(|held| held + layout.size());
        // SAFETY: the caller keeps to the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, octets: *mut u8, layout: Layout) {
        count(|held| held.saturating_sub(layout.size()));
        // SAFETY: the caller keeps to the contract of `dealloc`.
        unsafe { System.dealloc(octets, layout) }
    }

    unsafe fn realloc(&self, octets: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Old and new may exist at once.
        count(|held| held + size);
        count(|held| held.saturating_sub(layout.size()));
        // SAFETY: the caller keeps to the contract of `realloc`.
        unsafe { System.realloc(octets, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Most octets held while the message is read, beyond those held before.
fn cost(message: &Bytes, codec: &Codec) -> usize {
    let before = HELD.get();
    PEAK.set(before);
    let read = wire::decode(message, codec);
    let peak = PEAK.get();
    drop(read);
    peak - before
}

fn check(message: &Bytes, codec: &Codec) -> usize {
    let cost = cost(message, codec);
    assert!(
        cost <= MULTIPLE * message.len() + ALLOWANCE,
        "{cost} octets held to read {}: {:?}...",
        message.len(),
        &message[..message.len().min(60)]
    );
    cost
}

fn update(withdrawn: &[u8], attributes: &[u8], nlri: &[u8]) -> Bytes {
    let len = |field: &[u8]| u16::try_from(field.len()).unwrap_or(u16::MAX).to_be_bytes();
    let total = len(&vec![0; 23 + withdrawn.len() + attributes.len() + nlri.len()]);
    let head = [&[0xFF; 16][..], &total, &[2]].concat();
    [&head, &len(withdrawn)[..], withdrawn, &len(attributes), attributes, nlri].concat().into()
}

/// As many repeats as fit in a message of this length beside a little else.
fn filled(with: &[u8], max_len: usize) -> Vec<u8> {
    with.repeat((max_len - 100) / with.len())
}

fn long(flags: u8, code: u8, value: &[u8]) -> Vec<u8> {
    let len = u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes();
    [&[flags | 0x10, code, len[0], len[1]], value].concat()
}

#[test]
fn the_costliest_messages_cost_a_small_multiple_of_their_length() {
    let mandatory = [64, 1, 1, 0, 64, 2, 6, 2, 1, 0, 0, 0, 9, 64, 3, 4, 1, 1, 1, 1];
    let mut worst = 0.0_f64;
    for max_len in [MAX_LEN, MAX_EXTENDED_LEN] {
        let codec = |four_octet_as| Codec {
            four_octet_as,
            external: false,
            max_receive_len: max_len,
            max_send_len: max_len,
            ..Codec::default()
        };
        let distinct: Vec<u8> = (36..=255_u8).flat_map(|code| [0xC0, code, 0]).collect();
        let mut v6 = vec![0, 2, 1, 16];
        v6.extend([0xFD; 16]);
        v6.push(0);
        v6.extend(filled(&[0], max_len));
        for message in [
            update(&filled(&[0], max_len), &[], &[]),
            update(&[], &mandatory, &filled(&[0], max_len)),
            update(&[], &[&[64, 1, 1, 9], &mandatory[4..]].concat(), &filled(&[0], max_len)),
            update(&[], &long(0x80, 14, &v6), &[]),
            update(&[], &[&long(0x80, 14, &v6)[..], &mandatory].concat(), &[]),
            update(&[], &filled(&[0xC0, 99, 0], max_len), &[]),
            update(&[], &distinct, &[]),
            update(&[], &distinct.repeat(2), &[0]),
            update(&[], &long(0x40, 2, &filled(&[2, 1, 0, 1], max_len)), &[]),
            update(&[], &long(0x40, 2, &filled(&[3, 1, 0, 1], max_len)), &[]),
            update(&[], &long(0x40, 2, &filled(&[2, 1, 0, 0, 0, 1], max_len)), &[]),
            update(&[], &long(0xC0, 17, &filled(&[2, 1, 0, 0, 0, 1], max_len)), &[]),
            update(&[], &long(0xC0, 8, &filled(&[0, 1, 0, 1], max_len)), &[]),
        ] {
            for four_octet_as in [false, true] {
                let cost = check(&message, &codec(four_octet_as));
                worst = worst.max(cost as f64 / message.len() as f64);
            }
        }
    }
    // The bound means something only if it is not far off.
    assert!(worst > 20.0, "the bound of {MULTIPLE} could be {worst:.0}");
}

#[test]
fn an_open_full_of_capabilities_costs_a_small_multiple_of_its_length() {
    let capabilities = [2, 0].repeat(2000);
    let len = u16::try_from(capabilities.len()).expect("4000 octets");
    let mut body = vec![4, 0, 1, 0, 90, 1, 1, 1, 1, 255, 255];
    body.extend((len + 3).to_be_bytes());
    body.push(2);
    body.extend(len.to_be_bytes());
    body.extend(capabilities);
    let total = u16::try_from(19 + body.len()).expect("below 4096").to_be_bytes();
    let message = [&[0xFF; 16][..], &total, &[1], &body].concat().into();
    let cost = check(&message, &Codec::default());
    assert!(cost > message.len(), "nothing was read");
}

proptest! {
    #[test]
    fn any_update_costs_a_small_multiple_of_its_length(
        four_octet_as in any::<bool>(),
        withdrawn in vec(0..3_u8, 0..400),
        attributes in vec(prop_oneof![0..40_u8, Just(0xC0), Just(0x40), Just(0x80)], 0..400),
        nlri in vec(0..3_u8, 0..400),
    ) {
        let codec = Codec { four_octet_as, ..Codec::default() };
        check(&update(&withdrawn, &attributes, &nlri), &codec);
    }
}
