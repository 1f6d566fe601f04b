mod stack;
fn main() {}
