//! Binding the listeners of the configuration.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use logrun_broker::{ListenerInfo, ListenerKind};
use logrun_config::{Listener, SecurityProtocol, is_wildcard};
use logrun_io::Io;
use logrun_net::Acceptor;

use crate::StartError;

/// A bound listener, not accepting yet: clients that connect already wait in its queue.
pub struct Bound {
    pub info: ListenerInfo,
    pub acceptor: Acceptor,
    pub address: SocketAddr,
}

/// Binds one listener.
pub async fn bind(
    io: &Io,
    listener: &Listener,
    kind: ListenerKind,
    request_bytes_max: usize,
) -> Result<Bound, StartError> {
    let name = listener.name.to_string();
    if listener.protocol != SecurityProtocol::Plaintext {
        return Err(StartError::Protocol {
            listener: name,
            protocol: format!("{:?}", listener.protocol).to_uppercase(),
        });
    }
    let mut last = None;
    for ip in addresses(&name, &listener.host)? {
        let address = SocketAddr::new(ip, listener.port);
        match Acceptor::bind(io, &name, address, request_bytes_max).await {
            Ok(acceptor) => {
                let address = acceptor.local_addr().unwrap_or(address);
                return Ok(Bound { info: ListenerInfo { name: name.into(), kind }, acceptor, address });
            }
            Err(source) if source.kind() == std::io::ErrorKind::AddrInUse => {
                return Err(StartError::PortInUse { listener: name, port: listener.port });
            }
            Err(source) => {
                last = Some(StartError::Listen { listener: name.clone(), address: address.to_string(), source })
            }
        }
    }
    Err(last.unwrap_or_else(|| StartError::UnknownHost {
        listener: name,
        host: listener.host.clone(),
        reason: "it resolves to nothing".into(),
    }))
}

/// The addresses to try, the first that can be bound is taken. Every interface means both families, or IPv4 alone
/// where the machine has no IPv6.
fn addresses(listener: &str, host: &str) -> Result<Vec<IpAddr>, StartError> {
    if host == "0.0.0.0" {
        return Ok(vec![Ipv4Addr::UNSPECIFIED.into()]);
    }
    if is_wildcard(host) {
        return Ok(vec![Ipv6Addr::UNSPECIFIED.into(), Ipv4Addr::UNSPECIFIED.into()]);
    }
    if let Ok(ip) = host.trim_matches(['[', ']']).parse() {
        return Ok(vec![ip]);
    }
    let found = std::net::ToSocketAddrs::to_socket_addrs(&(host, 0)).map_err(|e| StartError::UnknownHost {
        listener: listener.to_owned(),
        host: host.to_owned(),
        reason: e.to_string(),
    })?;
    Ok(found.map(|a| a.ip()).collect())
}
