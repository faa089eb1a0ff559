//! `forebay optimize` itself, with the real tools and the real engine, on models that are made here. Whether a variant is faster is for
//! the machine to say, so what is claimed of any that is installed is that it keeps its word.

mod accepted;
mod for_tensorrt;
mod models;
mod refusals;
mod variants;
mod workbench;
