# Settings and commands for the kernel; exo gdb loads its symbols and attaches before this.
set pagination off
set print asm-demangle on
set confirm off

define cores
  info threads
end
document cores
Lists the cores and where each one is.
end

define cause
  printf "ESR_EL1 %#lx  class %#lx\n", (unsigned long)$ESR_EL1, ((unsigned long)$ESR_EL1 >> 26) & 0x3f
  printf "FAR_EL1 %#lx\n", (unsigned long)$FAR_EL1
  printf "ELR_EL1 %#lx\n", (unsigned long)$ELR_EL1
end
document cause
Shows why the current core last took an exception to EL1.
end

# The kernel's first Rust code, at its final address. A hardware breakpoint, since that address is not
# mapped yet when the machine starts.
hbreak kernel_main
