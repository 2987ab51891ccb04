//! Drivers, one file for each hardware block.
