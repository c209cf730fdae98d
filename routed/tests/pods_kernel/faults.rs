//! The kernel fails at every point at which it can: each single message of an ADD, a DEL and a sweep is
//! answered EBUSY, EEXIST or ENOMEM instead of being carried out, or carried out with its answers lost
//! (ENOBUFS). The runtime is told, nothing leaks, and what it tries next succeeds.

use nix::errno::Errno;
use routed::kernel::pods::fuse::{Blow, Fuse};
use routed_core::pod::verb::{Reply, Request};

use super::{
    DUAL,
    crash::Bystander,
    host::{Host, Pod, attach, on_a_host},
    lifecycle::leased,
};

const FAULTS: [Blow; 4] = [
    Blow::Refuse(Errno::EBUSY),
    Blow::Refuse(Errno::EEXIST),
    Blow::Refuse(Errno::ENOMEM),
    Blow::Lose,
];

/// Starts the daemon anew with a kernel that fails at this message.
async fn fail_at(host: &mut Host, messages: usize, fault: Blow) -> Fuse {
    let fuse = Fuse::with(messages, fault);
    host.restart_with(fuse.clone()).await;
    fuse
}

#[test]
fn any_message_of_an_add_may_fail() {
    for fault in FAULTS {
        on_a_host(&DUAL, |mut host| async move {
            let bystander = Bystander::come(&host).await;
            let before = host.state();
            let mut failures = 0;
            for messages in 0.. {
                let at = format!("{fault:?} at message {messages}");
                let pod = Pod::new("a");
                let fuse = fail_at(&mut host, messages, fault).await;
                let reply = host.ask(Request::Attach(attach(&pod)), Some(&pod)).await;
                if !fuse.has_blown() {
                    assert!(matches!(reply, Reply::Attached(_)), "{at}: {reply:?}");
                    host.restart().await;
                    host.del(&pod).await;
                    host.settles_to(&before).await;
                    break;
                }
                // A failed ADD has taken everything back itself: a runtime may never send DEL.
                if matches!(reply, Reply::Failed(_)) {
                    failures += 1;
                    host.settles_to(&before).await;
                    leased(&host, 2).await;
                }
                let wiring = host.add(&pod).await;
                assert_eq!(host.check(&pod, &wiring).await, "", "{at}");
                host.del(&pod).await;
                host.settles_to(&before).await;
                leased(&host, 2).await;
                bystander.is_unharmed(&host, &at).await;
            }
            // The pair, its label, 2 neighbours, 2 routes, 9 inside.
            assert!(failures >= 15, "{fault:?} at {failures} messages");
        });
    }
}

#[test]
fn any_message_of_a_del_may_fail() {
    for fault in FAULTS {
        on_a_host(&DUAL, |mut host| async move {
            let bystander = Bystander::come(&host).await;
            let before = host.state();
            let mut blown = 0;
            for messages in 0.. {
                let at = format!("{fault:?} at message {messages}");
                let pod = Pod::new("a");
                host.add(&pod).await;
                let fuse = fail_at(&mut host, messages, fault).await;
                let reply = host.ask(Request::Detach(attach(&pod).id), None).await;
                if let Reply::Failed(error) = &reply {
                    assert!(fuse.has_blown(), "{at}: {error}");
                    // What the runtime does then.
                    host.del(&pod).await;
                }
                // Whatever failed is tried again, also after the answer.
                host.settles_to(&before).await;
                leased(&host, 2).await;
                bystander.is_unharmed(&host, &at).await;
                if !fuse.has_blown() {
                    break;
                }
                blown += 1;
            }
            // 2 routes, the mark, the sweep.
            assert!(blown >= 4, "{fault:?} at {blown} messages");
        });
    }
}
