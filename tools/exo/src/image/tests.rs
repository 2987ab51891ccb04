//! Images made from fakes: what is in them, and each damage by its name.

use super::*;

fn good() -> Vec<u8> {
    let kernel = elf::flatten(&fake::kernel()).unwrap();
    assemble(
        kernel,
        &[("one", fake::program()), ("two", fake::program())],
    )
    .unwrap()
}

#[test]
fn image_holds_kernel_and_programs() {
    let image = good();
    assert_eq!(boot::kernel_length(&image), Ok(0x2000));
    let programs: Vec<_> = check(&image).unwrap().programs().collect();
    assert_eq!(programs.len(), 2);
    assert_eq!(programs[0].name, "one");
    assert_eq!(programs[1].elf, fake::program());
    let start = image.as_ptr() as usize;
    for program in programs {
        assert!((program.elf.as_ptr() as usize - start).is_multiple_of(8));
    }
}

#[test]
fn files_become_an_image() {
    let dir = tempfile::tempdir().unwrap();
    let kernel = dir.path().join("kernel");
    let path = dir.path().join("first.elf");
    std::fs::write(&kernel, fake::kernel()).unwrap();
    std::fs::write(&path, fake::program()).unwrap();
    let program = NamedProgram::get(path.to_str().unwrap()).unwrap();
    assert_eq!(program.name, "first");
    let image = make(&kernel, std::slice::from_ref(&program)).unwrap();
    assert_eq!(check(&image).unwrap().first().unwrap().name, "first");

    std::fs::write(&path, b"#!/bin/sh").unwrap();
    let error = make(&kernel, &[program]).unwrap_err();
    assert!(format!("{error:#}").ends_with("is no program for Exopi: not an ELF file"));
}

#[test]
fn each_damage_has_its_message() {
    let message = |image: &[u8]| format!("{:#}", check(image).unwrap_err());
    let image = good();
    assert_eq!(message(&image[..image.len() - 1]), "the archive is cut off");
    let mut flipped = image.clone();
    flipped[0x1000] ^= 1;
    assert_eq!(message(&flipped), "the kernel's checksum is wrong");
    let kernel = || elf::flatten(&fake::kernel()).unwrap();
    let none = assemble(kernel(), &[]).unwrap();
    assert_eq!(message(&none), "no first program");
    let text = assemble(kernel(), &[("text", b"text".to_vec())]).unwrap();
    assert_eq!(message(&text), "program text: not an ELF file");
}

#[test]
fn a_kernel_without_header_is_refused() {
    let error = assemble(vec![0; 4096], &[]).unwrap_err();
    assert!(error.to_string().contains("no kernel header"));
    let long = "n".repeat(boot::NAME_BYTES + 1);
    let kernel = elf::flatten(&fake::kernel()).unwrap();
    let error = assemble(kernel, &[(&long, fake::program())]).unwrap_err();
    assert!(error.to_string().contains("longer than 32 bytes"));
}
