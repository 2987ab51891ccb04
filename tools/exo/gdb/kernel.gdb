# Settings and commands for the kernel; exo gdb loads its symbols and attaches before this.
set pagination off
set print asm-demangle on
set confirm off
# The emulator says nothing when a breakpoint is set on memory that is not mapped yet: hardware ones
# work from the first instruction on.
set breakpoint auto-hw on

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

# The last place before the machine ends by a failure of the kernel, and its first Rust code.
hbreak kernel_main
