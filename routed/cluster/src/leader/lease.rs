//! The Lease as an object of the API server.

use std::time::Duration;

use k8s_openapi::{
    api::coordination::v1::{Lease as Object, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
    jiff::Timestamp,
};
use kube::{Api, Client, api::PostParams};

use super::election::{ANSWER, Answer, Ask, DURATION, Lease};
use crate::{Failure, request::in_time};

/// The Lease of a namespace. Cheap to clone.
#[derive(Clone)]
pub(super) struct LeaseApi {
    leases: Api<Object>,
    me: String,
}

impl LeaseApi {
    pub(super) fn new(client: Client, namespace: &str, me: &str) -> Self {
        Self { leases: Api::namespaced(client, namespace), me: me.to_owned() }
    }

    /// Asks; what failed goes beside the answer.
    pub(super) async fn ask(&self, ask: &Ask) -> (Answer, Option<Failure>) {
        let answered = async {
            match ask {
                Ask::Look => self.look().await,
                Ask::Write { holds, version, transitions } => {
                    self.write(*holds, version.clone(), *transitions).await
                }
            }
        };
        match in_time(NAME, ANSWER, answered).await {
            Ok(answer) => (answer, None),
            Err(failure) => (Answer::Unanswered, Some(failure)),
        }
    }

    async fn look(&self) -> Result<Answer, kube::Error> {
        let Some(Object { metadata, spec }) = self.leases.get_opt(LEASE).await? else {
            return Ok(Answer::Seen(None));
        };
        let spec = spec.unwrap_or_default();
        let renewed = spec.renew_time.or(spec.acquire_time).map(|time| time.0);
        let age = renewed.map_or(Duration::MAX, |at| {
            // A clock that is behind makes it look young; the observer's own clock decides.
            Duration::try_from(Timestamp::now().duration_since(at)).unwrap_or(Duration::ZERO)
        });
        Ok(Answer::Seen(Some(Lease {
            holder: spec.holder_identity.unwrap_or_default(),
            version: metadata.resource_version.unwrap_or_default(),
            transitions: spec.lease_transitions.unwrap_or_default(),
            age,
        })))
    }

    async fn write(
        &self,
        holds: bool,
        version: Option<String>,
        transitions: i32,
    ) -> Result<Answer, kube::Error> {
        let now = MicroTime(Timestamp::now());
        let is_new = version.is_none();
        let object = Object {
            metadata: ObjectMeta {
                name: Some(LEASE.to_owned()),
                resource_version: version,
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(if holds { self.me.clone() } else { String::new() }),
                lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
                lease_transitions: Some(transitions),
                renew_time: Some(now),
                ..LeaseSpec::default()
            }),
        };
        let params =
            PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
        let written = match is_new {
            true => self.leases.create(&params, &object).await,
            false => self.leases.replace(LEASE, &params, &object).await,
        };
        match written {
            Ok(Object { metadata, .. }) => {
                Ok(Answer::Written(metadata.resource_version.unwrap_or_default()))
            }
            Err(kube::Error::Api(status))
                if status.code == 409 || (status.code == 404 && !is_new) =>
            {
                Ok(Answer::Refused)
            }
            Err(error) => Err(error),
        }
    }
}

/// Its name.
const LEASE: &str = "slash32-leader";
/// As messages have it.
const NAME: &str = "leases.coordination.k8s.io";
/// Who the API server notes as the author.
pub(super) const MANAGER: &str = "routed";
