//! Filters on one end of a conversation.

use super::{Facts, IP};
use crate::Error;

/// Which IPv4 headers a filter takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header {
    /// 20 octets and not a fragment: what nearly all traffic has, and the shortest code.
    Plain,
    /// Of any length; first fragments and what is not fragmented.
    Options,
}

/// One end of a conversation by UDP or TCP: each address and port may be open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Protocol in the IPv4 header: 6 is TCP, 17 UDP.
    pub protocol: u8,
    /// Our address.
    pub local_address: Option<[u8; 4]>,
    /// Our port.
    pub local_port: Option<u16>,
    /// The other's address.
    pub remote_address: Option<[u8; 4]>,
    /// The other's port.
    pub remote_port: Option<u16>,
    /// Which headers.
    pub header: Header,
}

/// ICMP, TCP and UDP in the protocol field of IPv4 (RFC 790 and its successors).
pub(super) const ICMP: u8 = 1;
pub(super) const TCP: u8 = 6;
pub(super) const UDP: u8 = 17;
/// Ethernet types.
pub(super) const IPV4: u16 = 0x0800;
pub(super) const ARP: u16 = 0x0806;
/// Offsets of fields in a frame.
pub(super) const TYPE: usize = 12;
pub(super) const FRAGMENT: usize = IP + 6;
pub(super) const PROTOCOL: usize = IP + 9;
pub(super) const SOURCE: usize = IP + 12;
pub(super) const DESTINATION: usize = IP + 16;

/// Frames of this Ethernet type.
pub fn ether_type(number: u16) -> Facts {
    Facts::ANY
        .octets(TYPE, &number.to_be_bytes())
        .unwrap_or(Facts::ANY)
}

/// Frames of ARP.
pub fn arp() -> Facts {
    ether_type(ARP)
}

impl Endpoint {
    /// TCP, everything open, plain headers.
    pub const TCP: Endpoint = Endpoint {
        protocol: TCP,
        local_address: None,
        local_port: None,
        remote_address: None,
        remote_port: None,
        header: Header::Plain,
    };
    /// UDP, everything open, plain headers.
    pub const UDP: Endpoint = Endpoint {
        protocol: UDP,
        ..Self::TCP
    };

    /// Frames that come to it.
    ///
    /// # Errors
    /// None with the fields there are.
    pub fn received(&self) -> Result<Facts, Error> {
        self.facts(
            (self.remote_address, self.remote_port),
            (self.local_address, self.local_port),
        )
    }

    /// Frames that it sends: what a send capability asks of them.
    ///
    /// # Errors
    /// As [`Self::received`].
    pub fn sent(&self) -> Result<Facts, Error> {
        self.facts(
            (self.local_address, self.local_port),
            (self.remote_address, self.remote_port),
        )
    }

    fn facts(
        &self,
        source: (Option<[u8; 4]>, Option<u16>),
        destination: (Option<[u8; 4]>, Option<u16>),
    ) -> Result<Facts, Error> {
        let mut facts = ether_type(IPV4).octets(PROTOCOL, &[self.protocol])?;
        facts = match self.header {
            // More-fragments and the offset.
            Header::Plain => facts.octets(IP, &[0x45])?.bits(FRAGMENT, 0x3f, 0)?,
            Header::Options => facts.bits(IP, 0xf0, 0x40)?.bits(FRAGMENT, 0x1f, 0)?,
        };
        facts = facts.octets(FRAGMENT + 1, &[0])?;
        for (offset, port_offset, (address, port)) in
            [(SOURCE, 0, source), (DESTINATION, 2, destination)]
        {
            if let Some(address) = address {
                facts = facts.octets(offset, &address)?;
            }
            if let Some(port) = port {
                let port = port.to_be_bytes();
                facts = match self.header {
                    Header::Plain => facts.octets(IP + 20 + port_offset, &port)?,
                    Header::Options => facts.behind_ip(port_offset, &port)?,
                };
            }
        }
        Ok(facts)
    }
}
