//! The encoder against two programs that know A64 from elsewhere: LLVM's assembler, by a stored table,
//! and the disassembler `yaxpeax-arm`.

use exopi_a64::Word;
use yaxpeax_arch::{Decoder, U8Reader};
use yaxpeax_arm::armv8::a64::InstDecoder;

mod cases;

#[test]
fn words_are_those_of_the_assembler() {
    let table = include_str!("words.txt");
    let rows: Vec<_> = table.lines().filter(|row| !row.starts_with('#')).collect();
    let cases = cases::all();
    assert!(cases.len() > 1000);
    assert_eq!(rows.len(), cases.len());
    for (row, (text, word)) in rows.into_iter().zip(cases) {
        assert_eq!(row, format!("{:08x}  {text}", word.get()));
    }
}

fn disassemble(word: Word) -> String {
    let bytes = word.get().to_le_bytes();
    let mut reader = U8Reader::new(&bytes);
    let instruction = InstDecoder::default().decode(&mut reader);
    instruction.map_or_else(
        |error| error.to_string(),
        |instruction| instruction.to_string(),
    )
}

/// A text with what the two sides write differently made the same: numbers, the instruction's own
/// address, offsets of zero, and names of which the manual prefers another.
fn plain(text: &str) -> String {
    let (name, operands) = text.split_once(' ').unwrap_or((text, ""));
    let mut operands: Vec<String> = operands.split(", ").map(operand).collect();
    let number = |text: &str| text.trim_start_matches('#').parse::<i128>().unwrap();
    let mut name = name;
    match name {
        "movz" | "movn" => {
            let wide = operands[0].starts_with('x');
            let shift = operands.get(2).map_or(0, |shift| number(&shift[4..]));
            let value = number(&operands[1]) << shift;
            let value = if name == "movn" {
                !value as u64
            } else {
                value as u64
            };
            let value = if wide { value } else { value & 0xffff_ffff };
            operands = vec![operands[0].clone(), format!("#{value}")];
            name = "mov";
        }
        // A shift by nothing is the same instruction in both directions.
        "lsl" if operands[2] == "#0" => name = "lsr",
        // As is a field that reaches up to the top.
        "ubfx" => {
            let width = if operands[0].starts_with('x') { 64 } else { 32 };
            if number(&operands[2]) + number(&operands[3]) == width {
                operands.pop();
                name = "lsr";
            }
        }
        "tbz" | "tbnz" if number(&operands[1]) < 32 => operands[0].replace_range(..1, "w"),
        _ => {}
    }
    operands.retain(|operand| operand != "lsl #0");
    // A large immediate of an addition is written shifted, or as what it comes to.
    if let [.., value, shift] = operands.as_mut_slice()
        && value.starts_with('#')
        && shift == "lsl #12"
    {
        *value = format!("#{}", number(value) << 12);
        operands.pop();
    }
    format!("{name} {}", operands.join(", ")).replace(", #0]", "]")
}

fn operand(text: &str) -> String {
    let text = text.replace(['.', '$'], "#").replace("#+", "#");
    let Some((before, number)) = text.split_once('#') else {
        return text;
    };
    let (digits, after) = number.split_at(number.find(']').unwrap_or(number.len()));
    let (sign, digits) = digits
        .strip_prefix('-')
        .map_or(("", digits), |rest| ("-", rest));
    let value = match digits.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => digits.parse(),
    };
    format!("{before}#{sign}{}{after}", value.unwrap())
}

#[test]
fn a_disassembler_reads_back_what_was_said() {
    for (text, word) in cases::all() {
        assert_eq!(plain(&disassemble(word)), plain(&text), "{word:?}");
    }
}
