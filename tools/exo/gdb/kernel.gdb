# Settings and commands for the kernel; exo gdb loads its symbols and attaches before this, and sets
# $first_program to where the first program begins.
#
# All of it in one go, with no terminal:
#   cargo exo gdb -- -batch -ex continue -ex 'info registers' -ex backtrace -ex cores -ex cause \
#       -ex el0 -ex 'info registers pc sp cpsr' -ex 'x/3i $pc' -ex cores -ex cause </dev/null
set pagination off
set print asm-demangle on
set confirm off

define cores
  info threads
end
document cores
Lists the cores and where each one is.
end

# Without casts: what a core has stopped in may be Rust, whose casts are other ones.
define cause
  printf "ESR_EL1 %#lx  class %#lx\n", $ESR_EL1, ($ESR_EL1 >> 26) & 0x3f
  printf "FAR_EL1 %#lx\n", $FAR_EL1
  printf "ELR_EL1 %#lx\n", $ELR_EL1
end
document cause
Shows why the current core last took an exception to EL1.
end

define el0
  thbreak *$first_program
  continue
end
document el0
Continues to the first instruction of the first program.
end

# Elsewhere break at a name's address, `hbreak *__environment_suspended`: past what gdb takes for the
# prologue of an optimised function, the core may never come.
#
# The kernel's first Rust code, at its final address. A hardware breakpoint, since that address is not
# mapped yet when the machine starts.
hbreak kernel_main
