//! A subset of the expressions of `tcpdump` (pcap-filter(7)): conjunctions.
//!
//! | expression | means |
//! | --- | --- |
//! | `ip`, `arp`, `icmp`, `tcp`, `udp` | that protocol; the last three over IPv4 |
//! | `ether proto N`, `ip proto N` | by number, decimal or `0x` |
//! | `ether src M`, `ether dst M`, `ether host M` | Ethernet address |
//! | `src host A`, `dst host A`, `host A` | IPv4 address; with `arp`, sender and target of ARP |
//! | `src net A/N`, `dst net A/N`, `net A/N` | the first N bits of it |
//! | `src port N`, `dst port N`, `port N` | with `tcp` or `udp` |
//! | ... `and` ..., ... `&&` ... | both |
//!
//! `host` may be left out behind `src` and `dst`, and `ip`, `arp`, `tcp` and `udp` may stand before what
//! they go with (`tcp dst port 80`). What says "one or the other" (`host`, `net`, `port`) gives more than
//! one filter: all of them together are the expression ([`Expression::alternatives`]).
//!
//! A filter takes a frame that has every octet it asks about, and asks only about those that it names:
//! a frame cut off within an address may satisfy `net`, or one alternative, where libpcap's program loads
//! more than it compares, and gives up.
//!
//! Refused: `or`, `not`, parentheses, names of hosts and ports, `portrange`, `gateway`, lengths,
//! arithmetic on octets, IPv6 and tags. A port or address for which no protocol is named is refused too,
//! where `tcpdump` would try several. And what `tcpdump` means for IPv4 and IPv6 here means IPv4.

use core::str::FromStr;

use super::endpoint::{ARP, DESTINATION, FRAGMENT, ICMP, IPV4, PROTOCOL, SOURCE, TCP, TYPE, UDP};
use super::{Facts, IP};
use crate::Error;

/// Most primitives that name an address or a port.
const MOST: usize = 8;
/// Most of them that may hold in one of two places: eight filters.
const MOST_EITHER: u32 = 3;

/// Why an expression was not understood: the number of the word, from 0 on, that does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal(pub usize);

impl core::fmt::Display for Refusal {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "word {} is not understood here", self.0 + 1)
    }
}

impl core::error::Error for Refusal {}

/// Which end a primitive is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Source,
    Destination,
    Either,
}

/// What it says of that end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Quality {
    Link([u8; 6]),
    Network([u8; 4], u32),
    Port(u16),
}

/// An expression that was understood.
#[derive(Clone, Copy, Debug)]
pub struct Expression {
    link: Option<u16>,
    protocol: Option<u8>,
    primitives: [(End, Quality); MOST],
    count: usize,
    /// Two protocols were asked for at once.
    contradicts: bool,
}

impl FromStr for Expression {
    type Err = Refusal;

    fn from_str(text: &str) -> Result<Self, Refusal> {
        let mut parser = Parser {
            words: text.split_ascii_whitespace(),
            word: None,
            number: 0,
        };
        parser.word = parser.words.next();
        let mut expression = Self {
            link: None,
            protocol: None,
            primitives: [(End::Either, Quality::Port(0)); MOST],
            count: 0,
            contradicts: false,
        };
        loop {
            parser.term(&mut expression)?;
            match parser.word {
                None => break,
                Some("and" | "&&") => parser.step(),
                Some(_) => return parser.refuse(),
            }
        }
        if expression.is_closed() {
            Ok(expression)
        } else {
            parser.refuse()
        }
    }
}

impl Expression {
    /// The filters that together are the expression, eight at most. A frame may be in more than one of
    /// them; under ordered keys it goes to the first.
    pub fn alternatives(&self) -> impl Iterator<Item = Facts> + '_ {
        // One that contradicts itself (`src host A and src host B`) takes no frame.
        (0..1u32 << self.eithers()).filter_map(|choice| self.facts(choice).ok())
    }

    fn primitives(&self) -> &[(End, Quality)] {
        self.primitives.get(..self.count).unwrap_or_default()
    }

    fn eithers(&self) -> u32 {
        let either = |primitive: &&(End, Quality)| primitive.0 == End::Either;
        self.primitives().iter().filter(either).count() as u32
    }

    /// Whether it is known for each primitive what it is about.
    fn is_closed(&self) -> bool {
        let good = |quality: &Quality| match quality {
            Quality::Link(_) => true,
            Quality::Network(..) => matches!(self.link, Some(IPV4 | ARP)),
            Quality::Port(_) => matches!(self.protocol, Some(TCP | UDP)) && self.link == Some(IPV4),
        };
        self.eithers() <= MOST_EITHER
            && (self.contradicts || self.primitives().iter().all(|(_, quality)| good(quality)))
    }

    /// The filter in which bit n of `choice` says which end the nth primitive about either is about.
    fn facts(&self, mut choice: u32) -> Result<Facts, Error> {
        if self.contradicts {
            return Err(Error::Contradiction);
        }
        let mut facts = Facts::ANY;
        if let Some(link) = self.link {
            facts = facts.octets(TYPE, &link.to_be_bytes())?;
        }
        if let Some(protocol) = self.protocol {
            facts = facts.octets(PROTOCOL, &[protocol])?;
        }
        for (end, quality) in self.primitives() {
            let source = match end {
                End::Source => true,
                End::Destination => false,
                End::Either => {
                    let bit = choice & 1 == 0;
                    choice >>= 1;
                    bit
                }
            };
            facts = self.with(facts, source, *quality)?;
        }
        Ok(facts)
    }

    fn with(&self, facts: Facts, source: bool, quality: Quality) -> Result<Facts, Error> {
        let place = |at_source, at_destination| if source { at_source } else { at_destination };
        match quality {
            Quality::Link(address) => facts.octets(place(6, 0), &address),
            Quality::Network(address, bits) => {
                let at = match self.link {
                    Some(ARP) => place(IP + 14, IP + 24),
                    _ => place(SOURCE, DESTINATION),
                };
                let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0).to_be_bytes();
                let octets = (at..).zip(mask).zip(address);
                octets
                    .into_iter()
                    .try_fold(facts, |facts, ((at, mask), octet)| {
                        facts.bits(at, mask, octet & mask)
                    })
            }
            // Only a first fragment has ports.
            Quality::Port(port) => facts
                .bits(FRAGMENT, 0x1f, 0)?
                .octets(FRAGMENT + 1, &[0])?
                .behind_ip(place(0, 2), &port.to_be_bytes()),
        }
    }

    fn link(&mut self, number: u16) {
        self.contradicts |= self.link.is_some_and(|known| known != number);
        self.link = Some(number);
    }

    fn protocol(&mut self, number: u8) {
        self.link(IPV4);
        self.contradicts |= self.protocol.is_some_and(|known| known != number);
        self.protocol = Some(number);
    }
}

/// The words of an expression, one ahead.
struct Parser<'a> {
    words: core::str::SplitAsciiWhitespace<'a>,
    word: Option<&'a str>,
    number: usize,
}

impl Parser<'_> {
    fn step(&mut self) {
        self.word = self.words.next();
        self.number += 1;
    }

    fn refuse<T>(&self) -> Result<T, Refusal> {
        Err(Refusal(self.number))
    }

    /// The word as something that `read` understands.
    fn take<T>(&mut self, read: impl FnOnce(&str) -> Option<T>) -> Result<T, Refusal> {
        match self.word.and_then(read) {
            Some(value) => {
                self.step();
                Ok(value)
            }
            None => self.refuse(),
        }
    }

    fn is(&mut self, word: &str) -> bool {
        let is = self.word == Some(word);
        if is {
            self.step();
        }
        is
    }

    /// One primitive, or a protocol alone.
    fn term(&mut self, expression: &mut Expression) -> Result<(), Refusal> {
        if self.is("ether") {
            if self.is("proto") {
                expression.link(self.take(number)?);
                return Ok(());
            }
            let end = self.end();
            if end == End::Either && self.word != Some("host") {
                return self.refuse();
            }
            self.is("host");
            let address = self.take(link_address)?;
            return self.push(expression, end, Quality::Link(address));
        }
        let name = self.word;
        let named = self.protocol(expression)?;
        if named && matches!(self.word, None | Some("and" | "&&")) {
            return Ok(());
        }
        // `tcp` and `udp` go with ports, `ip` and `arp` with addresses, `icmp` with nothing.
        let (number, at) = (self.number, expression.count);
        self.quality(expression)?;
        let quality = expression.primitives.get(at).map(|(_, quality)| quality);
        let fits = match name.filter(|_| named) {
            None => true,
            Some("tcp" | "udp") => matches!(quality, Some(Quality::Port(_))),
            Some("ip" | "arp") => matches!(quality, Some(Quality::Network(..))),
            Some(_) => false,
        };
        if fits { Ok(()) } else { Err(Refusal(number)) }
    }

    /// A protocol's name, if there is one.
    fn protocol(&mut self, expression: &mut Expression) -> Result<bool, Refusal> {
        if self.is("arp") {
            expression.link(ARP);
        } else if self.is("icmp") {
            expression.protocol(ICMP);
        } else if self.is("tcp") {
            expression.protocol(TCP);
        } else if self.is("udp") {
            expression.protocol(UDP);
        } else if self.is("ip") {
            expression.link(IPV4);
            if self.is("proto") {
                expression.protocol(self.take(number)?);
            }
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    fn end(&mut self) -> End {
        if self.is("src") {
            End::Source
        } else if self.is("dst") {
            End::Destination
        } else {
            End::Either
        }
    }

    fn quality(&mut self, expression: &mut Expression) -> Result<(), Refusal> {
        let end = self.end();
        let quality = if self.is("port") {
            Quality::Port(self.take(number)?)
        } else if self.is("net") {
            let (address, bits) = self.take(network)?;
            Quality::Network(address, bits)
        } else if self.is("host") || end != End::Either {
            Quality::Network(self.take(address)?, 32)
        } else {
            return self.refuse();
        };
        self.push(expression, end, quality)
    }

    fn push(&self, expression: &mut Expression, end: End, quality: Quality) -> Result<(), Refusal> {
        match expression.primitives.get_mut(expression.count) {
            Some(place) => *place = (end, quality),
            None => return self.refuse(),
        }
        expression.count += 1;
        Ok(())
    }
}

/// A number, decimal or `0x`.
fn number<T: TryFrom<u32>>(word: &str) -> Option<T> {
    let number = match word.strip_prefix("0x") {
        Some(digits) if !digits.starts_with('+') => u32::from_str_radix(digits, 16),
        _ if word.starts_with('+') => return None,
        // A leading zero would mean octal to others.
        _ if word.len() > 1 && word.starts_with('0') => return None,
        _ => word.parse(),
    };
    T::try_from(number.ok()?).ok()
}

/// An address in four parts.
fn address(word: &str) -> Option<[u8; 4]> {
    Some(word.parse::<core::net::Ipv4Addr>().ok()?.octets())
}

/// An address and a number of bits, those behind them being zero.
fn network(word: &str) -> Option<([u8; 4], u32)> {
    let (head, bits) = word.split_once('/')?;
    let (address, bits) = (address(head)?, number::<u32>(bits)?);
    let rest = u32::MAX.checked_shr(bits).unwrap_or(0);
    (bits <= 32 && u32::from_be_bytes(address) & rest == 0).then_some((address, bits))
}

/// An Ethernet address: six octets with colons.
fn link_address(word: &str) -> Option<[u8; 6]> {
    let mut octets = [0; 6];
    let mut parts = word.split(':');
    for octet in &mut octets {
        let part = parts
            .next()
            .filter(|part| part.len() <= 2 && !part.starts_with('+'))?;
        *octet = u8::from_str_radix(part, 16).ok()?;
    }
    parts.next().is_none().then_some(octets)
}
