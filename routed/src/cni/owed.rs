//! DELs that the plugin could not deliver because no daemon was there.
//!
//! In: the notes that the plugin has left beside the socket. Out: a detach for each; the note is
//! removed once that is done. What cannot be done stays noted for the next start.
//!
//! Runs between binding the socket and serving it: a plugin that still fails to connect has
//! written its note by then, and no later ADD of the same container can be overtaken by it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use plugin::{client, rpc};
use routed_core::pod::verb::Reply;
use tokio::time;

use super::{request, server::ANSWER_TIME};
use crate::node::NodeHandle;

/// Carries out what is owed, for as long as a runtime would wait for one answer.
pub async fn settle(socket: &Path, node: &NodeHandle) {
    let owed = match client::owed_detaches(socket) {
        Ok(owed) => owed,
        Err(error) => {
            tracing::warn!(%error, "the notes of DELs beside sockets.cni cannot be read");
            return;
        }
    };
    let all = async {
        for (note, id) in owed {
            match id {
                Some(id) => settle_one(&note, id, node).await,
                None => {
                    let note = note.display();
                    tracing::warn!(%note, "not a note of a DEL; look at it and remove it");
                }
            }
        }
    };
    if time::timeout(ANSWER_TIME, all).await.is_err() {
        tracing::warn!("not all DELs from before the start could be done; the next start goes on");
    }
}

async fn settle_one(note: &PathBuf, id: rpc::AttachmentId, node: &NodeHandle) {
    let container_id = id.container_id.clone();
    let outcome = match request(&rpc::Request::Del(id)) {
        Ok(Some(detach)) => node.ask(detach, None).await,
        // What cannot exist is gone.
        Ok(None) | Err(_) => Ok(Reply::Done),
    };
    match outcome {
        Ok(Reply::Done | Reply::Attached(_)) => match fs::remove_file(note) {
            Ok(()) => tracing::info!(container_id, "a DEL from before the start is done"),
            Err(error) => {
                let note = note.display();
                tracing::warn!(%note, %error, "the note of a DEL that is done cannot be removed");
            }
        },
        Ok(Reply::Failed(error)) => {
            tracing::warn!(container_id, %error, "a DEL from before the start failed");
        }
        Err(error) => tracing::warn!(container_id, %error, "a DEL from before the start waits"),
    }
}
