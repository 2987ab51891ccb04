//! Boards: addresses, interrupts, and which driver serves what.
