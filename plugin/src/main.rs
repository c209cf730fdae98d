//! The CNI plugin `slash32`: one request of a container runtime, passed to the node daemon.
//!
//! In: the runtime's environment and stdin. Out: exactly one JSON document on stdout (none for
//! the verbs that return nothing), and exit code 0 or 1. Holds no state, no credentials and no
//! async runtime, so that it starts in well under a millisecond.

use std::{
    borrow::Cow,
    fs::File,
    io::{ErrorKind, Read, Write},
    mem::take,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::fs::OpenOptionsExt,
    },
};

use plugin::{
    chain::Before,
    client,
    cni::{AddResult, Error, code},
    delegate::{Chosen, Delegate},
    env::{Params, Verb},
    netconf::{self, NetConf},
    rpc::{Attach, AttachmentId, Check, Gc, Request, Response},
    version::SpecVersion,
};
use serde_json::{Value, json};

fn main() {
    std::panic::set_hook(Box::new(report_panic));
    let mut room = [0; STDIN_ROOM];
    let mut call = Call::read(&mut room);
    let outcome = match &mut call {
        Ok(Some(call)) => call.serve().map_err(|error| (call.conf.version, error)),
        Ok(None) => Ok(Some(supported_versions().to_string())),
        Err(failure) => Err(failure.clone()),
    };
    let (document, mut code) = match outcome {
        Ok(document) => (document, 0),
        Err((version, error)) => (Some(version.render_error(&error).to_string()), 1),
    };
    if let Some(document) = &document
        && writeln!(std::io::stdout(), "{document}").is_err()
    {
        code = 1;
    }
    // Before anything is dropped: the kernel takes all memory at once, which is quicker than to be given
    // it back piece by piece.
    std::process::exit(code);
}

/// A panic is a bug of ours; the runtime still gets its one document, the place goes to stderr.
fn report_panic(info: &std::panic::PanicHookInfo<'_>) {
    eprintln!("{info}");
    let error = Error {
        code: code::IO_FAILURE,
        msg: "slash32 panicked".to_owned(),
        details: format!("{info}; this is a bug, please report it"),
    };
    println!("{}", SpecVersion::NEWEST.render_error(&error));
    std::process::exit(1);
}

/// What the runtime wants.
struct Call<'a> {
    params: Params,
    stdin: Cow<'a, [u8]>,
    conf: NetConf,
}

impl<'a> Call<'a> {
    /// `None` for VERSION, which needs no configuration.
    fn read(room: &'a mut [u8]) -> Result<Option<Self>, (SpecVersion, Error)> {
        let unversioned = |error| (SpecVersion::NEWEST, error);
        let params = Params::from_vars(|name| std::env::var(name).ok()).map_err(unversioned)?;
        if params.verb == Verb::Version {
            return Ok(None);
        }
        let stdin = read_stdin(room).map_err(|error| unversioned(unreadable(&error)))?;
        let version = netconf::version_of(&stdin).map_err(unversioned)?;
        let conf = NetConf::parse(&stdin, version, &params).map_err(|error| (version, error))?;
        Ok(Some(Self { params, stdin, conf }))
    }

    /// Does it, and says what goes to stdout.
    fn serve(&mut self) -> Result<Option<String>, Error> {
        let Self { params, stdin, conf } = self;
        let ipam = conf.ipam.as_deref();
        let ipam = ipam.map(|name| Delegate::find(name, &params.path)).transpose()?;
        let ipam = ipam.as_ref().map(|plugin| Ipam { plugin, stdin });
        match params.verb {
            Verb::Add => add(params, conf, ipam).map(Some),
            Verb::Del => del(params, conf, ipam).map(|()| None),
            Verb::Check => check(params, conf, ipam).map(|()| None),
            Verb::Gc => gc(conf, ipam).map(|()| None),
            Verb::Status => status(conf, ipam).map(|()| None),
            Verb::Version => Ok(Some(supported_versions().to_string())),
        }
    }
}

/// The IPAM plugin of the configuration, and what it is to read.
#[derive(Clone, Copy)]
struct Ipam<'a> {
    plugin: &'a Delegate,
    stdin: &'a [u8],
}

impl Ipam<'_> {
    fn call(self, verb: &str) -> Result<(), Error> {
        self.plugin.call(verb, self.stdin).map(drop)
    }
}

fn add(params: &Params, conf: &mut NetConf, ipam: Option<Ipam<'_>>) -> Result<String, Error> {
    let netns = open_netns(&params.netns)?;
    let before = conf.prev_result.take().map(Before::read).transpose()?;
    let chosen = ipam.map(|ipam| ipam.plugin.add(ipam.stdin)).transpose()?;
    let version = conf.version;
    let outcome = attach(params, conf, netns.as_fd(), chosen).map(|ours| match before {
        Some(before) => before.append(version.render_result(&ours)).to_string(),
        None => version.result_text(&ours),
    });
    if let (Err(_), Some(ipam)) = (&outcome, ipam) {
        // What it has chosen is of no use to anybody; the first error is what the runtime needs.
        let _ = ipam.call("DEL");
    }
    outcome
}

fn attach(
    params: &Params,
    conf: &mut NetConf,
    netns: BorrowedFd<'_>,
    chosen: Option<Chosen>,
) -> Result<AddResult, Error> {
    let id = attachment(params, conf);
    let mut attach = Attach {
        id,
        netns: params.netns.clone(),
        args: params.args.clone(),
        ips: take(&mut conf.ips),
        mac: conf.mac,
        mtu: conf.mtu,
        default_route: conf.default_route,
        pool: conf.pool.take(),
        routes: take(&mut conf.routes),
        delegated: chosen.is_some(),
    };
    let dns = chosen.map(|chosen| {
        attach.ips = chosen.ips.iter().map(|ip| ip.address.ip()).collect();
        let routes = chosen.routes.iter().map(|route| route.dst);
        attach.routes.extend(routes.filter(|destination| destination.prefix() > 0));
        chosen.dns
    });
    match client::call(&conf.socket, &Request::Add(attach), Some(netns))? {
        Response::Added(mut result) => {
            result.dns = dns.unwrap_or(result.dns);
            Ok(result)
        }
        Response::Error(error) => Err(error),
        Response::Done => Err(unexpected_answer()),
    }
}

fn del(params: &Params, conf: &NetConf, ipam: Option<Ipam<'_>>) -> Result<(), Error> {
    let id = attachment(params, conf);
    // Without the namespace, which may be gone: all that is to be removed is on the host.
    match client::detach(&conf.socket, &id) {
        Ok(response) => done(response)?,
        Err(error) => {
            return Err(Error {
                code: code::TRY_AGAIN,
                msg: "the node daemon is down and DEL cannot be noted for it".to_owned(),
                details: format!("beside {}: {error}", conf.socket.display()),
            });
        }
    }
    // Last, so that nobody gets the addresses while anything leads to this pod.
    ipam.map_or(Ok(()), |ipam| ipam.call("DEL"))
}

fn check(params: &Params, conf: &mut NetConf, ipam: Option<Ipam<'_>>) -> Result<(), Error> {
    if !conf.version.has_check() {
        return Err(verb_too_new(conf.version, "CHECK", SpecVersion::V0_4_0));
    }
    let id = attachment(params, conf);
    let prev_result = conf.prev_result.take().ok_or_else(|| Error {
        code: code::INVALID_CONFIG,
        msg: "invalid network configuration".to_owned(),
        details: "prevResult: missing; CHECK compares with what ADD returned".to_owned(),
    })?;
    let prev_result = netconf::result_of(prev_result)?;
    ipam.map_or(Ok(()), |ipam| ipam.call("CHECK"))?;
    let netns = open_netns(&params.netns)?;
    let request = Request::Check(Check { id, netns: params.netns.clone(), prev_result });
    done(client::call(&conf.socket, &request, Some(netns.as_fd()))?)
}

fn gc(conf: &mut NetConf, ipam: Option<Ipam<'_>>) -> Result<(), Error> {
    if !conf.version.has_gc_and_status() {
        return Err(verb_too_new(conf.version, "GC", SpecVersion::V1_1_0));
    }
    // Without the list nothing says what is valid; taking that for "nothing" would remove all.
    let valid = conf.valid_attachments.take().ok_or_else(|| Error {
        code: code::INVALID_CONFIG,
        msg: "invalid network configuration".to_owned(),
        details: "cni.dev/valid-attachments: missing; GC needs the list of attachments to keep"
            .to_owned(),
    })?;
    let request = Request::Gc(Gc { network: conf.network.clone(), valid });
    let outcome = client::call(&conf.socket, &request, None).map_err(Into::into).and_then(done);
    // Both are asked, whatever the first says; one error goes to the runtime.
    let delegated = ipam.map_or(Ok(()), |ipam| ipam.call("GC"));
    outcome.and(delegated)
}

fn status(conf: &NetConf, ipam: Option<Ipam<'_>>) -> Result<(), Error> {
    if !conf.version.has_gc_and_status() {
        return Err(verb_too_new(conf.version, "STATUS", SpecVersion::V1_1_0));
    }
    match client::call(&conf.socket, &Request::Status, None) {
        Ok(response) => done(response)?,
        Err(error) => {
            let Error { details, .. } = error.into();
            let msg = "the node daemon is not there".to_owned();
            return Err(Error { code: code::NOT_AVAILABLE, msg, details });
        }
    }
    ipam.map_or(Ok(()), |ipam| ipam.call("STATUS"))
}

fn done(response: Response) -> Result<(), Error> {
    match response {
        Response::Done => Ok(()),
        Response::Error(error) => Err(error),
        Response::Added(_) => Err(unexpected_answer()),
    }
}

fn attachment(params: &Params, conf: &NetConf) -> AttachmentId {
    AttachmentId {
        network: conf.network.clone(),
        container_id: params.container_id.clone(),
        ifname: params.ifname.clone(),
    }
}

fn open_netns(path: &str) -> Result<File, Error> {
    // Opened without waiting: whatever is at the path, even a pipe, cannot hold the plugin up. That it
    // is a network namespace is for the daemon to see.
    let nonblocking = nix::fcntl::OFlag::O_NONBLOCK.bits();
    let opened = File::options().read(true).custom_flags(nonblocking).open(path);
    opened.map_err(|error| Error {
        code: if error.kind() == ErrorKind::NotFound {
            code::UNKNOWN_CONTAINER
        } else {
            code::INVALID_ENVIRONMENT
        },
        msg: "the pod's network namespace cannot be opened".to_owned(),
        details: format!("CNI_NETNS={path}: {error}; the runtime must create it before the call"),
    })
}

/// All of stdin: in `room` if it fits, which costs no memory that the kernel would have to find first.
fn read_stdin(room: &mut [u8]) -> std::io::Result<Cow<'_, [u8]>> {
    // Not through the standard library's buffer, for the same reason.
    let mut stdin = File::from(std::io::stdin().as_fd().try_clone_to_owned()?);
    let mut length = 0;
    while length < room.len() {
        match stdin.read(&mut room[length..]) {
            Ok(0) => return Ok(Cow::Borrowed(&room[..length])),
            Ok(read) => length += read,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let mut all = room.to_vec();
    let limit = plugin::rpc::MAX_MESSAGE - all.len();
    stdin.take(limit as u64).read_to_end(&mut all)?;
    Ok(Cow::Owned(all))
}

fn unreadable(error: &std::io::Error) -> Error {
    Error {
        code: code::IO_FAILURE,
        msg: "the network configuration cannot be read".to_owned(),
        details: format!("stdin: {error}"),
    }
}

/// Octets of stdin that need no memory of their own. Configurations have some hundreds, and a
/// `prevResult` about as many.
const STDIN_ROOM: usize = 4096;

fn supported_versions() -> Value {
    json!({
        "cniVersion": SpecVersion::NEWEST.as_str(),
        "supportedVersions": SpecVersion::ALL.map(SpecVersion::as_str),
    })
}

fn verb_too_new(version: SpecVersion, verb: &str, since: SpecVersion) -> Error {
    Error {
        code: code::INCOMPATIBLE_VERSION,
        msg: format!("{verb} does not exist in CNI {}", version.as_str()),
        details: format!("set cniVersion of the conflist to {} or newer", since.as_str()),
    }
}

fn unexpected_answer() -> Error {
    Error {
        code: code::IO_FAILURE,
        msg: "routed gave an answer that does not fit the request".to_owned(),
        details: "plugin and daemon must be of the same release".to_owned(),
    }
}
