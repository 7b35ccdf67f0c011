//! The chapter.
