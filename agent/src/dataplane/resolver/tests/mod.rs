//! The resolver through its own doors.

mod end_to_end;
