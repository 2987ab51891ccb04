//! Flattened device trees, as little of them as a boot takes (Devicetree Specification 0.4, chapter 5).

const BEGIN_NODE: u32 = 1;
const END_NODE: u32 = 2;
const PROPERTY: u32 = 3;
const END: u32 = 9;

/// Bytes of the header.
pub const HEADER: usize = 40;

/// A tree in the making.
#[derive(Default)]
pub struct Tree {
    structure: Vec<u8>,
    strings: Vec<u8>,
}

impl Tree {
    /// The tree of a machine of 512 MiB, with these boot arguments in `/chosen`; without them, that
    /// node is empty.
    pub fn of_machine(bootargs: Option<&str>) -> Vec<u8> {
        let mut tree = Self::default();
        tree.begin("");
        tree.cells("#address-cells", &[1]);
        tree.cells("#size-cells", &[1]);
        tree.text("compatible", "raspberrypi,3-model-b");
        tree.begin("memory@0");
        tree.text("device_type", "memory");
        tree.cells("reg", &[0, 512 << 20]);
        tree.end();
        tree.begin("chosen");
        if let Some(bootargs) = bootargs {
            tree.text("bootargs", bootargs);
        }
        tree.end();
        tree.end();
        tree.finish()
    }

    fn begin(&mut self, name: &str) {
        self.word(BEGIN_NODE);
        self.padded(&[name.as_bytes(), b"\0"].concat());
    }

    fn end(&mut self) {
        self.word(END_NODE);
    }

    fn text(&mut self, name: &str, value: &str) {
        self.property(name, &[value.as_bytes(), b"\0"].concat());
    }

    fn cells(&mut self, name: &str, cells: &[u32]) {
        let bytes: Vec<u8> = cells.iter().flat_map(|cell| cell.to_be_bytes()).collect();
        self.property(name, &bytes);
    }

    fn property(&mut self, name: &str, value: &[u8]) {
        self.word(PROPERTY);
        self.word(value.len() as u32);
        self.word(self.strings.len() as u32);
        self.strings.extend(name.bytes().chain([0]));
        self.padded(value);
    }

    fn word(&mut self, word: u32) {
        self.structure.extend(word.to_be_bytes());
    }

    fn padded(&mut self, bytes: &[u8]) {
        self.structure.extend(bytes);
        let padded = self.structure.len().next_multiple_of(4);
        self.structure.resize(padded, 0);
    }

    fn finish(mut self) -> Vec<u8> {
        /// The end of the list of reserved memory, which is empty.
        const RESERVED: [u8; 16] = [0; 16];
        const STRUCTURE_AT: usize = HEADER + RESERVED.len();
        self.word(END);
        let strings_at = STRUCTURE_AT + self.structure.len();
        let header = [
            0xd00d_feed,
            (strings_at + self.strings.len()) as u32,
            STRUCTURE_AT as u32,
            strings_at as u32,
            HEADER as u32,
            17, // version
            16, // the oldest that it is compatible with
            0,  // the core that boots
            self.strings.len() as u32,
            self.structure.len() as u32,
        ];
        let mut bytes: Vec<u8> = header.iter().flat_map(|word| word.to_be_bytes()).collect();
        bytes.extend(RESERVED);
        bytes.extend(self.structure);
        bytes.extend(self.strings);
        bytes
    }
}
