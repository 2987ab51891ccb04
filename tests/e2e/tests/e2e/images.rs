//! Boot images that are no good: `exo run` refuses them, and so does the kernel if it gets them.

use std::fs;

use exo::elf;
use exo::image::{self, fake};
use exopi_abi::{boot, exit};
use exopi_e2e::{Run, kernel, minimal};

/// The kernel as it lies in memory.
fn flat() -> Vec<u8> {
    elf::flatten(&fs::read(kernel()).unwrap()).unwrap()
}

/// A good image.
fn good() -> Vec<u8> {
    image::make(kernel(), &[minimal()]).unwrap()
}

/// An image with right checksums around `program`, so that only who looks into it can notice.
fn with_program(program: Vec<u8>) -> Vec<u8> {
    image::assemble(flat(), &[("first", program)]).unwrap()
}

/// Checks that `exo` refuses the image with `ours`, and the kernel with `kernels`.
#[track_caller]
fn refused(image: &[u8], ours: &str, kernels: &str) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("kernel8.img");
    fs::write(&path, image).unwrap();
    let run =
        |unchecked: &[&str]| Run::from(Run::command().args(unchecked).arg("--image").arg(&path));
    run(&[])
        .ends_with(1)
        .says("is damaged")
        .says(ours)
        .never_prints("[");
    let refusal = format!("boot image refused: {kernels}");
    run(&["--unchecked"])
        .ends_with(exit::BAD_IMAGE)
        .prints(&refusal)
        .never_prints("hello");
}

#[test]
fn image_that_is_cut_off() {
    let mut image = good();
    image.truncate(image.len() - 4096);
    refused(&image, "the archive is cut off", "");
}

#[test]
fn image_that_ends_with_the_kernel() {
    let mut image = good();
    image.truncate(boot::kernel_length(&image).unwrap());
    let none = "no programs behind the kernel";
    refused(&image, none, none);
}

#[test]
fn image_without_first_program() {
    let image = image::assemble(flat(), &[]).unwrap();
    refused(&image, "no first program", "no first program");
}

#[test]
fn flipped_bit_in_the_program() {
    let mut image = good();
    *image.last_mut().unwrap() ^= 0x10;
    let wrong = "the archive's checksum is wrong";
    refused(&image, wrong, wrong);
}

#[test]
fn flipped_bit_in_the_kernel() {
    // Only `exo` can tell: by the time that the kernel could look at itself it has written its data.
    let mut image = good();
    let text = b"no programs behind the kernel";
    let at = image.windows(text.len()).position(|bytes| bytes == text);
    image[at.unwrap()] ^= 0x10;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("kernel8.img");
    fs::write(&path, image).unwrap();
    Run::from(Run::command().arg("--image").arg(&path))
        .ends_with(1)
        .says("the kernel's checksum is wrong")
        .never_prints("[");
}

#[test]
fn first_program_that_is_no_elf_file() {
    let image = with_program(b"#!/bin/sh\nexit 0\n".to_vec());
    refused(
        &image,
        "program first: not an ELF file",
        "the first program is not an ELF file",
    );
}

#[test]
fn first_program_for_another_architecture() {
    const AMD64: u16 = 62;
    let segment = fake::Segment {
        address: 0x20_0000,
        bytes: vec![0x90; 64],
        memory: 64,
    };
    let image = with_program(fake::elf_file(AMD64, &[segment]));
    refused(
        &image,
        "built for another architecture",
        "the first program is for another architecture",
    );
}

#[test]
fn first_program_that_is_cut_off() {
    let mut program = elf::strip(&fs::read(minimal().path).unwrap()).unwrap();
    program.truncate(program.len() / 2);
    refused(&with_program(program), "beyond the file's end", "");
}

#[test]
fn kernel_that_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("kernel.elf");
    fs::write(&path, b"\x7fELF but not much more").unwrap();
    let run = Run::of([&path]);
    run.ends_with(1).says("is no kernel");
}
