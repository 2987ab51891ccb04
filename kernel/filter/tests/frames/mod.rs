//! Frames of which libpcap's interpreter was asked: made of values that the expressions ask for, and some others.

/// As many as a word has bits.
pub const COUNT: usize = 64;

/// Picks one of them, by a number that it uses up.
fn pick<T: Copy>(from: &[T], number: &mut u64) -> T {
    *number ^= *number << 13;
    *number ^= *number >> 7;
    *number ^= *number << 17;
    from[(*number >> 20) as usize % from.len()]
}

/// The frames, always the same.
pub fn all() -> Vec<Vec<u8>> {
    let mut number = 0x9e37_79b9_7f4a_7c15;
    let mut frames: Vec<_> = (2..COUNT).map(|_| frame(&mut number)).collect();
    frames.extend([segment(0, 40_000), segment(99, 40_693)]);
    frames
}

/// A segment from a port of 10.1.0.`host` to port 80 of 10.0.2.15.
fn segment(host: u8, port: u16) -> Vec<u8> {
    let mut frame = vec![0; 54];
    frame[12..16].copy_from_slice(&[0x08, 0x00, 0x45, 0]);
    frame[23] = 6;
    frame[26..34].copy_from_slice(&[10, 1, 0, host, 10, 0, 2, 15]);
    frame[34..36].copy_from_slice(&port.to_be_bytes());
    frame[36..38].copy_from_slice(&80u16.to_be_bytes());
    frame
}

fn frame(number: &mut u64) -> Vec<u8> {
    let links = [[2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2], [0xff; 6]];
    let addresses = [
        [10, 0, 2, 2],
        [10, 0, 2, 2],
        [10, 0, 2, 15],
        [10, 0, 2, 15],
        [10, 0, 3, 255],
        [192, 168, 0, 1],
    ];
    let ports = [80u16, 80, 53, 1234, 1234, 9];
    let kind = pick(&[0x0800u16, 0x0800, 0x0800, 0x0806, 0x86dd], number);
    let [to, from] = [(); 2].map(|()| pick(&links, number));
    let [source, destination] = [(); 2].map(|()| pick(&addresses, number));
    let [from_port, to_port] = [(); 2].map(|()| pick(&ports, number));
    let words = pick(&[5u8, 5, 5, 5, 6, 15], number);
    let fragment = pick(&[0x4000u16, 0x4000, 0x4000, 0, 0x2001], number);
    let protocol = pick(&[6u8, 6, 6, 17, 17, 1, 0x2f], number);
    let length = pick(&[100usize, 100, 100, 100, 60, 40, 22, 13], number);
    let mut frame = vec![0; 100];
    frame[..6].copy_from_slice(&to);
    frame[6..12].copy_from_slice(&from);
    frame[12..14].copy_from_slice(&kind.to_be_bytes());
    if kind == 0x0806 {
        frame[28..32].copy_from_slice(&source);
        frame[38..42].copy_from_slice(&destination);
    } else {
        frame[14] = 0x40 | words;
        frame[20..22].copy_from_slice(&fragment.to_be_bytes());
        frame[23] = protocol;
        frame[26..30].copy_from_slice(&source);
        frame[30..34].copy_from_slice(&destination);
        let at = 14 + 4 * usize::from(words);
        frame[at..at + 2].copy_from_slice(&from_port.to_be_bytes());
        frame[at + 2..at + 4].copy_from_slice(&to_port.to_be_bytes());
    }
    frame.truncate(length);
    frame
}
