//! Proposing a mapping: a survey of a file's columns, guesses from words in all languages of the Union, a commented TOML file.
//!
//! Nothing is decided here that a person does not see: every guess stands in the file with what it rests on, and what could not be
//! guessed stands there as `?`, which no import accepts.

mod guess;
mod survey;
mod words;
mod write;

pub(crate) use survey::{Survey, survey};
pub(crate) use write::write;
