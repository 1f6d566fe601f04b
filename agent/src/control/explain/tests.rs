//! Tables of verdicts.
