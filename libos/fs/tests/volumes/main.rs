//! FAT volumes against a naive model, foreign tools, cuts between writes, and bytes that mean harm.

mod cuts;
mod foreign;
mod hostile;
mod limits;
mod model;
mod names;
mod support;
mod table;
mod workload;
